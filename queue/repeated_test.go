package queue_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/queue"
)

// TestSameDedupIDTwiceInACommit: by one call of Stage or by two, a commit does not send two messages with one DedupID,
// nor anything else that is in it then. Other queues, and later commits, are free to.
func TestSameDedupIDTwiceInACommit(t *testing.T) {
	b := newBench(t)
	for _, dedup := range []time.Duration{queue.ForEver, time.Minute} {
		name := "q" + dedup.String()
		q, other := b.declare(name, queue.Options{Dedup: dedup}), b.declare(name+"other", queue.Options{Dedup: dedup})
		first, second := queue.Message{Value: []byte("1"), DedupID: "x"}, queue.Message{Value: []byte("2"), DedupID: "x"}

		c := b.l.NewCommit()
		require.NoError(t, other.Stage(c, first))
		require.NoError(t, q.Stage(c, first))
		require.NoError(t, q.Stage(c, queue.Message{DedupID: "y"}, queue.Message{}))
		require.NoError(t, q.Stage(c, second))
		_, err := c.Commit(ctx)
		require.ErrorIs(t, err, queue.ErrRepeated)
		var facts *queue.RepeatedError
		require.ErrorAs(t, err, &facts)
		require.Equal(t, queue.RepeatedError{Queue: name, DedupID: "x"}, *facts)
		require.Zero(t, b.stats(q).Sent+b.stats(other).Sent)

		c.Reset()
		require.ErrorIs(t, q.Stage(c, first, second), queue.ErrInvalid)
		c.Reset()
		require.NoError(t, other.Stage(c, first))
		require.NoError(t, q.Stage(c, first))
		r, err := c.Commit(ctx)
		require.NoError(t, err)
		require.False(t, r.Duplicate)
		require.EqualValues(t, 2, b.stats(q).Sent+b.stats(other).Sent)

		c.Reset()
		require.NoError(t, q.Stage(c, first))
		require.NoError(t, q.Stage(c, second))
		r, err = c.Commit(ctx)
		require.NoError(t, err)
		require.True(t, r.Duplicate, "it was sent before, which comes before all else")
		require.EqualValues(t, 1, b.stats(q).Sent)
	}
}
