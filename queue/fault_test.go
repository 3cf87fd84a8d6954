package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

// TestFault_S09_HandlerHangs has another receiver take over when a handler hangs, and the slow one refused.
func TestFault_S09_HandlerHangs(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Retry: timer.Retry{First: time.Second, Even: true}})
	b.send(q, "x")
	hung := b.one(q)
	b.clk.Advance(29 * time.Second)
	require.Empty(t, b.receive(q, 1))
	b.clk.Advance(2 * time.Second)
	other := b.gather(q, 1)[0]
	require.ErrorIs(t, hung.Extend(ctx, time.Hour), queue.ErrLease)
	require.NoError(t, other.Ack(ctx))
	require.ErrorIs(t, hung.Ack(ctx), queue.ErrLease)

	// Under Run, where leases do not end, the handler's time does: it is another attempt, of the next handler.
	b.send(q, "y")
	hanging := make(chan struct{})
	var attempts, over atomic.Int64
	stop := running(t, q, func(ctx context.Context, m *queue.Delivery) error {
		if attempts.Add(1) > 1 {
			require.Equal(t, 2, m.Attempt)
			return nil
		}
		close(hanging)
		<-ctx.Done()
		over.Store(b.l.Now().UnixNano())
		return context.Cause(ctx)
	}, queue.RunOptions{Workers: 2, HandleTimeout: time.Minute})
	<-hanging
	begun := b.l.Now()
	b.clk.Advance(59 * time.Second)
	require.Zero(t, over.Load(), "its time is not over")
	require.EqualValues(t, 1, b.stats(q).Leased)
	b.clk.Advance(time.Second)
	waitFor(t, func() bool { return b.stats(q).Delayed == 1 }) // for a second of a clock that stands
	require.EqualValues(t, begun.Add(time.Minute).UnixNano(), over.Load())
	for m, err := range q.Messages(ctx) {
		require.NoError(t, err)
		require.Len(t, m.History, 1)
		require.Equal(t, context.DeadlineExceeded.Error(), m.History[0].Cause)
	}
	waitFor(t, func() bool { b.clk.Advance(time.Second); return b.stats(q).Done == 2 })
	stop()
	require.EqualValues(t, 2, attempts.Load())
}

// TestFault_S10_AttemptsSurvive opens the log anew between attempts.
func TestFault_S10_AttemptsSurvive(t *testing.T) {
	b := newBench(t)
	b.send(b.declare("work", queue.Options{Retry: timer.Retry{Attempts: 3}}), "x")
	for i := range 3 {
		m := b.gather(b.queue("work"), 1)[0]
		require.Equal(t, i+1, m.Attempt)
		b.reopen()
		b.clk.Advance(31 * time.Second)
	}
	waitFor(t, func() bool { return b.stats(b.queue("work")).Dead == 1 })
	b.reopen()
	require.Equal(t, 1, b.one(b.queue("work.dead")).Attempt)
}

