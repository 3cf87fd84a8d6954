package queue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
)

// paced redrives n dead letters at a rate, in a bubble, and has during look on: moved tells how many were moved by now.
// It returns what Redrive has.
func paced(t *testing.T, n int, rate float64, during func(l *log.Log, cancel func(), moved func() int64)) (moved int, err error) {
	synctest.Test(t, func(t *testing.T) {
		l, openErr := log.Open("data", log.Options{FS: vfs.NewMem(), SyncInterval: -1})
		require.NoError(t, openErr)
		defer func() { require.NoError(t, l.Close()) }()
		b := &bench{t: t, l: l}
		q := b.declare("work", queue.Options{})
		b.send(q, make([]string, n)...)
		for _, m := range b.gather(q, n) {
			require.NoError(t, m.Reject(ctx, errTest))
		}
		dead := b.queue("work.dead")
		redriveCtx, cancel := context.WithCancel(ctx)
		defer cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			moved, err = dead.Redrive(redriveCtx, queue.RedriveOptions{Rate: rate})
		}()
		during(l, cancel, func() int64 { synctest.Wait(); return b.stats(q).Ready })
		begun := time.Now()
		<-ended
		require.Zero(t, time.Since(begun), "it has ended")
	})
	return moved, err
}

// TestRedriveRate moves no more dead letters than so many a second, one at a time.
func TestRedriveRate(t *testing.T) {
	n, err := paced(t, 5, 2, func(_ *log.Log, _ func(), moved func() int64) {
		for i := range int64(4) {
			require.Equal(t, i+1, moved(), "before the wait")
			time.Sleep(499 * time.Millisecond)
			require.Equal(t, i+1, moved(), "during the wait")
			time.Sleep(time.Millisecond)
		}
		require.EqualValues(t, 5, moved())
	})
	require.NoError(t, err)
	require.Equal(t, 5, n)
}

// TestRedriveRateEnds has the caller's context, and the log, end while Redrive waits, also for a time that is longer
// than any: what was moved is told.
func TestRedriveRateEnds(t *testing.T) {
	for _, rate := range []float64{0.5, 1e-300} {
		n, err := paced(t, 3, rate, func(_ *log.Log, cancel func(), moved func() int64) {
			time.Sleep(time.Second)
			require.EqualValues(t, 1, moved())
			cancel()
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 1, n)
		n, err = paced(t, 3, rate, func(l *log.Log, _ func(), moved func() int64) {
			time.Sleep(time.Second)
			require.EqualValues(t, 1, moved())
			require.NoError(t, l.Close())
		})
		require.ErrorIs(t, err, log.ErrClosed)
		require.Equal(t, 1, n)
	}
}
