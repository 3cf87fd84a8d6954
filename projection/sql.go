package projection

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Placeholders says how a database marks the arguments of a statement.
type Placeholders uint8

const (
	// Question is ?, as in SQLite. MySQL and MariaDB have it too, but cannot make or drop a table in a transaction, and
	// so not build a model beside another safely.
	Question Placeholders = iota
	// Dollar is $1, as in PostgreSQL.
	Dollar
)

// SQLOptions configures NewSQL.
type SQLOptions struct {
	// Name is what the store is called for those who look on. Zero is "sql".
	Name string
	// Placeholders are those of the database.
	Placeholders Placeholders
	// Create makes the tables of a new build, whose names are those that SQLTx.Table gives, and Drop
	// removes them. Neither is nil.
	Create, Drop func(tx *SQLTx) error
	// Switch is called in the transaction in which readers get another build: it points a view to its tables, for
	// example. Nil is nothing.
	Switch func(tx *SQLTx) error
	// Trouble reports whether an error that a handler has returned is the database's trouble, such as a full disk, a
	// lock that was not to be had or a deadlock: Run returns it then, rather than pass over the event. Errors that have
	// an SQLSTATE, as those of PostgreSQL do, are told without it. Nil is no others.
	Trouble func(err error) bool
}

// SQLStore is a Store in a database that database/sql has a driver for, and whose transactions are atomic and
// durable: SQLite and PostgreSQL are tested. The checkpoint is a row of the table strata_builds, in the transaction in
// which handlers write, so each event is in the tables exactly once, also when two processes carry on the
// same projection: one of them is then fenced off. The example of package projection/sqltest, a module of its own for its drivers, is
// a whole program.
//
// It has three more tables: strata_projections, with the build that readers see; strata_parked, with parked
// events; strata_numbers, with the number of the last build.
type SQLStore struct {
	db *sql.DB
	o  SQLOptions
}

// NewSQL returns the store for projections with these tables in db, and makes the tables that it needs. A
// database may have many. What is shared out by it is db alone, which the caller closes, behind the log.
func NewSQL(ctx context.Context, db *sql.DB, o SQLOptions) (*SQLStore, error) {
	if o.Create == nil || o.Drop == nil || o.Placeholders > Dollar {
		return nil, fmt.Errorf("%w: an SQL store needs Create and Drop, and Placeholders that there are", ErrDefinition)
	}
	if o.Name == "" {
		o.Name = "sql"
	}
	s := &SQLStore{db, o}
	for _, table := range []string{
		"strata_numbers (id BIGINT PRIMARY KEY, last_build BIGINT NOT NULL)",
		"strata_projections (projection VARCHAR(255) PRIMARY KEY, build BIGINT NOT NULL)",
		`strata_builds (build BIGINT PRIMARY KEY, projection VARCHAR(255) NOT NULL, version BIGINT NOT NULL, asked VARCHAR(255) NOT NULL,
			log_id VARCHAR(64) NOT NULL, log_position BIGINT NOT NULL, body VARCHAR(32) NOT NULL)`,
		"strata_parked (build BIGINT NOT NULL, log_position BIGINT NOT NULL, event TEXT NOT NULL, PRIMARY KEY (build, log_position))",
	} {
		if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+table); err != nil {
			return nil, s.wrap("make tables", err)
		}
	}
	return s, nil
}

func (s *SQLStore) wrap(what string, err error) error {
	return fmt.Errorf("projection: %s: %s: %w", s.o.Name, what, err)
}

// Kind returns the name that the options give.
func (s *SQLStore) Kind() string { return s.o.Name }

// Healthy reports whether the database answers.
func (s *SQLStore) Healthy(ctx context.Context) error { return s.db.PingContext(ctx) }

