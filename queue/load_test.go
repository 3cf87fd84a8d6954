package queue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/timer"
)

// sendMany sends n numbered messages.
func sendMany(t *testing.T, q *queue.Queue, n int) {
	t.Helper()
	ms := make([]queue.Message, 0, 500)
	for sent := 0; sent < n; sent += len(ms) {
		ms = ms[:0]
		for i := range min(500, n-sent) {
			ms = append(ms, queue.Message{Value: fmt.Append(nil, sent+i)})
		}
		_, err := q.Send(ctx, ms...)
		require.NoError(t, err)
	}
}

// TestRunHandlesEachOnce has eight workers handle many messages, none of which fails.
func TestRunHandlesEachOnce(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	b := newBench(t)
	q := b.declare("work", queue.Options{})
	sendMany(t, q, n)
	handled := make([]atomic.Int32, n)
	var left, most, atWork atomic.Int64
	left.Store(int64(n))
	running, stop := context.WithCancel(ctx)
	defer stop()
	err := q.Run(running, func(_ context.Context, m *queue.Delivery) error {
		now := atWork.Add(1)
		defer atWork.Add(-1)
		for {
			old := most.Load()
			if now <= old || most.CompareAndSwap(old, now) {
				break
			}
		}
		handled[m.ID()].Add(1)
		if left.Add(-1) == 0 {
			stop()
		}
		return nil
	}, queue.RunOptions{Workers: 8, MaxInFlight: 64})
	require.NoError(t, err)
	for i := range handled {
		require.EqualValues(t, 1, handled[i].Load(), "message %d", i)
	}
	require.LessOrEqual(t, most.Load(), int64(8))
	s := b.stats(q)
	require.Zero(t, s.Depth())
	require.EqualValues(t, n, s.Done)
}

// TestRunWithFailures has handlers fail at random: each message is tried until it is done or dead, no more
// often than it may be, and never before its backoff is over. Time is that of a bubble.
func TestRunWithFailures(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 2_000
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := log.Open(dir, log.Options{})
		require.NoError(t, err)
		retry := timer.Retry{Attempts: 4, First: 100 * time.Millisecond, Even: true}
		q, err := queue.Declare(ctx, l, "work", queue.Options{Retry: retry})
		require.NoError(t, err)
		sendMany(t, q, n)
		var mu sync.Mutex
		failedAt := make([][]time.Time, n)
		rng := rand.New(rand.NewPCG(1, 2))
		done, dead := 0, 0
		running, stop := context.WithCancel(ctx)
		defer stop()
		err = q.Run(running, func(_ context.Context, m *queue.Delivery) error {
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			at := failedAt[m.ID()]
			if len(at) > 0 && time.Since(at[len(at)-1]) < retry.Bound(len(at)) {
				t.Errorf("attempt %d of message %d came %v after the one before", m.Attempt, m.ID(), time.Since(at[len(at)-1]))
			}
			if m.Attempt != len(at)+1 {
				t.Errorf("attempt %d of message %d is said to be %d", len(at)+1, m.ID(), m.Attempt)
			}
			if rng.IntN(3) > 0 {
				done++
				if done+dead == n {
					stop()
				}
				return nil
			}
			failedAt[m.ID()] = append(at, time.Now())
			if len(at)+1 == retry.Attempts {
				if dead++; done+dead == n {
					stop()
				}
			}
			return errTest
		}, queue.RunOptions{Workers: 8, MaxInFlight: 64})
		require.NoError(t, err)
		s, err := q.Stats(ctx)
		require.NoError(t, err)
		require.Zero(t, s.Depth())
		require.EqualValues(t, done, s.Done)
		require.EqualValues(t, dead, s.Dead)
		require.EqualValues(t, dead, s.DeadLetters)
		require.Greater(t, dead, n/200)
		require.NoError(t, l.Close())
	})
}

// TestLoadLevelling has producers send at ten times the rate of the consumers for ten seconds, and then
// none: nothing is lost, the heap does not grow with the backlog, which is gone when the rates say. Time
// is that of a bubble.
func TestLoadLevelling(t *testing.T) {
	seconds := 10
	if testing.Short() {
		seconds = 1
	}
	const perSecond, workers = 500, 5 // of the consumers; each message takes a worker 10 ms
	n := 10 * perSecond * seconds
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := log.Open(dir, log.Options{Durability: log.Written})
		require.NoError(t, err)
		q, err := queue.Declare(ctx, l, "work", queue.Options{})
		require.NoError(t, err)
		begun := time.Now()
		produced := make(chan error, 1)
		go func() {
			for range n / 50 {
				ms := make([]queue.Message, 50)
				for i := range ms {
					ms[i].Value = make([]byte, 1000)
				}
				if _, err := q.Send(ctx, ms...); err != nil {
					produced <- err
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			produced <- nil
		}()
		var handled atomic.Int64
		heaps := make([]uint64, 0, n/1000)
		running, stop := context.WithCancel(ctx)
		defer stop()
		seen := make([]atomic.Bool, n)
		err = q.Run(running, func(_ context.Context, m *queue.Delivery) error {
			time.Sleep(10 * time.Millisecond)
			seen[m.ID()].Store(true)
			switch done := handled.Add(1); {
			case done == int64(n):
				stop()
			case done%1000 == 0:
				runtime.GC()
				var s runtime.MemStats
				runtime.ReadMemStats(&s)
				heaps = append(heaps, s.HeapAlloc)
			}
			return nil
		}, queue.RunOptions{Workers: workers})
		require.NoError(t, err)
		require.NoError(t, <-produced)
		took := time.Since(begun)
		for i := range seen {
			require.True(t, seen[i].Load(), "message %d", i)
		}
		want := time.Duration(n) * time.Second / perSecond
		require.Greater(t, took, want*99/100)
		require.Less(t, took, want*12/10)
		if len(heaps) > 2 {
			require.Less(t, slices.Max(heaps), heaps[0]+16<<20, "%v", heaps)
		}
		require.NoError(t, l.Close())
	})
}
