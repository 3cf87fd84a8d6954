package queue_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/queue"
)

// TestPrioritiesDoNotStarve has high and low messages always there: those in between come too.
func TestPrioritiesDoNotStarve(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{})
	_, err := q.Send(ctx, queue.Message{Value: []byte("middle"), Priority: 5})
	require.NoError(t, err)
	for range 100 {
		_, err := q.Send(ctx, queue.Message{Priority: 9}, queue.Message{})
		require.NoError(t, err)
	}
	require.Contains(t, values(b.receive(q, 16)), "middle")
}

// TestOneHighAmongManyLow has one high message among 100,000 low ones come next, whenever it is sent, and the low
// ones go on, in order, while high ones are always there.
func TestOneHighAmongManyLow(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	b := newBench(t)
	q := b.declare("work", queue.Options{})
	sendMany(t, q, n)
	low := int64(0)
	for range 3 {
		for range 5 {
			require.Equal(t, low, b.one(q).ID())
			low++
		}
		ids, err := q.Send(ctx, queue.Message{Priority: 1 + int(low)%queue.MaxPriority})
		require.NoError(t, err)
		require.Equal(t, ids[0], b.one(q).ID(), "it comes next")
	}
	handled, lowBefore := 0, low
	for range 40 {
		ms := make([]queue.Message, 40) // more than are received
		for i := range ms {
			ms[i].Priority = queue.MaxPriority
		}
		_, err := q.Send(ctx, ms...)
		require.NoError(t, err)
		for _, m := range b.receive(q, 32) {
			handled++
			if m.Priority() == 0 {
				require.Equal(t, low, m.ID(), "in order")
				low++
			}
		}
	}
	require.EqualValues(t, handled/16, low-lowBefore, "one of 16")
}
