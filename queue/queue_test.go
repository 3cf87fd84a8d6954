package queue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// bench is a log on which a test works, with a clock that stands still.
type bench struct {
	t   testing.TB
	fs  vfs.FS
	clk *clock.Manual
	l   *log.Log
}

func newBench(t testing.TB) *bench {
	b := &bench{t: t, fs: vfs.NewMem(), clk: clock.NewManual(time.Unix(1e9, 0))}
	b.open()
	t.Cleanup(func() { require.NoError(t, b.l.Close()) })
	return b
}

func (b *bench) open() {
	l, err := log.Open("data", log.Options{FS: b.fs, Clock: b.clk, SyncInterval: -1})
	require.NoError(b.t, err)
	b.l = l
}

// reopen closes the log and opens it again.
func (b *bench) reopen() {
	require.NoError(b.t, b.l.Close())
	b.open()
}

func (b *bench) declare(name string, o queue.Options) *queue.Queue {
	q, err := queue.Declare(ctx, b.l, name, o)
	require.NoError(b.t, err)
	return q
}

func (b *bench) queue(name string) *queue.Queue {
	q, err := queue.Open(ctx, b.l, name)
	require.NoError(b.t, err)
	return q
}

func (b *bench) send(q *queue.Queue, values ...string) []int64 {
	ms := make([]queue.Message, len(values))
	for i, v := range values {
		ms[i].Value = []byte(v)
	}
	ids, err := q.Send(ctx, ms...)
	require.NoError(b.t, err)
	require.Len(b.t, ids, len(values))
	return ids
}

// receive returns the messages that can be received now.
func (b *bench) receive(q *queue.Queue, most int) []*queue.Delivery {
	ms, err := q.Receive(ctx, queue.ReceiveOptions{Max: most})
	require.NoError(b.t, err)
	return ms
}

func (b *bench) one(q *queue.Queue) *queue.Delivery {
	ms := b.receive(q, 1)
	require.Len(b.t, ms, 1)
	return ms[0]
}

func (b *bench) stats(q *queue.Queue) queue.Stats {
	s, err := q.Stats(ctx)
	require.NoError(b.t, err)
	return s
}

func values(ms []*queue.Delivery) []string {
	var out []string
	for _, m := range ms {
		out = append(out, string(m.Value))
	}
	return out
}

var errTest = errors.New("the handler failed")

func TestSendReceiveAck(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{})
	require.Equal(t, []int64{0, 1, 2}, b.send(q, "a", "b", "c"))
	ms := b.receive(q, 2)
	require.Equal(t, []string{"a", "b"}, values(ms))
	require.Equal(t, 1, ms[0].Attempt)
	require.EqualValues(t, 0, ms[0].ID())
	require.Equal(t, b.l.Now().Add(30*time.Second).UnixMilli(), ms[0].Until.UnixMilli())
	s := b.stats(q)
	require.EqualValues(t, 1, s.Ready)
	require.EqualValues(t, 2, s.Leased)
	require.NoError(t, ms[0].Ack(ctx))
	var lease *queue.LeaseError
	require.ErrorAs(t, ms[0].Ack(ctx), &lease)
	require.Equal(t, queue.LeaseError{Queue: "work", ID: 0}, *lease)
	require.Equal(t, []string{"c"}, values(b.receive(q, 10)))
	require.Empty(t, b.receive(q, 10))
	require.NoError(t, ms[1].Release(ctx))
	again := b.one(q)
	require.Equal(t, "b", string(again.Value))
	require.Equal(t, 1, again.Attempt)
	require.ErrorIs(t, ms[1].Ack(ctx), queue.ErrLease)
	require.NoError(t, again.Ack(ctx))
	s = b.stats(q)
	require.EqualValues(t, 2, s.Done)
	require.EqualValues(t, 1, s.Depth())
}

func TestLeaseEnds(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Lease: time.Minute})
	b.send(q, "a")
	m := b.one(q)
	b.clk.Advance(59 * time.Second)
	require.Empty(t, b.receive(q, 1))
	b.clk.Advance(1100 * time.Millisecond)
	ms, err := q.Receive(ctx, queue.ReceiveOptions{Wait: -1})
	require.NoError(t, err)
	require.Equal(t, 2, ms[0].Attempt)
	require.ErrorIs(t, m.Ack(ctx), queue.ErrLease)
	history, err := ms[0].History(ctx)
	require.NoError(t, err)
	require.Len(t, history, 1)
	require.Equal(t, "the lease has ended", history[0].Cause)
	// A longer lease.
	require.NoError(t, ms[0].Extend(ctx, time.Hour))
	b.clk.Advance(59 * time.Minute)
	require.Empty(t, b.receive(q, 1))
	require.NoError(t, ms[0].Ack(ctx))
}

