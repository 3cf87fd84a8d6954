package sqltest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/projection"
)

// The child is the test binary itself, told by its environment what to do.
const (
	dirEnv     = "STRATA_SQL_DIR"
	driverEnv  = "STRATA_SQL_DRIVER"
	dsnEnv     = "STRATA_SQL_DSN"
	versionEnv = "STRATA_SQL_VERSION"
	killEnv    = "STRATA_SQL_KILL" // the handler's call in which the child kills itself, 0 for none
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// die ends this process as kill -9 does.
func die() {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		_ = p.Kill()
	}
	select {} // until it takes effect
}

// child appends events and carries the model on, and tells how far readers see it, until it is killed.
func child(dir string) error {
	d := &database{name: os.Getenv(driverEnv), driver: os.Getenv(driverEnv), dsn: os.Getenv(dsnEnv)}
	if d.driver == "pgx" {
		d.placeholders = projection.Dollar
	}
	version, err := strconv.Atoi(os.Getenv(versionEnv))
	if err != nil {
		return err
	}
	kill, err := strconv.Atoi(os.Getenv(killEnv))
	if err != nil {
		return err
	}
	o, err := open(dir, d)
	if err != nil {
		return err
	}
	take, calls := booked(d, version), 0
	p, err := projection.New(ctx, o.l, o.store, projection.Define("balances", version, projection.Options{BatchEvents: 5}, func(tx *projection.SQLTx, e *projection.Event) error {
		calls++
		if calls == kill && kill%2 == 0 {
			e.Effect(func(context.Context) error { die(); return nil }) // everything is written, and not committed
		}
		if err := take(tx, e); err != nil {
			return err
		}
		if calls == kill && kill%2 == 1 {
			die()
		}
		return nil
	}))
	if err != nil {
		return err
	}
	for i := range 300 {
		_, err := o.s.Commit(ctx, aggregate.Batch{Appends: []aggregate.Append{
			{Stream: fmt.Sprint("acc-", i%7), Expected: aggregate.Any, Events: []aggregate.Event{{Type: "added", Data: []byte("-1")}, {Type: "added", Data: []byte("3")}}},
			{Stream: "acc-7", Expected: aggregate.Any, Events: []aggregate.Event{{Type: "added", Data: strconv.AppendInt(nil, int64(i), 10)}}},
		}})
		if err != nil {
			return err
		}
		if i%3 > 0 {
			continue
		}
		if err := p.CatchUp(ctx); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(os.Stdout, p.Progress().ActivePosition); err != nil {
			return err
		}
	}
	return errors.Join(o.l.Close(), o.db.Close())
}

// run starts a child, kills it at a moment or lets it kill itself, and returns the last position that it told.
func run(d *database, dir string, version, kill int, after time.Duration) (told uint64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), dirEnv+"="+dir, driverEnv+"="+d.driver, dsnEnv+"="+d.dsn, fmt.Sprintf("%s=%d", versionEnv, version), fmt.Sprintf("%s=%d", killEnv, kill))
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	r := bufio.NewReader(out)
	for first := true; ; first = false {
		line, err := r.ReadString('\n')
		if err != nil {
			break // a line that was cut short was not told
		}
		if told, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64); err != nil {
			return 0, fmt.Errorf("child said %q", line)
		}
		if first && kill == 0 {
			time.AfterFunc(after, func() { _ = c.Process.Kill() })
		}
	}
	_, _ = io.Copy(io.Discard, out)
	err = c.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		return 0, fmt.Errorf("child: %s", stderr.String())
	}
	return told, nil
}

// TestFault_S18_Kill kills a program that carries a model on, within the handler, in front of the commit, and at
// random moments, also while the model is built anew (S19). After each kill the model that readers see, and the
// one that is being built, is the fold of the events before its checkpoint, and not behind what was told.
func TestFault_S18_Kill(t *testing.T) {
	onEach(t, func(t *testing.T, d *database) {
		rounds := 24
		if testing.Short() {
			rounds = 6
		}
		rng := rand.New(rand.NewPCG(1, 18))
		dir := t.TempDir()
		killed := 0
		for round := range rounds {
			kill := 0
			if round%2 == 0 {
				kill = 1 + rng.IntN(60)
			}
			version := 1 + round/4
			told, err := run(d, dir, version, kill, time.Duration(rng.IntN(40))*time.Millisecond)
			require.NoError(t, err, "round %d", round)
			o, err := open(dir, d)
			require.NoError(t, err, "round %d", round)
			require.NoError(t, o.same(), "round %d, version %d, killed at call %d", round, version, kill)
			state, err := o.store.Load(ctx, "balances")
			require.NoError(t, err)
			for _, b := range state.Builds {
				if b.Number == state.Active {
					require.GreaterOrEqual(t, b.Checkpoint.Position, told, "readers had seen more")
				}
			}
			killed++
			o.close(t)
		}
		o, err := open(dir, d)
		require.NoError(t, err)
		p, err := projection.New(ctx, o.l, o.store, define(d, 100, projection.Options{}))
		require.NoError(t, err)
		require.NoError(t, p.CatchUp(ctx))
		require.NoError(t, o.same())
		t.Logf("T9 %s kills=%d events=%d", d.name, killed, p.Progress().Events)
		o.close(t)
	})
}
