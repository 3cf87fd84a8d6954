package queue_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/queue"
)

// TestBlockedBehindExpired has a message of an ordered queue become due while an earlier one of its key, which waits,
// has expired: it is received in the same call as others.
func TestBlockedBehindExpired(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Ordered: true, Delay: 10 * time.Second})
	send := func(value string, ttl time.Duration) {
		_, err := q.Send(ctx, queue.Message{Key: []byte("k"), Value: []byte(value), TTL: ttl})
		require.NoError(t, err)
	}
	send("first", 0)
	send("expires", 20*time.Second)
	b.clk.Advance(11 * time.Second)
	first := b.gather(q, 1)[0]
	require.Equal(t, "first", string(first.Value))
	require.Empty(t, b.receive(q, 9))
	require.EqualValues(t, 1, b.stats(q).Blocked)
	send("last", 0)
	b.send(q, "without a key")
	b.clk.Advance(15 * time.Second)
	require.NoError(t, first.Ack(ctx))
	require.Equal(t, []string{"last", "without a key"}, values(b.receive(q, 9)))
	require.EqualValues(t, 1, b.stats(q).DeadLetters)
}
