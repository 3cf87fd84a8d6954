package queue_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/queue"
)

// TestPrefetchOfNone: a consumer with MaxInFlight 1 never has two messages that are not acknowledged, and a queue
// with that bound never leases more, however many consumers it has.
func TestPrefetchOfNone(t *testing.T) {
	const n = 200
	for _, of := range []string{"consumer", "queue"} {
		t.Run(of, func(t *testing.T) {
			b := newBench(t)
			o, consumers, most := queue.Options{}, 2, int64(2)
			run := queue.RunOptions{MaxInFlight: 1}
			if of == "queue" {
				o.MaxInFlight, most, run = 1, 1, queue.RunOptions{Workers: 4}
			}
			q := b.declare("work", o)
			sendMany(t, q, n)
			running, stop := context.WithCancel(ctx)
			defer stop()
			var mu sync.Mutex
			seen := []int64{}
			var wg sync.WaitGroup
			for i := range consumers {
				run := run
				run.Owner = []string{"ada", "bob"}[i]
				wg.Go(func() {
					err := q.Run(running, func(_ context.Context, m *queue.Delivery) error {
						s, err := q.Stats(ctx)
						own := 0
						for info, err := range q.Leases(ctx) {
							if err != nil {
								return err
							}
							if info.Owner == run.Owner {
								own++
							}
						}
						if err != nil || s.Leased > most || own > 1 {
							t.Errorf("%d leased, %d to one consumer, %v", s.Leased, own, err)
						}
						mu.Lock()
						defer mu.Unlock()
						if seen = append(seen, m.ID()); len(seen) == n {
							stop()
						}
						return nil
					}, run)
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			slices.Sort(seen)
			require.Len(t, slices.Compact(seen), n)
			require.EqualValues(t, n, b.stats(q).Done)
		})
	}
}
