package bench_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/bench"
	"github.com/stratalog/strata/log"
)

// The gates compare the engine with a bare file in the same process, and hold it to half of the ratio
// that was measured when they were last set: a machine of another kind, and other work beside them,
// must not fail them, while a lost optimization must.
const (
	// W2: commits of 100 records of 1 KiB, written, against one write for each.
	gateUnsynced = 0.30
	// W3: commits of one record of 1 KiB, synced, against write and fdatasync over old blocks.
	gateSynced = 0.48
)

// TestGateUnsynced is the gate of W2.
func TestGateUnsynced(t *testing.T) {
	gate(t, gateUnsynced, 100, unsynced(log.Written), func(path string) (*bench.Bare, error) { return bench.NewBare(path, false) })
}

// TestGateSynced is the gate of W3.
func TestGateSynced(t *testing.T) {
	gate(t, gateSynced, 1, log.Options{}, bench.NewOverwritten)
}

// gate fails when none of several rounds shows at least least of the bare file's rate. The two take turns
// of a few milliseconds, so that what else the machine does slows both alike.
func gate(t *testing.T, least float64, batch int, o log.Options, bare func(string) (*bench.Bare, error)) {
	const size, rounds, turn = 1 << 10, 6, 20 * time.Millisecond
	turns := 20
	if testing.Short() {
		turns /= 2
	}
	best := 0.0
	for range rounds {
		dir := t.TempDir()
		ref, err := bare(filepath.Join(dir, "bare"))
		require.NoError(t, err)
		l, tp := openTopic(t, filepath.Join(dir, "log"), o, 1)
		w := newWriter(l, tp.Partition(0), size, batch)
		from, i := payloads[size], 0
		var ours, theirs []float64
		for range turns {
			theirs = append(theirs, commitsIn(t, turn, func() error {
				at := i * batch % (len(from) - batch)
				i++
				return ref.Append(from[at : at+batch])
			}))
			ours = append(ours, commitsIn(t, turn, w.commit))
		}
		require.NoError(t, ref.Close())
		check(t, l, tp.Partition(0), size, w.next)
		slices.Sort(ours)
		slices.Sort(theirs)
		best = max(best, ours[turns/2]/theirs[turns/2])
		if best >= least {
			t.Logf("%.2f of the bare file", best)
			return
		}
	}
	t.Fatalf("%.2f of the bare file, at least %.2f is wanted", best, least)
}

// commitsIn returns how many times a second f runs.
func commitsIn(t *testing.T, turn time.Duration, f func() error) float64 {
	began, n := time.Now(), 0
	for time.Since(began) < turn {
		require.NoError(t, f())
		n++
	}
	return float64(n) / time.Since(began).Seconds()
}