// Trouble reports whether an error is the database's trouble, and not that of an event.
func (s *SQLStore) Trouble(err error) bool {
	var state interface{ SQLState() string }
	if errors.As(err, &state) && len(state.SQLState()) == 5 {
		switch state.SQLState()[:2] {
		case "08", // connection
			"25", // transaction state, such as read-only
			"40", // transaction rolled back: a deadlock, or not serializable
			"53", // resources: a full disk, memory, connections
			"55", // lock not available
			"57", // an operator has intervened, or a timeout
			"58", // the system
			"XX": // internal
			return state.SQLState() != "25P02" // behind an error that the handler has passed over
		}
	}
	return s.o.Trouble != nil && s.o.Trouble(err)
}

// q returns a statement that is written with $1, $2, … in that order, each once, as the database takes it.
func (s *SQLStore) q(statement string) string {
	if s.o.Placeholders == Dollar {
		return statement
	}
	parts := strings.Split(statement, "$")
	for i := range parts[1:] {
		parts[i+1] = strings.TrimLeft(parts[i+1], "0123456789")
	}
	return strings.Join(parts, "?")
}

// SQLTx is the transaction that handlers are given. It is valid during the call.
type SQLTx struct {
	ctx      context.Context
	tx       *sql.Tx
	build    uint64
	prepared map[string]*sql.Stmt
}

// Table returns the name of a table of the build: each build has its own.
func (tx *SQLTx) Table(name string) string { return name + "_" + strconv.FormatUint(tx.build, 10) }

// Context is that of the transaction.
func (tx *SQLTx) Context() context.Context { return tx.ctx }

// mostPrepared is how many statements a transaction keeps prepared.
const mostPrepared = 64

// statement returns a prepared statement, or nil when there are too many.
func (tx *SQLTx) statement(query string) (*sql.Stmt, error) {
	if st := tx.prepared[query]; st != nil || len(tx.prepared) >= mostPrepared {
		return st, nil
	}
	st, err := tx.tx.PrepareContext(tx.ctx, query)
	if err != nil {
		return nil, err
	}
	if tx.prepared == nil {
		tx.prepared = map[string]*sql.Stmt{}
	}
	tx.prepared[query] = st // is closed with the transaction
	return st, nil
}

// Exec executes a statement, which is prepared once for the transaction.
func (tx *SQLTx) Exec(query string, args ...any) (sql.Result, error) {
	st, err := tx.statement(query)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return tx.tx.ExecContext(tx.ctx, query, args...)
	}
	return st.ExecContext(tx.ctx, args...)
}

// Query executes a query, which is prepared once for the transaction. The rows must be closed.
func (tx *SQLTx) Query(query string, args ...any) (*sql.Rows, error) {
	st, err := tx.statement(query)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return tx.tx.QueryContext(tx.ctx, query, args...)
	}
	return st.QueryContext(tx.ctx, args...)
}

// QueryRow executes a query for one row.
func (tx *SQLTx) QueryRow(query string, args ...any) *sql.Row {
	if st, err := tx.statement(query); err == nil && st != nil {
		return st.QueryRowContext(tx.ctx, args...)
	}
	return tx.tx.QueryRowContext(tx.ctx, query, args...)
}

// ExecContext, QueryContext, QueryRowContext and PrepareContext are those of *sql.Tx, for code that is
// generated, or that wants them.
func (tx *SQLTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return tx.tx.ExecContext(ctx, query, args...)
}

// QueryContext is that of *sql.Tx.
func (tx *SQLTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return tx.tx.QueryContext(ctx, query, args...)
}

// QueryRowContext is that of *sql.Tx.
func (tx *SQLTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.tx.QueryRowContext(ctx, query, args...)
}

// PrepareContext is that of *sql.Tx.
func (tx *SQLTx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return tx.tx.PrepareContext(ctx, query)
}

