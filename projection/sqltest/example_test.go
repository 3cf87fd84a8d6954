package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// A read model in tables of a database: each build of it has its own, and a view leads to those that readers are to see.
func Example() {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "strata-example-")
	must(err)
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "models.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	must(err)
	defer db.Close()

	l, err := log.Open("data", log.Options{FS: vfs.NewMem()})
	must(err)
	defer l.Close()
	accounts, err := aggregate.Open(ctx, l, "accounts", aggregate.Options{})
	must(err)
	for i, account := range []string{"account-1", "account-2", "account-1"} {
		_, err := accounts.Append(ctx, account, aggregate.Any, aggregate.Event{Type: "deposited", Data: strconv.AppendInt(nil, int64(10+i), 10)})
		must(err)
	}

	exec := func(tx *projection.SQLTx, statement string) error {
		_, err := tx.Exec(statement)
		return err
	}
	store, err := projection.NewSQL(ctx, db, projection.SQLOptions{
		Create: func(tx *projection.SQLTx) error {
			return exec(tx, "CREATE TABLE "+tx.Table("balances")+" (account TEXT PRIMARY KEY, amount INTEGER NOT NULL)")
		},
		Drop: func(tx *projection.SQLTx) error { return exec(tx, "DROP TABLE IF EXISTS "+tx.Table("balances")) },
		Switch: func(tx *projection.SQLTx) error {
			if err := exec(tx, "DROP VIEW IF EXISTS balances"); err != nil {
				return err
			}
			return exec(tx, "CREATE VIEW balances AS SELECT account, amount FROM "+tx.Table("balances"))
		},
	})
	must(err)
	p, err := projection.New(ctx, l, store, projection.Define("balances", 1, projection.Options{}, func(tx *projection.SQLTx, e *projection.Event) error {
		amount, err := strconv.Atoi(string(e.Data))
		if err != nil {
			return err
		}
		_, err = tx.Exec("INSERT INTO "+tx.Table("balances")+" VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount", e.Stream, amount)
		return err
	}))
	must(err)
	must(p.CatchUp(ctx))

	rows, err := db.QueryContext(ctx, "SELECT account, amount FROM balances ORDER BY account")
	must(err)
	defer rows.Close()
	for rows.Next() {
		var account string
		var amount int
		must(rows.Scan(&account, &amount))
		fmt.Println(account, amount)
	}
	must(rows.Err())
	// Output:
	// account-1 22
	// account-2 11
}
