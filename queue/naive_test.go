package queue_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

// running runs a handler until stop is called.
func running(t *testing.T, q *queue.Queue, h queue.Handler, o queue.RunOptions) (stop func()) {
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- q.Run(runCtx, h, o) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); require.NoError(t, <-ended) }) }
	t.Cleanup(stop)
	return stop
}

// TestNaive_S02_BackoffHoldsNoWorker: a worker that sleeps before it tries again does nothing else. Here one
// worker handles a thousand good messages while the bad one waits.
func TestNaive_S02_BackoffHoldsNoWorker(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Retry: timer.Retry{First: time.Hour, Even: true}})
	b.send(q, "bad")
	for range 10 {
		b.send(q, make([]string, 100)...)
	}
	var good, bad atomic.Int64
	stop := running(t, q, func(_ context.Context, m *queue.Delivery) error {
		if string(m.Value) == "bad" {
			bad.Add(1)
			return errTest
		}
		good.Add(1)
		return nil
	}, queue.RunOptions{})
	waitFor(t, func() bool { return good.Load() == 1000 })
	stop()
	require.EqualValues(t, 1, bad.Load())
	s := b.stats(q)
	require.EqualValues(t, 1, s.Delayed)
	require.EqualValues(t, 1000, s.Done)
}

// TestNaive_S03_RetryNeedsNoRoom: a retry that is sent again to a full queue is lost. Here what was accepted
// stays, also when the queue is full.
func TestNaive_S03_RetryNeedsNoRoom(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{MaxDepth: 3, Retry: timer.Retry{Attempts: 2}})
	b.send(q, "a", "b", "c")
	for range 2 {
		_, err := q.Send(ctx, queue.Message{})
		require.ErrorIs(t, err, queue.ErrQueueFull)
		for _, m := range b.gather(q, 3) {
			require.NoError(t, m.NackAfter(ctx, 0, errTest))
		}
		b.reopen()
		q = b.queue("work")
	}
	for _, m := range b.gather(q, 3) {
		require.Equal(t, 3, m.Attempt)
		require.NoError(t, m.Nack(ctx, errTest))
	}
	require.EqualValues(t, 3, b.stats(b.queue("work.dead")).Ready)
	b.send(q, "there", "is", "room")
}

// TestNaive_S04_RestartKeepsWhatIsNotDone: a channel forgets all when the process ends. Here what was not
// acknowledged comes back with its attempts, and the end of Run waits for its handlers.
func TestNaive_S04_RestartKeepsWhatIsNotDone(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{})
	b.send(q, "a", "b")
	started, release := make(chan struct{}), make(chan struct{})
	stop := running(t, q, func(ctx context.Context, _ *queue.Delivery) error {
		close(started)
		<-ctx.Done()
		<-release
		return nil
	}, queue.RunOptions{})
	<-started
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("the end did not wait for the handler")
	default:
	}
	close(release)
	<-stopped
	require.EqualValues(t, 1, b.stats(q).Done)
	ms, err := q.Receive(ctx, queue.ReceiveOptions{Held: true})
	require.NoError(t, err)
	require.Equal(t, 1, ms[0].Attempt) // what was not begun was given back uncounted
	b.reopen()
	again := b.gather(b.queue("work"), 1)[0]
	require.Equal(t, "b", string(again.Value))
	require.Equal(t, 2, again.Attempt)
}

// TestNaive_S06_PoisonMessageDies: put back at once, a message that always fails is a hot loop. Here its
// attempts are bounded, their gaps grow, and it goes to the dead letters with its history.
func TestNaive_S06_PoisonMessageDies(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Retry: timer.Retry{Attempts: 4, First: time.Second, Even: true}})
	b.send(q, "poison")
	var attempts atomic.Int64
	running(t, q, func(context.Context, *queue.Delivery) error { attempts.Add(1); return errTest }, queue.RunOptions{Workers: 2})
	for i := range 3 {
		waitFor(t, func() bool { return b.stats(q).Delayed == 1 })
		require.EqualValues(t, i+1, attempts.Load())
		b.clk.Advance(time.Second<<i + time.Millisecond)
		waitFor(t, func() bool { return attempts.Load() == int64(i+2) })
	}
	waitFor(t, func() bool { return b.stats(q).Dead == 1 })
	m := b.one(b.queue("work.dead"))
	facts, err := record.ParseDead(m.Headers)
	require.NoError(t, err)
	require.Len(t, facts.History, 4)
	for i := range 3 {
		require.GreaterOrEqual(t, facts.History[i+1].Time.Sub(facts.History[i].Time), time.Second<<i)
	}
	require.EqualValues(t, 4, attempts.Load())
}

// TestNaive_S07_SendIsDurable cuts the power behind every send: what was returned is there.
func TestNaive_S07_SendIsDurable(t *testing.T) {
	fs, clk := vfs.NewCrashableMem(), clock.NewManual(time.Unix(1e9, 0))
	for i := range 5 {
		l, err := log.Open("data", log.Options{FS: fs, Clock: clk})
		require.NoError(t, err)
		q, err := queue.Declare(ctx, l, "work", queue.Options{})
		require.NoError(t, err)
		s, err := q.Stats(ctx)
		require.NoError(t, err)
		require.EqualValues(t, i, s.Ready)
		_, err = q.Send(ctx, queue.Message{Value: fmt.Append(nil, i)})
		require.NoError(t, err)
		cut := fs.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, l.Close())
		fs = cut
	}
}

// TestNaive_S11_SlowBatch: ten messages under one clock run out while the first is handled. Here they are
// the handlers' while those live, and a stale receipt is refused.
func TestNaive_S11_SlowBatch(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Lease: time.Second, Retry: timer.Retry{First: time.Second, Even: true}})
	b.send(q, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	stale := b.one(q)
	b.clk.Advance(2 * time.Second)
	var calls atomic.Int64
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- q.RunBatch(runCtx, func(_ context.Context, ms []*queue.Delivery) []error {
			results := make([]error, len(ms))
			for i, m := range ms {
				calls.Add(1)
				b.clk.Advance(time.Hour) // far beyond the lease
				if string(m.Value) == "3" && m.Attempt == 1 {
					results[i] = errTest
				}
			}
			return results
		}, queue.RunOptions{})
	}()
	waitFor(t, func() bool { b.clk.Advance(time.Second); return b.stats(q).Done == 10 })
	cancel()
	require.NoError(t, <-ended)
	require.EqualValues(t, 11, calls.Load(), "only what failed comes again")
	require.ErrorIs(t, stale.Ack(ctx), queue.ErrLease)
}

// TestNaive_S12_RedrivePolicyIsChecked: a policy that is text fails when the first message dies. Here it is
// typed, checked when it is declared, and the queue of the dead letters is there.
func TestNaive_S12_RedrivePolicyIsChecked(t *testing.T) {
	b := newBench(t)
	_, err := queue.Declare(ctx, b.l, "work", queue.Options{DeadLetter: "arn:aws:sqs/x"})
	require.ErrorIs(t, err, queue.ErrOptions)
	q := b.declare("work", queue.Options{DeadLetter: "mine", Retry: timer.Retry{Attempts: 3, First: time.Nanosecond}})
	require.Zero(t, b.stats(b.queue("mine")).Depth())
	b.send(q, "x")
	for i := range 3 {
		require.Zero(t, b.stats(q).DeadLetters, "after %d", i)
		b.clk.Advance(time.Millisecond)
		require.NoError(t, b.one(q).Nack(ctx, errTest))
	}
	require.EqualValues(t, 1, b.stats(q).DeadLetters)
}