// Load implements Store.
func (s *SQLStore) Load(ctx context.Context, name string) (state State, err error) {
	err = s.db.QueryRowContext(ctx, s.q("SELECT build FROM strata_projections WHERE projection = $1"), name).Scan(&state.Active)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return state, s.wrap("load", err)
	}
	rows, err := s.db.QueryContext(ctx,
		s.q("SELECT build, version, asked, log_id, log_position, body FROM strata_builds WHERE projection = $1 ORDER BY build"), name)
	if err != nil {
		return state, s.wrap("load", err)
	}
	defer rows.Close()
	for rows.Next() {
		var b Build
		var logID, body string
		if err := rows.Scan(&b.Number, &b.Version, &b.Reset, &logID, &b.Checkpoint.Position, &body); err != nil {
			return state, s.wrap("load", err)
		}
		if err := b.Checkpoint.Log.UnmarshalText([]byte(logID)); err != nil {
			return state, s.wrap("load", err)
		}
		if b.Checkpoint.Body, err = strconv.ParseUint(body, 16, 64); err != nil {
			return state, s.wrap("load", err)
		}
		state.Builds = append(state.Builds, b)
	}
	if err := rows.Err(); err != nil {
		return state, s.wrap("load", err)
	}
	return state, nil
}

// change runs f in a transaction on a build.
func (s *SQLStore) change(ctx context.Context, what string, build uint64, f func(tx *SQLTx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.wrap(what, err)
	}
	if err := f(&SQLTx{ctx: ctx, tx: tx, build: build}); err != nil {
		return s.wrap(what, errors.Join(err, tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return s.wrap(what, err)
	}
	return nil
}

// put updates a row, and inserts it where there is none.
func put(tx *SQLTx, update, insert string, args ...any) error {
	r, err := tx.Exec(update, args...)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	_, err = tx.Exec(insert, args...)
	return err
}

func bodyText(body uint64) string { return strconv.FormatUint(body, 16) }

// Create implements Store.
func (s *SQLStore) Create(ctx context.Context, name string, version int, reset string, at Checkpoint) (Build, error) {
	b := Build{Version: version, Reset: reset, Checkpoint: at}
	err := s.change(ctx, "create a build", 0, func(tx *SQLTx) error {
		if err := put(tx, "UPDATE strata_numbers SET last_build = last_build + 1 WHERE id = 1", "INSERT INTO strata_numbers (id, last_build) VALUES (1, 1)"); err != nil {
			return err
		}
		if err := tx.QueryRow("SELECT last_build FROM strata_numbers WHERE id = 1").Scan(&b.Number); err != nil {
			return err
		}
		_, err := tx.Exec(s.q("INSERT INTO strata_builds (build, projection, version, asked, log_id, log_position, body) VALUES ($1, $2, $3, $4, $5, $6, $7)"),
			int64(b.Number), name, int64(version), reset, at.Log.String(), int64(at.Position), bodyText(at.Body))
		if err != nil {
			return err
		}
		tx.build = b.Number
		return s.o.Create(tx)
	})
	return b, err
}

// Switch implements Store.
func (s *SQLStore) Switch(ctx context.Context, name string, b Build) error {
	return s.change(ctx, "switch", b.Number, func(tx *SQLTx) error {
		if s.o.Switch != nil {
			if err := s.o.Switch(tx); err != nil {
				return err
			}
		}
		return put(tx, s.q("UPDATE strata_projections SET build = $1 WHERE projection = $2"),
			s.q("INSERT INTO strata_projections (build, projection) VALUES ($1, $2)"), int64(b.Number), name)
	})
}

// Drop implements Store.
func (s *SQLStore) Drop(ctx context.Context, _ string, b Build) error {
	return s.change(ctx, "drop a build", b.Number, func(tx *SQLTx) error {
		for _, table := range []string{"strata_parked", "strata_builds"} {
			if _, err := tx.Exec(s.q("DELETE FROM "+table+" WHERE build = $1"), int64(b.Number)); err != nil {
				return err
			}
		}
		return s.o.Drop(tx)
	})
}

// Parked implements Store.
func (s *SQLStore) Parked(ctx context.Context, _ string, build uint64) ([]Parked, error) {
	rows, err := s.db.QueryContext(ctx, s.q("SELECT event FROM strata_parked WHERE build = $1 ORDER BY log_position"), int64(build))
	if err != nil {
		return nil, s.wrap("parked events", err)
	}
	defer rows.Close()
	var list []Parked
	for rows.Next() {
		var text string
		var p Parked
		if err := errors.Join(rows.Scan(&text), json.Unmarshal([]byte(text), &p)); err != nil {
			return nil, s.wrap("parked events", err)
		}
		list = append(list, p)
	}
	if err := rows.Err(); err != nil {
		return nil, s.wrap("parked events", err)
	}
	return list, nil
}

// Table returns the name of a table of the build that readers see: ErrNotReady before there is one. It may be
// dropped behind the next rebuild; who reads for longer uses a view that SQLOptions.Switch makes.
func (s *SQLStore) Table(ctx context.Context, projection, name string) (string, error) {
	build := uint64(0)
	err := s.db.QueryRowContext(ctx, s.q("SELECT build FROM strata_projections WHERE projection = $1"), projection).Scan(&build)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ErrNotReady
	}
	if err != nil {
		return "", s.wrap("table", err)
	}
	return (&SQLTx{build: build}).Table(name), nil
}

// sqlTransaction is a Transaction in SQL.
type sqlTransaction struct {
	s    *SQLStore
	name string
	tx   *SQLTx
}

// fence moves the checkpoint of a build from one to another, which may be the same.
func (t *sqlTransaction) fence(ctx context.Context, from, to Checkpoint) error {
	r, err := t.tx.tx.ExecContext(ctx, t.s.q(`UPDATE strata_builds SET log_id = $1, log_position = $2, body = $3
		WHERE build = $4 AND log_position = $5 AND body = $6`),
		to.Log.String(), int64(to.Position), bodyText(to.Body), int64(t.tx.build), int64(from.Position), bodyText(from.Body))
	if err != nil {
		return t.s.wrap("move the checkpoint", err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return t.s.wrap("move the checkpoint", err)
	}
	if n == 1 {
		return nil
	}
	fenced := &FencedError{Projection: t.name, Expected: from.Position}
	err = t.tx.tx.QueryRowContext(ctx, t.s.q("SELECT log_position FROM strata_builds WHERE build = $1"), int64(t.tx.build)).Scan(&fenced.Actual)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return t.s.wrap("move the checkpoint", err)
	}
	return fenced
}

// Begin implements Store. The row of the checkpoint is written at once, so that another process waits here.
func (s *SQLStore) Begin(ctx context.Context, name string, b Build) (Transaction[*SQLTx], error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.wrap("begin", err)
	}
	t := &sqlTransaction{s: s, name: name, tx: &SQLTx{ctx: ctx, tx: tx, build: b.Number}}
	if err := t.fence(ctx, b.Checkpoint, b.Checkpoint); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return t, nil
}

