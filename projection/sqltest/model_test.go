package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// newStore returns the store of the model of the tests: a table of balances, which readers see as the view
// "balances".
func newStore(d *database, db *sql.DB) (*projection.SQLStore, error) {
	return projection.NewSQL(ctx, db, projection.SQLOptions{
		Name: d.name, Placeholders: d.placeholders,
		Trouble: func(err error) bool { return errors.Is(err, errBusy) },
		Create: func(tx *projection.SQLTx) error {
			_, err := tx.Exec("CREATE TABLE " + tx.Table("balance") + " (account VARCHAR(64) PRIMARY KEY, amount BIGINT NOT NULL, events BIGINT NOT NULL)")
			return err
		},
		Drop: func(tx *projection.SQLTx) error {
			_, err := tx.Exec("DROP TABLE " + tx.Table("balance"))
			return err
		},
		Switch: func(tx *projection.SQLTx) error {
			if _, err := tx.Exec("DROP VIEW IF EXISTS balances"); err != nil {
				return err
			}
			_, err := tx.Exec("CREATE VIEW balances AS SELECT account, amount, events FROM " + tx.Table("balance"))
			return err
		},
	})
}

// booked is the handler: factor tells versions apart.
func booked(d *database, factor int) func(tx *projection.SQLTx, e *projection.Event) error {
	update := d.q("UPDATE %s SET amount = amount + ?, events = events + 1 WHERE account = ?")
	insert := d.q("INSERT INTO %s (amount, account, events) VALUES (?, ?, 1)")
	return func(tx *projection.SQLTx, e *projection.Event) error {
		amount, err := strconv.Atoi(string(e.Data))
		if err != nil {
			return err
		}
		table := tx.Table("balance")
		r, err := tx.Exec(fmt.Sprintf(update, table), factor*amount, e.Stream)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n > 0 {
			return err
		}
		_, err = tx.Exec(fmt.Sprintf(insert, table), factor*amount, e.Stream)
		return err
	}
}

func define(d *database, version int, o projection.Options) *projection.Definition[*projection.SQLTx] {
	return projection.Define("balances", version, o, booked(d, version))
}

// row is a row of the model.
type row struct{ amount, events int }

// rows reads the model.
func rows(db *sql.DB, from string) (map[string]row, error) {
	list, err := db.QueryContext(ctx, "SELECT account, amount, events FROM "+from)
	if err != nil {
		return nil, err
	}
	defer list.Close()
	all := map[string]row{}
	for list.Next() {
		var account string
		var r row
		if err := list.Scan(&account, &r.amount, &r.events); err != nil {
			return nil, err
		}
		all[account] = r
	}
	return all, list.Err()
}

// fold is what a version of the handler makes of the events before a position.
func fold(l *log.Log, version int, before uint64) (map[string]row, error) {
	all := map[string]row{}
	for r, err := range l.Read(log.Oldest) {
		if err != nil {
			return nil, err
		}
		if r.Position >= before {
			break
		}
		amount, err := strconv.Atoi(string(r.Value))
		if r.Topic != "accounts" || err != nil {
			continue
		}
		was := all[string(r.Key)]
		all[string(r.Key)] = row{was.amount + version*amount, was.events + 1}
	}
	return all, nil
}

// opened is a log with an event store, and a database.
type opened struct {
	l     *log.Log
	s     *aggregate.Store
	db    *sql.DB
	store *projection.SQLStore
}

func open(dir string, d *database) (*opened, error) {
	l, err := log.Open(dir, log.Options{})
	if err != nil {
		return nil, err
	}
	s, err := aggregate.Open(ctx, l, "accounts", aggregate.Options{})
	if err != nil {
		return nil, err
	}
	db, err := d.open()
	if err != nil {
		return nil, err
	}
	store, err := newStore(d, db)
	return &opened{l, s, db, store}, err
}

func (o *opened) close(t testing.TB) {
	require.NoError(t, o.l.Close())
	require.NoError(t, o.db.Close())
}

func (o *opened) add(t testing.TB, account string, data ...string) uint64 {
	var events []aggregate.Event
	for _, text := range data {
		events = append(events, aggregate.Event{Type: "added", Data: []byte(text)})
	}
	r, err := o.s.Append(ctx, account, aggregate.Any, events...)
	require.NoError(t, err)
	return r.Position
}

// same checks that the model that readers see is the fold of the events before its checkpoint.
func (o *opened) same() error {
	state, err := o.store.Load(ctx, "balances")
	if err != nil {
		return err
	}
	for _, b := range state.Builds {
		table := fmt.Sprint("balance_", b.Number)
		if b.Number == state.Active {
			table = "balances"
		}
		got, err := rows(o.db, table)
		if err != nil {
			return err
		}
		want, err := fold(o.l, b.Version, b.Checkpoint.Position)
		if err != nil {
			return err
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("version %d at position %d is %v, and the events make %v", b.Version, b.Checkpoint.Position, got, want)
		}
	}
	return nil
}

