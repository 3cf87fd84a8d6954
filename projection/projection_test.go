package projection_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

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

// TestCatchUpTakesOver waits for a Run that is under way, and does the rest itself when that ends before.
func TestCatchUpTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, vfs.NewMem())
		defer l.Close() // within the bubble
		s := openStore(t, l)
		gate := make(chan struct{})
		m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{BatchEvents: 1}, func(tx *projection.Tx, e *projection.Event) error {
			<-gate
			return sums(tx, e)
		}))
		require.NoError(t, err)
		add(t, s, "a", 1)
		add(t, s, "a", 2)
		runs, stop := context.WithCancel(ctx)
		ran, caught := make(chan error, 1), make(chan error, 1)
		go func() { ran <- m.Run(runs) }()
		synctest.Wait()
		go func() { caught <- m.CatchUp(ctx) }()
		synctest.Wait()
		stop()
		gate <- struct{}{}
		require.NoError(t, <-ran)
		close(gate)
		require.NoError(t, <-caught)
		require.Equal(t, folded(map[string][]int{"a": {1, 2}}), content(t, m))
	})
}

// TestEndedCatchUp ends a CatchUp by its context: that is no failure of the projection, and nobody else is told.
func TestEndedCatchUp(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	at := add(t, openStore(t, l), "a", 1)
	ended, cancel := context.WithCancel(ctx)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		if ended.Err() == nil {
			cancel()
			return ended.Err()
		}
		return sums(tx, e)
	}))
	require.NoError(t, err)
	require.ErrorIs(t, m.CatchUp(ended), context.Canceled)
	require.Equal(t, projection.Stopped, m.Progress().Phase)
	told := make(chan error, 1)
	go func() { told <- m.WaitFor(ctx, at) }()
	require.NoError(t, m.CatchUp(ctx))
	require.NoError(t, <-told)
}

// TestPanic has a handler panic, one after the other and in parallel: who called gets it, those who wait are told,
// nothing of the transaction is there, and it can be carried on afterwards.
func TestPanic(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		l := openLog(t, vfs.NewMem())
		s := openStore(t, l)
		at := uint64(0)
		for i := range 100 {
			at = add(t, s, fmt.Sprint("s-", i), i)
		}
		bad := true
		o := projection.Options{Parallel: parallel}
		m, err := projection.Open(ctx, l, projection.Define("sums", 1, o, func(tx *projection.Tx, e *projection.Event) error {
			if e.Stream == "s-99" && bad {
				panic("a bug")
			}
			tx.Set(e.Stream, e.Data)
			return nil
		}))
		require.NoError(t, err)
		told := make(chan error, 1)
		go func() { told <- m.WaitFor(ctx, at) }()
		require.Panics(t, func() { _ = m.CatchUp(ctx) })
		require.ErrorContains(t, <-told, "panicked")
		_, err = m.Snapshot()
		require.ErrorIs(t, err, projection.ErrNotReady)
		bad = false
		require.NoError(t, m.CatchUp(ctx))
		require.Len(t, content(t, m), 100)
	}
}

// TestCatchUpWhilePaused catches up although Run is to wait: it returns when everything is in the model, and not before.
func TestCatchUpWhilePaused(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	add(t, s, "a", 1, 2)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	m.Pause()
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, folded(map[string][]int{"a": {1, 2}}), content(t, m))
	add(t, s, "a", 3)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, folded(map[string][]int{"a": {1, 2, 3}}), content(t, m))
}
