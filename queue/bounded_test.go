package queue_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/queue"
)

// TestStageWhileBounded stages messages for a queue of few at a time: there is room again when they are done with,
// also when nobody has sent otherwise, and an error that says how full it is when there is none. Two calls for one
// commit count together.
func TestStageWhileBounded(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{MaxDepth: 3, MaxBytes: 100})
	stage := func(sizes ...int) error {
		c := b.l.NewCommit()
		for _, n := range sizes {
			require.NoError(t, q.Stage(c, queue.Message{Value: make([]byte, n)}))
		}
		_, err := c.Commit(ctx)
		return err
	}
	var full *queue.FullError
	for range 10 {
		require.NoError(t, stage(10, 10))
		require.NoError(t, stage(10))
		require.ErrorAs(t, stage(10), &full)
		require.Equal(t, queue.FullError{Queue: "work", Depth: 3, Bytes: 30, MaxDepth: 3, MaxBytes: 100}, *full)
		for _, m := range b.receive(q, 3) {
			require.NoError(t, m.Ack(ctx))
		}
		require.ErrorAs(t, stage(60, 60), &full, "two calls count together")
		require.Zero(t, b.stats(q).Depth())
	}
}
