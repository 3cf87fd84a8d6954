package bench_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// BenchmarkAppendUnsynced is W1 (batch=1) and W2 (batch=100): one writer, nothing synced.
func BenchmarkAppendUnsynced(b *testing.B) {
	for _, d := range []log.Durability{log.Written, log.Buffered} {
		for _, s := range sizes {
			for _, batch := range []int{1, 100} {
				b.Run(fmt.Sprintf("durability=%v/%s", d, named(s.name, batch)), func(b *testing.B) {
					appendAlone(b, unsynced(d), s.bytes, batch)
				})
			}
		}
	}
}

// BenchmarkAppendSynced is W3 (batch=1) and W5 (batch=100): one writer, every commit synced.
func BenchmarkAppendSynced(b *testing.B) {
	for _, s := range sizes {
		for _, batch := range []int{1, 100} {
			b.Run(named(s.name, batch), func(b *testing.B) { appendAlone(b, log.Options{}, s.bytes, batch) })
		}
	}
}

func appendAlone(b *testing.B, o log.Options, size, batch int) {
	l, t := openTopic(b, b.TempDir(), o, 1)
	p := t.Partition(0)
	w := newWriter(l, p, size, batch)
	b.SetBytes(int64(size * batch))
	b.ReportAllocs()
	for b.Loop() {
		if err := w.commit(); err != nil {
			b.Fatal(err)
		}
	}
	rate(b, w.next)
	check(b, l, p, size, w.next)
}

// BenchmarkAppendConcurrent is W4: many writers, one record a commit, every commit synced.
func BenchmarkAppendConcurrent(b *testing.B) {
	for _, s := range sizes {
		for _, writers := range []int{16, 64, 256} {
			b.Run(fmt.Sprintf("record=%s/writers=%d", s.name, writers), func(b *testing.B) {
				l, t := openTopic(b, b.TempDir(), log.Options{}, 1)
				p := t.Partition(0)
				b.SetBytes(int64(s.bytes))
				b.ReportAllocs()
				b.ResetTimer()
				var done atomic.Int64
				var mu sync.Mutex
				var all []time.Duration
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						w := newWriter(l, p, s.bytes, 1)
						var mine []time.Duration
						for done.Add(1) <= int64(b.N) {
							began := time.Now()
							if err := w.commit(); err != nil {
								b.Error(err)
								return
							}
							mine = append(mine, time.Since(began))
						}
						mu.Lock()
						all = append(all, mine...)
						mu.Unlock()
					})
				}
				wg.Wait()
				b.StopTimer()
				rate(b, b.N)
				latencies(b, all)
				require.NoError(b, l.Sync(ctx))
				require.EqualValues(b, b.N, p.Next())
				require.Len(b, all, b.N)
			})
		}
	}
}

// BenchmarkAppendPipelined is the second half of W5: one goroutine, 256 commits under way at a time.
func BenchmarkAppendPipelined(b *testing.B) {
	const window = 256
	for _, s := range sizes {
		for _, batch := range []int{1, 100} {
			b.Run(named(s.name, batch), func(b *testing.B) {
				l, t := openTopic(b, b.TempDir(), log.Options{}, 1)
				p := t.Partition(0)
				w := newWriter(l, p, s.bytes, batch)
				b.SetBytes(int64(s.bytes * batch))
				b.ReportAllocs()
				var acks [window]*log.Ack
				for i := 0; b.Loop(); i++ {
					if a := acks[i%window]; a != nil {
						if _, err := a.Wait(ctx); err != nil {
							b.Fatal(err)
						}
					}
					acks[i%window] = w.fill().CommitAsync(ctx)
				}
				for _, a := range acks {
					if a != nil {
						_, err := a.Wait(ctx)
						require.NoError(b, err)
					}
				}
				rate(b, w.next)
				check(b, l, p, s.bytes, w.next)
			})
		}
	}
}

// BenchmarkAppendPartitions is the first half of W10: commits of 100 records to one partition each, 4
// topics of 8 partitions in turn, not synced.
func BenchmarkAppendPartitions(b *testing.B) {
	const size = 1 << 10
	l, partitions := interleaved(b)
	w := newWriter(l, nil, size, 100)
	b.SetBytes(size * 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.p = partitions[i%len(partitions)]
		if err := w.commit(); err != nil {
			b.Fatal(err)
		}
	}
	rate(b, w.next)
	require.NoError(b, l.Sync(ctx))
	total := int64(0)
	for _, p := range partitions {
		total += p.Next()
	}
	require.EqualValues(b, w.next, total)
}

// interleaved opens a log with 8 partitions in each of 4 topics.
func interleaved(tb testing.TB) (*log.Log, []*log.Partition) {
	l := open(tb, tb.TempDir(), unsynced(log.Written))
	var partitions []*log.Partition
	for i := range 4 {
		t, err := l.CreateTopic(ctx, fmt.Sprint("events-", i), log.TopicOptions{Partitions: 8})
		require.NoError(tb, err)
		for j := range int32(8) {
			partitions = append(partitions, t.Partition(j))
		}
	}
	return l, partitions
}