func (t *sqlTransaction) Handle() *SQLTx { return t.tx }

// Bytes is 0: what a transaction has written is in the database.
func (t *sqlTransaction) Bytes() int { return 0 }

func (t *sqlTransaction) Rollback() { _ = t.tx.tx.Rollback() }

// Commit implements Transaction.
func (t *sqlTransaction) Commit(ctx context.Context, c Change) error {
	if err := t.commit(ctx, &c); err != nil {
		t.Rollback()
		return err
	}
	return nil
}

func (t *sqlTransaction) commit(ctx context.Context, c *Change) error {
	for _, p := range c.Park {
		text, err := json.Marshal(p)
		if err == nil {
			err = put(t.tx, t.s.q("UPDATE strata_parked SET event = $1 WHERE build = $2 AND log_position = $3"),
				t.s.q("INSERT INTO strata_parked (event, build, log_position) VALUES ($1, $2, $3)"), string(text), int64(t.tx.build), int64(p.Position))
		}
		if err != nil {
			return t.s.wrap("park", err)
		}
	}
	for _, position := range c.Unpark {
		if _, err := t.tx.Exec(t.s.q("DELETE FROM strata_parked WHERE build = $1 AND log_position = $2"), int64(t.tx.build), int64(position)); err != nil {
			return t.s.wrap("unpark", err)
		}
	}
	if err := t.fence(ctx, c.From, c.To); err != nil {
		return err
	}
	if err := t.tx.tx.Commit(); err != nil {
		return t.s.wrap("commit", err)
	}
	return nil
}
