package projection_test

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/projection"
)

// TestCatchUp carries a model on over three openings of the log, in transactions of all sizes.
func TestCatchUp(t *testing.T) {
	for _, batch := range []int{1, 2, 7, 0} {
		fs := vfs.NewMem()
		d := projection.Define("sums", 1, projection.Options{BatchEvents: batch}, sums)
		amounts := map[string][]int{}
		for life := range 3 {
			l := openLog(t, fs)
			s := openStore(t, l)
			m, err := projection.Open(ctx, l, d)
			require.NoError(t, err)
			if life == 0 {
				_, _, err := m.Get("total")
				require.ErrorIs(t, err, projection.ErrNotReady)
			} else {
				require.Equal(t, folded(amounts), content(t, m), "as it was left")
			}
			for i := range 20 {
				for k, account := range []string{"a", "b", "c"} {
					add(t, s, account, i, k)
					amounts[account] = append(amounts[account], i, k)
				}
			}
			require.NoError(t, m.CatchUp(ctx))
			require.Equal(t, folded(amounts), content(t, m))
			pr := m.Progress()
			require.Equal(t, uint64(120), pr.Events, "each event once")
			require.Equal(t, projection.Stopped, pr.Phase)
			require.Zero(t, pr.Lag())
			require.NoError(t, m.CatchUp(ctx), "nothing to do")
			require.NoError(t, l.Close())
		}
	}
}

// TestRun follows the log, and reads its own writes.
func TestRun(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(running) }()
	amounts := map[string][]int{}
	for i := range 100 {
		at := add(t, s, "a", i)
		amounts["a"] = append(amounts["a"], i)
		require.NoError(t, m.WaitFor(ctx, at))
		require.Equal(t, folded(amounts), content(t, m))
	}
	require.Equal(t, projection.Live, m.Progress().Phase)
	require.ErrorIs(t, m.Run(ctx), projection.ErrRunning)
	stop()
	require.NoError(t, <-done)
}
