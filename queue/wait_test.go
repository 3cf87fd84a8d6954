package queue_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/queue"
)

// TestWaitersAreWoken has many senders and receivers that give back, fail and acknowledge: no receiver sleeps
// over a message, whatever wakes whom.
func TestWaitersAreWoken(t *testing.T) {
	for name, o := range map[string]queue.Options{
		"plain": {}, "ordered": {Ordered: true}, "few": {MaxInFlight: 2}, "bounded": {MaxDepth: 5, WhenFull: queue.WaitWhenFull},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			o.Discard = true
			q := b.declare("work", o)
			const senders, each = 4, 100
			var left atomic.Int64
			left.Store(senders * each)
			waitCtx, cancel := context.WithCancel(ctx)
			var wg sync.WaitGroup
			for s := range senders {
				wg.Go(func() {
					for i := range each {
						m := queue.Message{Value: fmt.Append(nil, s, i)}
						if o.Ordered {
							m.Key = fmt.Append(nil, i%3)
						} else if i%7 == 0 {
							m.Priority = 2
						}
						if _, err := q.Send(ctx, m); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for range 8 {
				wg.Go(func() {
					for n := 0; ; n++ {
						ms, err := q.Receive(waitCtx, queue.ReceiveOptions{Max: 1 + n%3, Wait: -1, Unsynced: true})
						if err != nil {
							return
						}
						for i, m := range ms {
							switch {
							case m.Attempt == 1 && (n+i)%5 == 0:
								err = m.NackAfter(ctx, 0, errTest)
							case m.Attempt == 1 && (n+i)%5 == 1:
								err = m.Release(ctx)
							default:
								if err = m.Ack(ctx); left.Add(-1) == 0 {
									cancel()
								}
							}
							if err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			wg.Wait()
			cancel()
			s := b.stats(q)
			require.EqualValues(t, senders*each, s.Done)
			require.Zero(t, s.Depth())
		})
	}
}
