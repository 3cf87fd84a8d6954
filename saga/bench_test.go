package saga_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
	"github.com/stratalog/strata/timer"
)

func nothing(context.Context, *order, *saga.Task) error { return nil }

func onDisk(b *testing.B) *log.Log {
	l, err := log.Open(b.TempDir(), log.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// BenchmarkInstances carries out sagas of three steps, each commit of which is synced, so many at once.
func BenchmarkInstances(b *testing.B) {
	for _, at := range []int{1, 64} {
		b.Run(fmt.Sprint("at=", at), func(b *testing.B) {
			l := onDisk(b)
			r := newRunner(b, l, saga.Define[order]("order").
				Step("reserve", nothing, nothing).Step("pay", nothing, nothing).Step("ship", nothing, nil, saga.Pivot()))
			ended := make(chan struct{}, at)
			stop := running(b, r, saga.Workers(at), saga.Observe(func(in saga.Instance, _ []saga.Event) {
				if in.Status == saga.Completed {
					ended <- struct{}{}
				}
			}))
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			for range min(at, b.N) {
				go func() { _ = r.Start(ctx, fmt.Sprint(next.Add(1)), order{Item: "book"}) }()
			}
			for done := 1; done <= b.N; done++ {
				<-ended
				if n := next.Load(); n < int64(b.N) {
					go func() {
						if n := next.Add(1); n <= int64(b.N) {
							_ = r.Start(ctx, fmt.Sprint(n), order{Item: "book"})
						}
					}()
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "instances/s")
			stop()
		})
	}
}

// begun starts n instances in commits of many.
func begun(b *testing.B, l *log.Log, r *saga.Runner, n int) {
	c := l.NewCommit()
	for i := range n {
		cond, err := r.Starting(fmt.Sprint(i), order{Item: "book"})
		require.NoError(b, err)
		c.Require(cond)
		if i%1000 == 999 || i == n-1 {
			_, err := c.Commit(ctx)
			require.NoError(b, err)
			c.Reset()
		}
	}
}

// BenchmarkResume finishes unfinished instances, each of which has one step left, after a start.
func BenchmarkResume(b *testing.B) {
	n := 100_000
	if testing.Short() {
		n = 1000
	}
	for range b.N {
		b.StopTimer()
		l := onDisk(b)
		r := newRunner(b, l, saga.Define[order]("order").Step("pay", nothing, nil))
		begun(b, l, r, n)
		all := make(chan struct{})
		var ended atomic.Int64
		b.StartTimer()
		stop := running(b, r, saga.Workers(1024), saga.Observe(func(in saga.Instance, _ []saga.Event) {
			if in.Status == saga.Completed && ended.Add(1) == int64(n) {
				close(all)
			}
		}))
		<-all
		b.StopTimer()
		stop()
		require.NoError(b, l.Close())
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "instances/s")
}

// BenchmarkTimers has many instances wait for a retry by a durable timer, and says how much memory a waiting
// one takes.
func BenchmarkTimers(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			if testing.Short() && n > 10_000 {
				b.Skip("takes minutes")
			}
			for range b.N {
				waitForTimers(b, n)
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "timers/s")
		})
	}
}

func waitForTimers(b *testing.B, n int) {
	b.StopTimer()
	l := onDisk(b)
	r := newRunner(b, l, saga.Define[order]("order").
		Step("pay", fails, nil, saga.RetryPolicy(timer.Retry{First: 1000 * time.Hour, Longest: 1000 * time.Hour, Even: true})))
	begun(b, l, r, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := make(chan struct{})
	var waiting atomic.Int64
	b.StartTimer()
	stop := running(b, r, saga.Workers(1024), saga.Observe(func(in saga.Instance, _ []saga.Event) {
		if in.Waiting && waiting.Add(1) == int64(n) {
			close(all)
		}
	}))
	<-all
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	ts, err := timer.Open(ctx, l)
	require.NoError(b, err)
	count, err := ts.Count(ctx, "strata.sagas")
	require.NoError(b, err)
	require.Equal(b, n, count)
	b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/float64(n), "heap-bytes/timer")
	stop()
	require.NoError(b, l.Close())
}
