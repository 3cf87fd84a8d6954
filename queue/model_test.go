package queue_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/queue"
)

func (w *world) pick() (string, *modelQueue) {
	names := w.names()
	if !w.chance(5) {
		names = queueNames
	}
	name := names[w.rng.IntN(len(names))]
	return name, w.m[name]
}

// step does something at random.
func (w *world) step() {
	switch w.rng.IntN(26) {
	default:
		w.send()
	case 0, 1, 2, 3, 4:
		w.receive()
	case 5, 6, 7, 8, 9, 10, 11:
		w.conclude()
	case 12:
		w.concludeStale()
	case 13, 14, 15:
		w.clk.Advance(time.Duration(w.rng.IntN(40_000)) * time.Millisecond)
		w.settle(false)
	case 16:
		w.reopen()
	case 17:
		w.cancel()
	case 18:
		w.redrive()
	case 19:
		if w.chance(3) {
			w.purge()
		}
	case 20:
		if w.chance(4) {
			w.replace()
		}
	case 21:
		w.releaseOwner()
	}
	w.check()
	w.moments = append(w.moments, moment{w.l.Metrics().Written, w.m.clone(), w.out})
}

// TestModel compares queues with the model, under calls, clocks and crashes at random: every message is in
// exactly one place, none is lost, none comes before its time or more often than it may, those of a key
// come in order, all counts are exact, and the view is byte for byte what the log says. Every second world
// holds so little in memory that everything overflows. STRATA_SEEDS says how many worlds there are.
func TestModel(t *testing.T) {
	seeds, steps := 60, 120
	if testing.Short() {
		seeds = 16
	}
	if n, err := strconv.Atoi(os.Getenv("STRATA_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			w := &world{
				t: t, rng: rand.New(rand.NewPCG(seed, 50)), fs: vfs.NewCrashableMem(), clk: clock.NewManual(time.Unix(1e9, 0)), m: model{},
				tiny: seed%2 == 1,
			}
			w.openLog()
			defer func() { _ = w.l.Close() }()
			w.begin()
			for _, name := range queueNames {
				w.declare(name, w.options())
			}
			w.moments = append(w.moments, moment{w.l.Metrics().Written, w.m.clone(), 0})
			for range steps {
				w.step()
			}
			require.NoError(t, w.l.Close()) // what queues do by themselves has ended
			w.openLog()
			view := queue.Dump(t, w.l)
			require.NoError(t, w.l.Close())
			require.NoError(t, w.fs.RemoveAll("data/state"))
			w.openLog()
			require.Equal(t, view, queue.Dump(t, w.l))
			require.NoError(t, w.l.Close())
		})
	}
}