// TestModel carries a model on, reads its own writes, builds it anew, and refuses another log.
func TestModel(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		dir := t.TempDir()
		o, err := open(dir, d)
		require.NoError(t, err)
		_, err = o.store.Table(ctx, "balances", "balance")
		require.ErrorIs(t, err, projection.ErrNotReady)
		p, err := projection.New(ctx, o.l, o.store, define(d, 1, projection.Options{BatchEvents: 3}))
		require.NoError(t, err)
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- p.Run(running) }()
		for i := range 20 {
			at := o.add(t, fmt.Sprint("acc-", i%3), "1", "2")
			require.NoError(t, p.WaitFor(ctx, at))
			all, err := rows(o.db, "balances")
			require.NoError(t, err)
			require.Equal(t, 3*(i/3+1), all[fmt.Sprint("acc-", i%3)].amount)
		}
		stop()
		require.NoError(t, <-done)
		require.NoError(t, o.same())
		old, err := o.store.Table(ctx, "balances", "balance")
		require.NoError(t, err)
		o.close(t)

		o, err = open(dir, d)
		require.NoError(t, err)
		p, err = projection.New(ctx, o.l, o.store, define(d, 2, projection.Options{}))
		require.NoError(t, err)
		require.Equal(t, 1, p.Progress().ActiveVersion)
		o.add(t, "acc-0", "100")
		require.NoError(t, p.CatchUp(ctx))
		require.Equal(t, uint64(41), p.Progress().Events)
		all, err := rows(o.db, "balances")
		require.NoError(t, err)
		require.Equal(t, row{2*3*7 + 200, 15}, all["acc-0"])
		require.NoError(t, o.same())
		_, err = rows(o.db, old)
		require.Error(t, err, "the old table is dropped")
		o.close(t)

		other, err := open(t.TempDir(), d)
		require.NoError(t, err)
		_, err = projection.New(ctx, other.l, other.store, define(d, 2, projection.Options{}))
		require.ErrorIs(t, err, log.ErrStateAhead)
		_, err = projection.New(ctx, other.l, other.store, define(d, 2, projection.Options{Parallel: 2}))
		require.ErrorIs(t, err, projection.ErrDefinition)
		other.close(t)
	})
}

// TestPoison parks events, one of which makes the database abort the transaction, and retries them.
func TestPoison(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		o, err := open(t.TempDir(), d)
		require.NoError(t, err)
		defer o.close(t)
		mended := false
		take := booked(d, 1)
		p, err := projection.New(ctx, o.l, o.store, projection.Define("balances", 1, projection.Options{Poison: projection.PoisonParks}, func(tx *projection.SQLTx, e *projection.Event) error {
			if string(e.Data) == "sql" {
				if mended {
					return nil
				}
				_, err := tx.Exec("SELECT nothing FROM nowhere")
				return err
			}
			return take(tx, e)
		}))
		require.NoError(t, err)
		o.add(t, "a", "1", "sql", "2")
		o.add(t, "b", "x")
		o.add(t, "a", "3")
		require.NoError(t, p.CatchUp(ctx))
		require.NoError(t, o.same())
		list, err := p.Parked(ctx)
		require.NoError(t, err)
		require.Len(t, list, 2)
		mended = true
		require.NoError(t, p.Retry(ctx, list[0].Position))
		require.ErrorIs(t, p.Retry(ctx, list[0].Position), projection.ErrNotParked)
		require.ErrorIs(t, p.Retry(ctx, list[1].Position), projection.ErrPoison)
		list, err = p.Parked(ctx)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, 2, list[0].Attempts)
		require.NoError(t, o.same())
	})
}

// TestTrouble has the database refuse statements for reasons that are not the event's: a timeout in PostgreSQL, and one
// that the options name in SQLite. Run returns that, and the event is neither skipped nor parked.
func TestTrouble(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		o, err := open(t.TempDir(), d)
		require.NoError(t, err)
		defer o.close(t)
		trouble := true
		take := booked(d, 1)
		p, err := projection.New(ctx, o.l, o.store, projection.Define("balances", 1, projection.Options{Poison: projection.PoisonSkips}, func(tx *projection.SQLTx, e *projection.Event) error {
			if trouble && d.placeholders == projection.Dollar {
				if _, err := tx.Exec("SET LOCAL statement_timeout = 1"); err != nil {
					return err
				}
				if _, err := tx.Exec("SELECT pg_sleep(60)"); err != nil {
					return fmt.Errorf("slow: %w", err)
				}
			} else if trouble {
				return fmt.Errorf("insert: %w", errBusy)
			}
			return take(tx, e)
		}))
		require.NoError(t, err)
		o.add(t, "a", "1")
		err = p.CatchUp(ctx)
		require.Error(t, err)
		require.NotErrorIs(t, err, projection.ErrPoison)
		require.Zero(t, p.Progress().Skipped)
		trouble = false
		require.NoError(t, p.CatchUp(ctx))
		all, err := rows(o.db, "balances")
		require.NoError(t, err)
		require.Equal(t, map[string]row{"a": {1, 1}}, all)
	})
}

// errBusy stands for what a driver says of a database that is locked.
var errBusy = errors.New("database is locked")

// TestFenced has two processes, as far as the database can tell, carry one model on: each event is in it once, and
// who was overtaken is told.
func TestFenced(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		o, err := open(t.TempDir(), d)
		require.NoError(t, err)
		defer o.close(t)
		p, err := projection.New(ctx, o.l, o.store, define(d, 1, projection.Options{}))
		require.NoError(t, err)
		o.add(t, "a", "1")
		require.NoError(t, p.CatchUp(ctx))
		state, err := o.store.Load(ctx, "balances")
		require.NoError(t, err)
		late := state.Builds[0]
		o.add(t, "a", "2")
		require.NoError(t, p.CatchUp(ctx))

		_, err = o.store.Begin(ctx, "balances", late)
		var fenced *projection.FencedError
		require.ErrorAs(t, err, &fenced)
		require.Equal(t, late.Checkpoint.Position, fenced.Expected)
		require.Equal(t, o.l.Position(), fenced.Actual)
		require.NoError(t, o.same())
	})
}