// TestFault_S12_NoRoomForTheDead fills the disk before a message dies: it stays with its owner, and dies once when
// there is room, whether its owner has told of the last failure, its lease has ended, or Run has, also when
// another receiver has found the disk full before.
func TestFault_S12_NoRoomForTheDead(t *testing.T) {
	for _, how := range []string{"nack", "lease", "run", "run, and a receiver"} {
		t.Run(how, func(t *testing.T) {
			fs := crashfs.New(crashfs.Options{})
			b := &bench{t: t, fs: fs, clk: clock.NewManual(time.Unix(1e9, 0))}
			l, err := log.Open("data", log.Options{FS: fs, Clock: b.clk, SyncInterval: -1, SegmentBytes: 256 << 10, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			b.l = l
			defer func() { require.NoError(t, l.Close()) }()
			q := b.declare("work", queue.Options{Retry: timer.Retry{Attempts: 1}})
			dead := b.queue("work.dead")
			filler, err := l.CreateTopic(ctx, "filler", log.TopicOptions{})
			require.NoError(t, err)
			fill := func() {
				fs.SetSpace(fs.Used() + 300<<10)
				for _, n := range []int{4000, 1} {
					for err = nil; err == nil; {
						_, err = filler.Append(ctx, log.Record{Value: make([]byte, n)})
					}
					require.ErrorIs(t, err, log.ErrNoSpace)
				}
			}
			still := func() {
				s := b.stats(q)
				require.EqualValues(t, 1, s.Leased)
				require.Zero(t, s.Done+s.Dead+s.DeadLetters)
			}
			b.send(q, string(make([]byte, 5000)))
			others := int64(0)
			switch how {
			case "nack":
				m := b.one(q)
				fill()
				require.ErrorIs(t, m.Nack(ctx, errTest), log.ErrNoSpace)
				still()
				fs.SetSpace(fs.Used() + 10<<20)
				require.NoError(t, m.Nack(ctx, errTest))
			case "lease":
				b.one(q)
				fill()
				for range 20 {
					b.clk.Advance(10 * time.Second)
					still()
				}
				fs.SetSpace(fs.Used() + 10<<20)
			case "run":
				err := q.Run(ctx, func(context.Context, *queue.Delivery) error { fill(); return errTest }, queue.RunOptions{})
				require.ErrorIs(t, err, log.ErrNoSpace)
				still()
				fs.SetSpace(fs.Used() + 10<<20)
			case "run, and a receiver":
				others = 1
				b.send(q, "other")
				err := q.Run(ctx, func(context.Context, *queue.Delivery) error {
					fill()
					_, err := q.Receive(ctx, queue.ReceiveOptions{Unsynced: true})
					require.ErrorIs(t, err, log.ErrNoSpace)
					return errTest
				}, queue.RunOptions{MaxInFlight: 1})
				require.ErrorIs(t, err, log.ErrNoSpace)
				still()
				fs.SetSpace(fs.Used() + 10<<20)
			}
			waitFor(t, func() bool { b.clk.Advance(time.Second); return b.stats(q).Dead == 1 })
			require.Equal(t, others, b.stats(q).Depth())
			require.EqualValues(t, 1, b.stats(dead).Depth())
			m := b.one(dead)
			facts, err := record.ParseDead(m.Headers)
			require.NoError(t, err)
			require.Len(t, facts.History, 1)
		})
	}
}

// TestFault_S12_LongMessagesDie has messages die that are as long as they may be, after many attempts with long
// errors, and others that are too long be refused when they are sent.
func TestFault_S12_LongMessagesDie(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.l.Close())
	l, err := log.Open("data", log.Options{FS: b.fs, Clock: b.clk, SyncInterval: -1, SegmentBytes: 256 << 10})
	require.NoError(t, err)
	b.l = l
	q := b.declare("work", queue.Options{Retry: timer.Retry{Attempts: 40, First: time.Nanosecond, Longest: time.Nanosecond}})
	var limit *log.LimitError
	_, err = q.Send(ctx, queue.Message{Value: make([]byte, 128<<10)})
	require.ErrorAs(t, err, &limit)
	for _, n := range []int64{limit.Limit, limit.Limit} {
		for err = log.ErrLimit; errors.Is(err, log.ErrLimit); n-- {
			_, err = q.Send(ctx, queue.Message{Value: make([]byte, n)})
		}
		require.NoError(t, err)
	}
	for range 39 {
		b.clk.Advance(time.Millisecond)
		for _, m := range b.gather(q, 2) {
			require.NoError(t, m.Nack(ctx, errors.New(strings.Repeat("long ", 200))))
		}
	}
	b.clk.Advance(time.Millisecond)
	b.gather(q, 2)
	waitFor(t, func() bool { b.clk.Advance(time.Second); return b.stats(q).Dead == 2 })
	for _, m := range b.gather(b.queue("work.dead"), 2) {
		facts, err := record.ParseDead(m.Headers)
		require.NoError(t, err)
		require.Equal(t, "the lease has ended", facts.Cause)
		require.Equal(t, 40, facts.Attempts)
		require.Greater(t, len(m.Value), 80<<10)
		require.Less(t, len(facts.History), 32)
	}
}

// TestFault_S13_DeadLettersHaveTheTimeOfDeath: dead letters are as old as their death.
func TestFault_S13_DeadLettersHaveTheTimeOfDeath(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{})
	b.send(q, "x")
	b.clk.Advance(time.Hour)
	died := b.l.Now()
	require.NoError(t, b.one(q).Reject(ctx, errTest))
	m := b.one(b.queue("work.dead"))
	require.Equal(t, died.UnixMilli(), m.Timestamp.UnixMilli())
	facts, err := record.ParseDead(m.Headers)
	require.NoError(t, err)
	require.Equal(t, died.UnixMicro(), facts.Time.UnixMicro())
}