func TestRetryAndDeadLetters(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Retry: timer.Retry{Attempts: 3, First: time.Second, Even: true}})
	_, err := q.Send(ctx, queue.Message{Key: []byte("k"), Value: []byte("v"), Headers: []record.Header{{Key: "h", Value: []byte("x")}}, ContentType: "text/plain"})
	require.NoError(t, err)
	for i := range 3 {
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Wait: -1})
		require.NoError(t, err)
		require.Equal(t, i+1, ms[0].Attempt)
		require.NoError(t, ms[0].Nack(ctx, fmt.Errorf("try %d: %w", i+1, errTest)))
		require.Empty(t, b.receive(q, 1), "before its time")
		b.clk.Advance(time.Second<<i - time.Millisecond)
		require.Empty(t, b.receive(q, 1), "before its time")
		b.clk.Advance(2 * time.Millisecond)
	}
	require.Empty(t, b.receive(q, 1))
	s := b.stats(q)
	require.EqualValues(t, 0, s.Depth())
	require.EqualValues(t, 1, s.Dead)
	require.EqualValues(t, 1, s.DeadLetters)
	dead := b.queue("work.dead")
	m := b.one(dead)
	facts, err := record.ParseDead(m.Headers)
	require.NoError(t, err)
	require.Equal(t, "try 3: the handler failed", facts.Cause)
	require.Equal(t, 3, facts.Attempts)
	require.Equal(t, "work", facts.Topic)
	require.Len(t, facts.History, 3)
	require.Equal(t, "try 1: the handler failed", facts.History[0].Cause)
	require.True(t, facts.History[0].Time.Before(facts.History[1].Time))
	require.Equal(t, "text/plain", m.ContentType())
	require.NoError(t, m.Release(ctx))

	n, err := dead.Redrive(ctx, queue.RedriveOptions{})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.EqualValues(t, 0, b.stats(dead).Depth())
	m = b.one(q)
	require.Equal(t, 1, m.Attempt)
	require.Equal(t, "k", string(m.Key))
	require.Equal(t, []record.Header{{Key: "h", Value: []byte("x")}, {Key: "content-type", Value: []byte("text/plain")}}, m.Headers)
	require.NoError(t, m.Ack(ctx))
	n, err = dead.Redrive(ctx, queue.RedriveOptions{})
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestOrdered(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Ordered: true, Retry: timer.Retry{First: time.Second, Even: true}})
	for i := range 3 {
		for _, key := range []string{"a", "b", "c"} {
			_, err := q.Send(ctx, queue.Message{Key: []byte(key), Value: fmt.Append(nil, key, i)})
			require.NoError(t, err)
		}
	}
	ms := b.receive(q, 10)
	require.Equal(t, []string{"a0", "b0", "c0"}, values(ms))
	require.Empty(t, b.receive(q, 10))
	require.NoError(t, ms[0].Nack(ctx, errTest))
	require.NoError(t, ms[1].Ack(ctx))
	next := b.receive(q, 10)
	require.Equal(t, []string{"b1"}, values(next))
	s := b.stats(q)
	require.EqualValues(t, 5, s.Blocked)
	b.reopen()
	q = b.queue("work")
	require.Empty(t, b.receive(q, 10))
	b.clk.Advance(1001 * time.Millisecond)
	ms = b.receive(q, 10)
	require.Equal(t, []string{"a0"}, values(ms))
	require.Equal(t, 2, ms[0].Attempt)
	require.NoError(t, ms[0].Ack(ctx))
	require.Equal(t, []string{"a1"}, values(b.receive(q, 10)))
}

func TestPriorities(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{})
	b.send(q, "low1", "low2")
	_, err := q.Send(ctx, queue.Message{Value: []byte("high"), Priority: 9}, queue.Message{Value: []byte("mid"), Priority: 5})
	require.NoError(t, err)
	require.Equal(t, []string{"high", "mid", "low1"}, values(b.receive(q, 3)))
	for range 40 {
		_, err := q.Send(ctx, queue.Message{Value: []byte("high"), Priority: 9})
		require.NoError(t, err)
	}
	got := values(b.receive(q, 30))
	require.Contains(t, got, "low2")
}

func TestDelayed(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{})
	ids, err := q.Send(ctx, queue.Message{Value: []byte("late"), Delay: time.Hour}, queue.Message{Value: []byte("soon"), Delay: time.Minute}, queue.Message{Value: []byte("never"), Delay: time.Minute})
	require.NoError(t, err)
	require.NoError(t, q.Cancel(ctx, ids[2]))
	require.ErrorIs(t, q.Cancel(ctx, ids[2]), queue.ErrNoMessage)
	b.send(q, "now")
	m := b.one(q)
	require.Equal(t, "now", string(m.Value))
	require.NoError(t, m.Ack(ctx))
	require.EqualValues(t, 2, b.stats(q).Delayed)
	b.clk.Advance(time.Minute + time.Second)
	require.EqualValues(t, 1, b.stats(q).Delayed)
	require.Equal(t, []string{"soon"}, values(b.receive(q, 10)))
	b.reopen()
	b.clk.Advance(time.Hour)
	require.ElementsMatch(t, []string{"late", "soon"}, values(b.gather(b.queue("work"), 2)))
}

// gather receives until there are n.
func (b *bench) gather(q *queue.Queue, n int) (ms []*queue.Delivery) {
	for len(ms) < n {
		more, err := q.Receive(ctx, queue.ReceiveOptions{Max: n - len(ms), Wait: -1})
		require.NoError(b.t, err)
		ms = append(ms, more...)
	}
	return ms
}
