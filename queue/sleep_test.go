package queue

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// meddled is a clock that calls back before a timer is stopped or set, on whatever goroutine does that.
type meddled struct {
	*clock.Manual
	stop, set atomic.Pointer[func()] // nil for nothing
}

func (c *meddled) NewTimer(d time.Duration) clock.Timer { return meddledTimer{c.Manual.NewTimer(d), c} }

type meddledTimer struct {
	clock.Timer
	c *meddled
}

func (t meddledTimer) Stop() {
	if f := t.c.stop.Load(); f != nil {
		(*f)()
	}
	t.Timer.Stop()
}

func (t meddledTimer) Reset(d time.Duration) {
	if f := t.c.set.Load(); f != nil {
		(*f)()
	}
	t.Timer.Reset(d)
}

// TestPumpIsOvertakenByTime has the time of a lease end between the pump's look and its sleep, and between the
// sleep's own look at the time and the setting of its timer. The clock moves that once, and never again.
func TestPumpIsOvertakenByTime(t *testing.T) {
	for name, lease := range map[string]time.Duration{"before the sleep": 30 * time.Second, "in it": 30 * time.Second, "in it, by little": 500 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // of a test that fails
			defer cancel()
			c := &meddled{Manual: clock.NewManual(time.Unix(1e9, 0))}
			l, err := log.Open("data", log.Options{FS: vfs.NewMem(), Clock: c, SyncInterval: -1})
			require.NoError(t, err)
			defer func() { require.NoError(t, l.Close()) }()
			q, err := Declare(ctx, l, "work", Options{})
			require.NoError(t, err)
			_, err = q.Send(ctx, Message{})
			require.NoError(t, err)
			var moved atomic.Bool
			move := func() {
				// What the pump has seen is the lease: there is nothing else.
				if q.d.nextWake.Load() > 1 && moved.CompareAndSwap(false, true) {
					c.Advance(lease + lease/5)
				}
			}
			if name == "before the sleep" {
				c.stop.Store(&move)
			} else {
				c.set.Store(&move)
			}
			ms, err := q.Receive(ctx, ReceiveOptions{Lease: lease})
			require.NoError(t, err)
			require.Len(t, ms, 1)
			ms, err = q.Receive(ctx, ReceiveOptions{Wait: -1})
			require.NoError(t, err)
			require.Len(t, ms, 1)
			require.Equal(t, 2, ms[0].Attempt)
			require.True(t, moved.Load())
		})
	}
}
