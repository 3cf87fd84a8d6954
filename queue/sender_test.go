package queue_test

import (
	"context"
	"testing"
	"time"

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

// TestSenderCarries routes messages with all that they can ask for: a queue gets what it can do of that, as if they had
// been sent to it.
func TestSenderCarries(t *testing.T) {
	b := newBench(t)
	plain := b.declare("plain", queue.Options{Dedup: queue.ForEver})
	ordered := b.declare("ordered", queue.Options{Ordered: true})
	send := func(name string, m queue.Message) (log.Result, error) {
		c := b.l.NewCommit()
		if err := queue.Sender(b.l)(ctx, c, name, m.Record()); err != nil {
			return log.Result{}, err
		}
		return c.Commit(ctx)
	}
	own := make([]log.Header, 1, 9)
	own[0] = log.Header{Key: "own", Value: []byte("h")}
	full := queue.Message{
		Key: []byte("k"), Value: []byte("v"), Headers: own, ContentType: "text/plain", Priority: 7,
		Delay: time.Minute, TTL: time.Hour, Attempts: 2, DedupID: "once",
	}
	_, err := send("plain", full)
	require.NoError(t, err)
	require.Empty(t, own[:2][1].Key, "the caller's headers are not written to")
	again, err := send("plain", full)
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	direct := full
	direct.DedupID = "twice"
	_, err = plain.Send(ctx, direct)
	require.NoError(t, err)
	require.Empty(t, b.receive(plain, 9))
	b.clk.Advance(time.Minute + time.Second)
	ms := b.gather(plain, 2)
	for _, m := range ms {
		require.Equal(t, 7, m.Priority())
		require.Equal(t, 2, m.MaxAttempts())
		require.Equal(t, "text/plain", m.ContentType())
		for i := range m.Headers {
			if m.Headers[i].Key == queue.HeaderDedupID {
				m.Headers[i].Value = nil
			}
		}
	}
	require.Equal(t, ms[0].Headers, ms[1].Headers, "as if it had been sent")

	_, err = send("ordered", full)
	require.NoError(t, err)
	m := b.one(ordered)
	require.Zero(t, m.Priority())
	require.Equal(t, 2, m.MaxAttempts())

	// At once on a queue that delays, and at a time.
	slow := b.declare("slow", queue.Options{Delay: time.Hour})
	_, err = send("slow", queue.Message{Value: []byte("now"), Delay: -time.Nanosecond})
	require.NoError(t, err)
	require.Equal(t, []string{"now"}, values(b.receive(slow, 9)))
	_, err = send("slow", queue.Message{Value: []byte("then"), At: b.l.Now().Add(time.Second)})
	require.NoError(t, err)
	require.Empty(t, b.receive(slow, 9))
	b.clk.Advance(time.Second + time.Millisecond)
	require.Equal(t, []string{"then"}, values(b.gather(slow, 1)))

	var invalid *queue.InvalidError
	_, err = send("plain", queue.Message{Priority: 10})
	require.ErrorAs(t, err, &invalid)
	r := log.Record{Headers: []log.Header{{Key: queue.HeaderDelay, Value: []byte("soon")}}}
	require.ErrorAs(t, queue.Sender(b.l)(ctx, b.l.NewCommit(), "plain", r), &invalid)
	require.Contains(t, invalid.Reason, `"soon"`)
}