// TestFault_S14_NackStorm has many messages fail always: how often they are tried is bounded by the backoff, they do
// not come all together, and new messages pass between them. Time is that of a bubble.
func TestFault_S14_NackStorm(t *testing.T) {
	const poison = 100
	seconds := 60
	if testing.Short() {
		seconds = 30
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := log.Open(dir, log.Options{Durability: log.Written, Rand: rand.NewChaCha8([32]byte{14})})
		require.NoError(t, err)
		q, err := queue.Declare(ctx, l, "work", queue.Options{Retry: timer.Retry{Attempts: -1, First: time.Second, Longest: 8 * time.Second}})
		require.NoError(t, err)
		for range poison {
			_, err := q.Send(ctx, queue.Message{Value: []byte("poison")})
			require.NoError(t, err)
		}
		begun := time.Now()
		var mu sync.Mutex
		perSecond := make([]int, seconds+1)
		var good []time.Duration // from send to handler
		runCtx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		defer cancel()
		go func() {
			for range seconds * 2 {
				if _, err := q.Send(ctx, queue.Message{Value: []byte("good")}); err != nil {
					t.Error(err)
				}
				time.Sleep(490 * time.Millisecond)
			}
		}()
		err = q.Run(runCtx, func(_ context.Context, m *queue.Delivery) error {
			time.Sleep(5 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			if string(m.Value) == "good" {
				good = append(good, time.Since(m.Timestamp))
				return nil
			}
			perSecond[time.Since(begun)/time.Second]++
			return errTest
		}, queue.RunOptions{Workers: 2})
		require.NoError(t, err)
		// By then each waits for up to 8 s, half of that on average.
		total := 0
		for _, n := range perSecond[20:seconds] {
			total += n
			require.Less(t, n, poison/2, "all at once: %v", perSecond)
		}
		average := poison * (seconds - 20) / 4
		require.Greater(t, total, average/2)
		require.Less(t, total, average*3/2)
		require.Greater(t, len(good), seconds*2-5)
		slices.Sort(good)
		require.Less(t, good[len(good)/2], 100*time.Millisecond)
		require.Less(t, good[len(good)-1], 2*time.Second, "the first ones wait for the first attempts of all others")
		synctest.Wait()
		require.NoError(t, l.Close())
	})
}

