package queue

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// TestIdleReceiverSleeps: who waits for a message looks once and is not woken before there is one, whatever time
// passes and whatever becomes of others.
func TestIdleReceiverSleeps(t *testing.T) {
	ctx, clk := context.Background(), clock.NewManual(time.Unix(1e9, 0))
	l, err := log.Open("data", log.Options{FS: vfs.NewMem(), Clock: clk, SyncInterval: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	q, err := Declare(ctx, l, "work", Options{})
	require.NoError(t, err)
	_, err = q.Send(ctx, Message{})
	require.NoError(t, err)
	others, err := q.Receive(ctx, ReceiveOptions{Lease: time.Hour})
	require.NoError(t, err)
	got := make(chan int, 1)
	go func() {
		ms, err := q.Receive(ctx, ReceiveOptions{Wait: 25 * time.Second})
		if err != nil {
			t.Error(err)
		}
		got <- len(ms)
	}()
	waiting := func() *waiter {
		q.d.in.mu.Lock()
		defer q.d.in.mu.Unlock()
		if len(q.d.in.waiters) == 0 {
			return nil
		}
		return q.d.in.waiters[0]
	}
	for waiting() == nil {
		runtime.Gosched()
	}
	first := waiting() // each look has a waiter of its own
	for i := range 200 {
		clk.Advance(100 * time.Millisecond)
		if i == 100 {
			require.NoError(t, others[0].Ack(ctx))
		}
		require.Same(t, first, waiting())
	}
	_, err = q.Send(ctx, Message{Delay: time.Second})
	require.NoError(t, err)
	require.Same(t, first, waiting(), "it is not due")
	clk.Advance(1100 * time.Millisecond)
	require.Equal(t, 1, <-got)
}
