package bench_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/bench"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
)

func openQueue(tb testing.TB, o log.Options) (*log.Log, *queue.Queue) {
	tb.Helper()
	l, err := log.Open(tb.TempDir(), o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, l.Close()) })
	q, err := queue.Declare(context.Background(), l, "work", queue.Options{})
	require.NoError(tb, err)
	return l, q
}

// BenchmarkQueueSend sends messages of 128 bytes.
func BenchmarkQueueSend(b *testing.B) {
	for _, durability := range []log.Durability{log.Synced, log.Written} {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprintf("durability=%v/batch=%d", durability, n), func(b *testing.B) {
				_, q := openQueue(b, log.Options{Durability: durability})
				ms := make([]queue.Message, n)
				for i, payload := range bench.Payloads(n, 128) {
					ms[i].Value = payload
				}
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					if _, err := q.Send(context.Background(), ms...); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}

// BenchmarkQueueReceiveAck receives and acknowledges messages of 128 bytes that were sent before.
func BenchmarkQueueReceiveAck(b *testing.B) {
	for _, synced := range []bool{true, false} {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprintf("synced=%v/batch=%d", synced, n), func(b *testing.B) {
				l, q := openQueue(b, log.Options{Durability: log.Written})
				fillQueue(b, l, q, b.N*n, 128)
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					ms, err := q.Receive(context.Background(), queue.ReceiveOptions{Max: n, Synced: synced})
					if err != nil || len(ms) != n {
						b.Fatal(len(ms), err)
					}
					if err := q.Ack(context.Background(), ms...); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}

// fillQueue sends n messages of size bytes, and syncs.
func fillQueue(tb testing.TB, l *log.Log, q *queue.Queue, n, size int) {
	tb.Helper()
	payloads := bench.Payloads(1000, size)
	ms := make([]queue.Message, 0, 1000)
	for sent := 0; sent < n; sent += len(ms) {
		ms = ms[:0]
		for i := range min(1000, n-sent) {
			ms = append(ms, queue.Message{Value: payloads[(sent+i)%len(payloads)]})
		}
		_, err := q.Send(context.Background(), ms...)
		require.NoError(tb, err)
	}
	require.NoError(tb, l.Sync(context.Background()))
}

// BenchmarkQueueRun handles messages with workers that do nothing.
func BenchmarkQueueRun(b *testing.B) {
	for _, workers := range []int{1, 8} {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			l, q := openQueue(b, log.Options{Durability: log.Written})
			fillQueue(b, l, q, b.N, 128)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			var handled atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			err := q.Run(ctx, func(context.Context, *queue.Delivery) error {
				if handled.Add(1) == int64(b.N) {
					stop()
				}
				return nil
			}, queue.RunOptions{Workers: workers, MaxInFlight: 256})
			b.StopTimer()
			require.NoError(b, err)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkQueueLatency measures from before a message is sent to its being received, by a receiver that
// waits, at 1,000 a second.
func BenchmarkQueueLatency(b *testing.B) {
	for _, durability := range []log.Durability{log.Synced, log.Written} {
		b.Run(fmt.Sprintf("durability=%v", durability), func(b *testing.B) {
			_, q := openQueue(b, log.Options{Durability: durability})
			ctx := context.Background()
			took := make([]time.Duration, b.N)
			sent := make([]atomic.Int64, b.N)
			payload := bench.Payloads(1, 128)[0]
			begun := time.Now()
			done := make(chan error, 1)
			go func() {
				for got := 0; got < b.N; {
					ms, err := q.Receive(ctx, queue.ReceiveOptions{Max: 100, Wait: -1, Unsynced: durability != log.Synced})
					now := time.Since(begun)
					if err == nil {
						err = q.Ack(ctx, ms...)
					}
					if err != nil {
						done <- err
						return
					}
					for _, m := range ms {
						took[m.ID()] = now - time.Duration(sent[m.ID()].Load())
						got++
					}
				}
				done <- nil
			}()
			b.ResetTimer()
			for i := range b.N {
				time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Millisecond)))
				sent[i].Store(int64(time.Since(begun)))
				if _, err := q.Send(ctx, queue.Message{Value: payload}); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, <-done)
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}

// BenchmarkQueueDelayed sends messages that are delayed for an hour, a million with -benchtime 1000000x, and
// opens the log again.
func BenchmarkQueueDelayed(b *testing.B) {
	dir, ctx := b.TempDir(), context.Background()
	l, err := log.Open(dir, log.Options{Durability: log.Written})
	require.NoError(b, err)
	q, err := queue.Declare(ctx, l, "work", queue.Options{})
	require.NoError(b, err)
	ms := make([]queue.Message, 1000)
	payloads := bench.Payloads(1000, 128)
	for sent := 0; sent < b.N; sent += len(ms) {
		ms = ms[:min(len(ms), b.N-sent)]
		for i := range ms {
			ms[i] = queue.Message{Value: payloads[i], Delay: time.Hour + time.Duration((sent+i)*7919%3600)*time.Second}
		}
		_, err := q.Send(ctx, ms...)
		require.NoError(b, err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	require.NoError(b, l.Close())
	begun := time.Now()
	l, err = log.Open(dir, log.Options{})
	require.NoError(b, err)
	q, err = queue.Open(ctx, l, "work")
	require.NoError(b, err)
	ready, err := q.Receive(ctx, queue.ReceiveOptions{})
	require.NoError(b, err)
	require.Empty(b, ready)
	b.ReportMetric(float64(time.Since(begun).Microseconds())/1e3, "reopen-ms")
	s, err := q.Stats(ctx)
	require.NoError(b, err)
	require.EqualValues(b, b.N, s.Delayed)
	b.ReportMetric(float64(heapNow())/(1<<20), "heap-MiB")
	require.NoError(b, l.Close())
}

// heapNow returns how many bytes of the heap are in use.
func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestQueueBacklog holds what the package promises of a backlog: receiving from a long one costs what it does
// from a short one, and no memory. STRATA_BENCH_GIB says how long, in GiB.
func TestQueueBacklog(t *testing.T) {
	const size = 1 << 10
	rate := func(q *queue.Queue, n int) float64 {
		begun := time.Now()
		for got := 0; got < n; {
			ms, err := q.Receive(context.Background(), queue.ReceiveOptions{Max: 100})
			require.NoError(t, err)
			require.NotEmpty(t, ms)
			require.NoError(t, q.Ack(context.Background(), ms...))
			got += len(ms)
		}
		return float64(n) / time.Since(begun).Seconds()
	}
	short, long := 10<<20, scaled(256<<20)
	if gib, err := strconv.Atoi(os.Getenv("STRATA_BENCH_GIB")); err == nil {
		long = gib << 30
	}
	lShort, qShort := openQueue(t, log.Options{Durability: log.Written})
	fillQueue(t, lShort, qShort, short/size, size)
	lLong, qLong := openQueue(t, log.Options{Durability: log.Written})
	fillQueue(t, lLong, qLong, long/size, size)
	const n = 800 // of at most twelve times, from 10,240
	medianGate(t, 0.7, func() float64 {
		r := rate(qLong, n) / rate(qShort, n)
		if heap := heapNow(); heap > 64<<20 {
			t.Errorf("heap of %d MiB", heap>>20)
		}
		return r
	})
}