// TestFault_S15_QueueDrainsToNothing: nothing of dead, expired, cancelled and acknowledged messages stays in the
// view but their history elsewhere.
func TestFault_S15_QueueDrainsToNothing(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Discard: true})
	b.send(q, "warm")
	require.NoError(t, b.one(q).Ack(ctx))
	empty := strings.Count(queue.Dump(t, b.l), "\n")
	ids := b.send(q, "0", "1", "2", "3", "4", "5", "6", "7")
	require.NoError(t, q.Cancel(ctx, ids[3]))
	require.NoError(t, q.Cancel(ctx, ids[7]))
	_, err := q.Send(ctx, queue.Message{Priority: 3, TTL: time.Second}, queue.Message{Delay: time.Second})
	require.NoError(t, err)
	b.clk.Advance(2 * time.Second)
	for i, m := range b.gather(q, 7) {
		switch i % 3 {
		case 0:
			require.NoError(t, m.Ack(ctx))
		case 1:
			require.NoError(t, m.Reject(ctx, errTest))
		default:
			require.NoError(t, m.NackAfter(ctx, 0, errTest))
		}
	}
	for _, m := range b.gather(q, 2) {
		require.NoError(t, m.Ack(ctx))
	}
	b.send(q, "last")
	require.NoError(t, b.one(q).Ack(ctx))
	require.Zero(t, b.stats(q).Depth())
	require.Equal(t, empty, strings.Count(queue.Dump(t, b.l), "\n"), "keys are left:\n%s", queue.Dump(t, b.l))
}

// TestFault_S16_PurgeUnderDeliveries purges, and then deletes, a queue with messages that are leased, delayed,
// failed, and blocked: what is at work goes on or is refused, receivers are not stuck, and nothing is left.
func TestFault_S16_PurgeUnderDeliveries(t *testing.T) {
	b := newBench(t)
	q := b.declare("work", queue.Options{Ordered: true, Retry: timer.Retry{First: time.Minute, Even: true}})
	fill := func() (leased []*queue.Delivery) {
		for _, key := range []string{"a", "b", "c"} {
			for range 3 {
				_, err := q.Send(ctx, queue.Message{Key: []byte(key), Value: []byte(key)})
				require.NoError(t, err)
			}
		}
		leased = b.gather(q, 3)
		require.Empty(t, b.receive(q, 9)) // blocked
		require.NoError(t, leased[2].Nack(ctx, errTest))
		return leased[:2]
	}
	keys := strings.Count(queue.Dump(t, b.l), "\n")
	leased := fill()
	n, err := q.Purge(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 7, n)
	s := b.stats(q)
	require.EqualValues(t, 2, s.Leased)
	require.EqualValues(t, 2, s.Depth())
	waiting := make(chan []*queue.Delivery)
	go func() {
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Wait: -1})
		if err != nil {
			t.Error(err)
		}
		waiting <- ms
	}()
	_, err = q.Send(ctx, queue.Message{Key: []byte("c"), Value: []byte("new")}) // of the key that had failed
	require.NoError(t, err)
	ms := <-waiting
	require.Equal(t, []string{"new"}, values(ms))
	require.NoError(t, ms[0].Ack(ctx))
	require.NoError(t, leased[0].Ack(ctx))
	require.NoError(t, leased[1].Nack(ctx, errTest))
	b.clk.Advance(2 * time.Minute)
	require.NoError(t, b.one(q).Ack(ctx))
	require.Zero(t, b.stats(q).Depth())
	require.Equal(t, keys+1, strings.Count(queue.Dump(t, b.l), "\n"), "the counts are left: %s", queue.Dump(t, b.l))

	leased = fill()
	ended := make(chan error)
	go func() {
		_, err := q.Receive(ctx, queue.ReceiveOptions{Wait: -1})
		ended <- err
	}()
	require.NoError(t, queue.Delete(ctx, b.l, "work"))
	require.ErrorIs(t, <-ended, queue.ErrNoQueue)
	require.ErrorIs(t, leased[0].Ack(ctx), queue.ErrLease)
	require.ErrorIs(t, leased[1].Nack(ctx, errTest), queue.ErrLease)
	q = b.declare("work", q.Options())
	require.Zero(t, b.stats(q).Sent)
	require.Empty(t, b.receive(q, 9))
	_, err = q.Redeem(ctx, leased[0].Receipt())
	require.ErrorIs(t, err, queue.ErrReceipt)
	require.Equal(t, keys, strings.Count(queue.Dump(t, b.l), "\n"), queue.Dump(t, b.l))
}
