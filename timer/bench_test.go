package timer_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// openDisk opens a log on disk.
func openDisk(b *testing.B, dir string) (*log.Log, *timer.Timers) {
	l, err := log.Open(dir, log.Options{Clock: clock.NewManual(start)})
	require.NoError(b, err)
	ts, err := timer.Open(ctx, l)
	require.NoError(b, err)
	return l, ts
}

// setMany sets n timers, a thousand in a commit, one due each millisecond.
func setMany(b *testing.B, l *log.Log, n int) {
	c := l.NewCommit()
	for i := 0; i < n; {
		c.Reset()
		c.Durability(log.Written)
		for range 1000 {
			c.Require(timer.Set("a", fmt.Sprintf("timer-%08d", i), start.Add(time.Duration(1+i)*time.Millisecond), make([]byte, 32)))
			i++
		}
		_, err := c.Commit(ctx)
		require.NoError(b, err)
	}
}

// BenchmarkSet sets timers, so many in a commit.
func BenchmarkSet(b *testing.B) {
	for _, d := range []log.Durability{log.Written, log.Synced} {
		for _, batch := range []int{1, 100} {
			b.Run(fmt.Sprintf("durability=%v/batch=%d", d, batch), func(b *testing.B) {
				l, ts := openDisk(b, b.TempDir())
				b.ReportAllocs()
				c := l.NewCommit()
				n := 0
				for b.Loop() {
					c.Reset()
					c.Durability(d)
					for range batch {
						c.Require(timer.Set("a", fmt.Sprintf("timer-%08d", n), start.Add(time.Duration(n)*time.Millisecond), nil))
						n++
					}
					_, err := c.Commit(ctx)
					require.NoError(b, err)
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "timers/s")
				have, err := ts.Count(ctx, "a")
				require.NoError(b, err)
				require.Equal(b, n, have)
				require.NoError(b, l.Close())
			})
		}
	}
}

// BenchmarkFire fires what is due all at once, 1024 in a commit.
func BenchmarkFire(b *testing.B) {
	n := 100_000
	if testing.Short() {
		n = 2000
	}
	for b.Loop() {
		b.StopTimer()
		l, ts := openDisk(b, b.TempDir())
		setMany(b, l, n)
		l.Options().Clock.(*clock.Manual).Advance(time.Hour)
		fired := make(chan int, n)
		b.StartTimer()
		_, err := ts.Handle("a", func(ctx context.Context, due []timer.Timer) error {
			c := l.NewCommit()
			for _, d := range due {
				c.Require(timer.Fire(d))
			}
			_, err := c.Commit(ctx)
			fired <- len(due)
			return err
		})
		require.NoError(b, err)
		for left := n; left > 0; {
			left -= <-fired
		}
		b.StopTimer()
		require.NoError(b, l.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "timers/s")
}

// BenchmarkMillion sets a million timers, opens the log again, and lets all of them fire. It reports the rates,
// the time that the opening takes, and how much more heap there is with the timers pending and, at most, while
// they fire.
func BenchmarkMillion(b *testing.B) {
	n := 1_000_000
	if testing.Short() {
		n = 5000
	}
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		before := heap()
		l, _ := openDisk(b, dir)
		began := time.Now()
		setMany(b, l, n)
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), "set/s")
		require.NoError(b, l.Close())

		began = time.Now()
		l, ts := openDisk(b, dir)
		count, err := ts.Count(ctx, "a")
		require.NoError(b, err)
		require.Equal(b, n, count)
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "open-ms")
		b.ReportMetric(float64(heap()-before)/(1<<20), "pending-heap-MiB")

		l.Options().Clock.(*clock.Manual).Advance(time.Hour)
		fired := make(chan int, n)
		b.StartTimer()
		began = time.Now()
		_, err = ts.Handle("a", func(ctx context.Context, due []timer.Timer) error {
			c := l.NewCommit()
			for _, d := range due {
				c.Require(timer.Fire(d))
			}
			_, err := c.Commit(ctx)
			fired <- len(due)
			return err
		})
		require.NoError(b, err)
		most := int64(0)
		for left, batches := n, 0; left > 0; batches++ {
			left -= <-fired
			if batches%100 == 0 {
				most = max(most, heap())
			}
		}
		b.StopTimer()
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), "fire/s")
		b.ReportMetric(float64(most-before)/(1<<20), "firing-heap-MiB")
		count, err = ts.Count(ctx, "a")
		require.NoError(b, err)
		require.Zero(b, count)
		require.NoError(b, l.Close())
		b.StartTimer()
	}
}

// heap returns how much of it is in use, behind a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
