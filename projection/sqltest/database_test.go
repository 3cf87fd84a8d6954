package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/stratalog/strata/projection"
)

var ctx = context.Background()

// database is one that tests run on. A child process opens it by driver and dsn.
type database struct {
	name, driver, dsn string
	placeholders      projection.Placeholders
}

func (d *database) open() (*sql.DB, error) { return sql.Open(d.driver, d.dsn) }

// q returns a statement that is written with ?, as the database takes it.
func (d *database) q(statement string) string {
	if d.placeholders == projection.Question {
		return statement
	}
	var out []byte
	n := 0
	for i := range len(statement) {
		if statement[i] != '?' {
			out = append(out, statement[i])
			continue
		}
		n++
		out = strconv.AppendInt(append(out, '$'), int64(n), 10)
	}
	return string(out)
}

// sqlite returns a database of SQLite, which syncs each transaction.
func sqlite(t testing.TB) *database {
	dsn := "file:" + filepath.Join(t.TempDir(), "models.db") + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_txlock=immediate"
	return &database{"sqlite", "sqlite", dsn, projection.Question}
}

// program returns the path of a program of PostgreSQL.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // where Debian has it
	if err != nil || len(found) == 0 {
		return "", errors.Join(err, exec.ErrNotFound)
	}
	return found[len(found)-1], nil
}

// postgres returns a database of a cluster of its own, which ends with the test. Without the programs the test is
// skipped, and fails where CI=true.
func postgres(t testing.TB) *database {
	t.Helper()
	initdb, err := program("initdb")
	server, serverErr := program("postgres")
	if err = errors.Join(err, serverErr); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no initdb, and CI=true:", err)
		}
		t.Skip("SKIP: no initdb")
	}
	dir, err := os.MkdirTemp("", "strata-pg-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	var as *syscall.Credential
	if os.Getuid() == 0 { // it does not run as root
		as = unprivileged(t)
		require.NoError(t, os.Chown(dir, int(as.Uid), int(as.Gid)))
	}
	command := func(program string, args ...string) *exec.Cmd {
		c := exec.Command(program, args...)
		c.Dir = dir
		c.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		return c
	}
	data := filepath.Join(dir, "data")
	out, err := command(initdb, "-D", data, "-U", "strata", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8").CombinedOutput()
	require.NoError(t, err, "%s", out)
	c := command(server, "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "unix_socket_permissions=0777")
	said, err := os.Create(filepath.Join(t.TempDir(), "postgres.txt"))
	require.NoError(t, err)
	c.Stdout, c.Stderr = said, said
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		require.NoError(t, c.Process.Signal(syscall.SIGINT)) // a fast shutdown
		_ = c.Wait()
		require.NoError(t, said.Close())
	})
	d := &database{"postgresql", "pgx", "host=" + dir + " user=strata database=postgres", projection.Dollar}
	db, err := d.open()
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for deadline := time.Now().Add(30 * time.Second); db.PingContext(ctx) != nil; { // it tells nobody when it is ready
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(said.Name())
			t.Fatalf("PostgreSQL does not answer:\n%s", text)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return d
}

// unprivileged returns a user who is not root.
func unprivileged(t testing.TB) *syscall.Credential {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		require.NoError(t, errors.Join(errU, errG))
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("there is no user to run PostgreSQL as")
	return nil
}

// onEach runs a test on each database.
func onEach(t *testing.T, f func(t *testing.T, d *database)) {
	t.Run("sqlite", func(t *testing.T) { f(t, sqlite(t)) })
	t.Run("postgresql", func(t *testing.T) { f(t, postgres(t)) })
}
