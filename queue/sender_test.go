package queue_test

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
)

// TestSender adds records for queues that are there, full, never used before, and gone, on a log that
// creates topics when they are asked for.
func TestSender(t *testing.T) {
	ctx, fs := context.Background(), vfs.NewMem()
	open := func() *log.Log {
		l, err := log.Open("data", log.Options{FS: fs, AutoCreateTopics: true})
		require.NoError(t, err)
		return l
	}
	l := open()
	q, err := queue.Declare(ctx, l, "jobs", queue.Options{MaxDepth: 2})
	require.NoError(t, err)
	send := func(name, value string) error {
		c := l.NewCommit()
		r := log.Record{Key: []byte("k"), Value: []byte(value), Headers: []log.Header{{Key: "h", Value: []byte("1")}}}
		if err := queue.Sender(l)(ctx, c, name, r); err != nil {
			return err
		}
		_, err := c.Commit(ctx)
		return err
	}
	require.NoError(t, send("jobs", "a"))
	got, err := q.Receive(ctx, queue.ReceiveOptions{})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "k a 1", string(got[0].Key)+" "+string(got[0].Value)+" "+string(got[0].Headers[0].Value))
	require.NoError(t, l.Close())

	l = open()
	require.NoError(t, send("jobs", "b"), "was not used since the log was opened")
	require.ErrorIs(t, send("jobs", "c"), queue.ErrQueueFull)
	var gone *log.TopicError
	require.ErrorAs(t, send("other", "d"), &gone)
	require.Equal(t, "other", gone.Topic)
	require.NoError(t, queue.Delete(ctx, l, "jobs"))
	require.ErrorIs(t, send("jobs", "e"), log.ErrNoTopic)
	require.NoError(t, l.Close())
	require.ErrorIs(t, send("jobs", "f"), log.ErrClosed)
}
