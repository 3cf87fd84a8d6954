package timer_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// model is the naive one: what is set, and what has fired.
type model struct {
	set   map[string]modelTimer // by owner/id
	fired map[string]int        // by payload, which no two timers share
}

type modelTimer struct {
	due     time.Time
	payload string
}

// world is a log under test beside the model.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	fs    *vfs.MemFS
	clock *clock.Manual
	l     *log.Log
	ts    *timer.Timers
	model model
	next  int
	reach time.Time // the latest time of the log that was seen
}

var owners = []string{"a", "b"}

// start opens the log and handles all owners: firing is one commit with a record that tells.
func (w *world) start() {
	w.l, w.ts = open(w.t, w.fs, w.clock)
	fired, err := w.l.CreateTopic(ctx, "fired", log.TopicOptions{})
	require.NoError(w.t, err)
	l := w.l
	for _, o := range owners {
		_, err := w.ts.HandleEach(o, func(_ context.Context, c *log.Commit, due timer.Timer) error {
			if due.Due.After(l.Now()) {
				panic("fired early")
			}
			c.Append(fired, log.Record{Key: []byte(due.ID), Value: due.Payload})
			return nil
		})
		require.NoError(w.t, err)
	}
}

// settle waits until what is due has fired.
func (w *world) settle() {
	for w.l.Now().Before(w.reach) { // a crash has set the log's time back
		w.clock.Advance(w.reach.Sub(w.l.Now()) + time.Microsecond)
	}
	w.reach = w.l.Now()
	for key, m := range w.model.set {
		if !m.due.After(w.reach) {
			w.model.fired[m.payload]++
			delete(w.model.set, key)
		}
	}
	waitFor(w.t, func() bool {
		n := 0
		for _, o := range owners {
			k, err := w.ts.Count(ctx, o)
			require.NoError(w.t, err)
			n += k
		}
		return n <= len(w.model.set)
	})
}

// check compares everything.
func (w *world) check() {
	w.settle()
	require.Equal(w.t, w.modelList(), list(w.t, w.ts, ""))
	fired := map[string]int{}
	topic, err := w.l.Topic("fired")
	require.NoError(w.t, err)
	for r, err := range topic.Read(log.Oldest, log.ReadOptions{Unsynced: true}) { // a view sees what is written
		require.NoError(w.t, err)
		fired[string(r.Value)]++
	}
	require.Equal(w.t, w.model.fired, fired)
	for v, n := range fired {
		require.Equal(w.t, 1, n, v)
	}
}

func (w *world) modelList() string {
	type line struct {
		owner, text string
		due         time.Time
	}
	var lines []line
	for key, m := range w.model.set {
		lines = append(lines, line{key[:1], fmt.Sprintf("%s +%v %s\n", key, m.due.Sub(start), m.payload), m.due})
	}
	slices.SortFunc(lines, func(x, y line) int {
		if c := strings.Compare(x.owner, y.owner); c != 0 {
			return c
		}
		return x.due.Compare(y.due)
	})
	var out strings.Builder
	for _, l := range lines {
		out.WriteString(l.text)
	}
	return out.String()
}

// step does something at random.
func (w *world) step() {
	key := func() (owner, id, name string) {
		owner, id = owners[w.rng.IntN(len(owners))], fmt.Sprint("id", w.rng.IntN(30))
		return owner, id, owner + "/" + id
	}
	switch w.rng.IntN(20) {
	default: // sets some
		c := w.l.NewCommit()
		c.Durability(log.Durability(w.rng.IntN(3)))
		for range 1 + w.rng.IntN(5) {
			owner, id, name := key()
			w.next++
			// No two are due at once, so that the model knows the order.
			due := w.reach.Add(time.Duration(w.rng.IntN(10_000)-500)*time.Second + time.Duration(w.next)*time.Microsecond)
			m := modelTimer{due.Truncate(time.Microsecond), fmt.Sprint("payload", w.next)}
			c.Require(timer.Set(owner, id, due, []byte(m.payload)))
			w.model.set[name] = m
		}
		_, err := c.Commit(ctx)
		require.NoError(w.t, err)
	case 0, 1, 2:
		owner, id, name := key()
		hold(w.t, w.l, timer.Cancel(owner, id))
		delete(w.model.set, name)
	case 3, 4, 5, 6:
		w.clock.Advance(time.Duration(w.rng.IntN(3000)) * time.Second)
	case 7, 8:
		w.clock.Jump(time.Duration(w.rng.IntN(20_000)-10_000) * time.Second)
	case 9: // fires one before its time
		for name, m := range w.model.set {
			owner, id, _ := strings.Cut(name, "/")
			d, ok, err := w.ts.Get(ctx, owner, id)
			require.NoError(w.t, err)
			require.True(w.t, ok)
			require.Equal(w.t, m.due, d.Due)
			hold(w.t, w.l, timer.Fire(d))
			_, err = commit(w.l, timer.Fire(d))
			require.ErrorIs(w.t, err, timer.ErrNotSet)
			delete(w.model.set, name)
			break
		}
	case 10:
		w.reopen()
	}
}

// reopen ends the log by Close or by a crash, while timers are firing, and opens it again.
func (w *world) reopen() {
	w.clock.Advance(time.Duration(w.rng.IntN(2000)) * time.Second)
	w.reach = w.l.Now()
	fs := w.fs
	if w.rng.IntN(2) == 0 {
		require.NoError(w.t, w.l.Sync(ctx))
		if w.rng.IntN(2) == 0 {
			w.clock.Advance(time.Duration(w.rng.IntN(2000)) * time.Second)
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[w.rng.IntN(3)], RNG: w.rng})
	}
	require.NoError(w.t, w.l.Close())
	w.fs = fs
	if w.rng.IntN(3) == 0 {
		require.NoError(w.t, fs.RemoveAll("data/state"))
	}
	w.start()
}

// TestModel compares timers with the model, under commits, clocks and crashes at random: none fires
// early, twice or not at all, and what is set is what the model says, also when it is derived anew.
func TestModel(t *testing.T) {
	seeds, steps := 60, 120
	if testing.Short() {
		seeds = 12
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			w := &world{
				t: t, rng: rand.New(rand.NewPCG(seed, 30)), fs: vfs.NewCrashableMem(), clock: clock.NewManual(start),
				model: model{set: map[string]modelTimer{}, fired: map[string]int{}},
			}
			w.start()
			for i := range steps {
				w.settle()
				w.step()
				if i%20 == 19 {
					w.check()
				}
			}
			w.check()
			set := maps.Clone(w.model.set)
			require.NoError(t, w.l.Close())
			require.NoError(t, w.fs.RemoveAll("data/state"))
			w.start()
			w.check()
			require.LessOrEqual(t, len(w.model.set), len(set))
			w.reach = w.reach.Add(20_000 * time.Second)
			w.check()
			require.Empty(t, w.model.set)
			require.NotEmpty(t, w.model.fired)
			require.NoError(t, w.l.Close())
		})
	}
}
