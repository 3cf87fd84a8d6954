package aggregate_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// openDisk opens a store in a log on disk.
func openDisk(t testing.TB, dir string) (*log.Log, *aggregate.Store) {
	l, err := log.Open(dir, log.Options{})
	require.NoError(t, err)
	s, err := aggregate.Open(ctx, l, "events", aggregate.Options{})
	require.NoError(t, err)
	return l, s
}

// fill appends rounds events to each of so many streams, one event a commit, the streams in turn, so that the
// events of a stream lie far apart.
func fill(t testing.TB, s *aggregate.Store, streams, rounds int) {
	c := s.Log().NewCommit()
	data := make([]byte, 100)
	for r := range rounds {
		for i := range streams {
			c.Reset()
			c.Durability(log.Buffered)
			_, err := s.Stage(ctx, c, streamName(i), aggregate.At(uint64(r)), aggregate.Event{Type: "happened", Data: data})
			require.NoError(t, err)
			_, err = c.Commit(ctx)
			require.NoError(t, err)
		}
	}
	require.NoError(t, s.Log().Sync(ctx))
}

func streamName(i int) string { return fmt.Sprintf("account-%07d", i) }

// manyEvents is how many events the tests of size have: STRATA_EVENTS, or 10^5.
func manyEvents() int {
	if n, err := strconv.Atoi(os.Getenv("STRATA_EVENTS")); err == nil {
		return n
	}
	return 100_000
}

// quantile returns the q-th quantile of times.
func quantile(times []time.Duration, q float64) time.Duration {
	slices.SortFunc(times, cmp.Compare)
	return times[int(q*float64(len(times)-1))]
}

// loadTimes loads n drawn streams of ten events.
func loadTimes(t testing.TB, s *aggregate.Store, streams, n int) []time.Duration {
	rng := rand.New(rand.NewPCG(1, 2))
	times := make([]time.Duration, 0, n)
	for range n {
		stream := streamName(rng.IntN(streams))
		began, count := time.Now(), 0
		for _, err := range s.Load(ctx, stream) {
			require.NoError(t, err)
			count++
		}
		times = append(times, time.Since(began))
		require.Equal(t, 10, count)
	}
	return times
}

// TestNaive_S15_LoadReadsItsOwnEvents loads streams of ten events out of many: what that takes does not
// depend on how many there are.
func TestNaive_S15_LoadReadsItsOwnEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	l, s := openDisk(t, t.TempDir())
	streams := manyEvents() / 10
	fill(t, s, streams, 10)
	loadTimes(t, s, streams, min(streams, 20_000)) // warm
	best := time.Hour                              // of several rounds, since others use the machine, too
	for round := 0; round < 10 && best >= 100*time.Microsecond*raceFactor || round < 3; round++ {
		times := loadTimes(t, s, streams, 1000)
		p50 := quantile(times, 0.5)
		t.Logf("%d events in %d streams: a load of 10 events takes %v (p50), %v (p99)", streams*10, streams, p50, quantile(times, 0.99))
		best = min(best, p50)
	}
	require.Less(t, best, 100*time.Microsecond*raceFactor)
	require.NoError(t, l.Close())
}

// BenchmarkLoad loads streams of ten events that lie far apart.
func BenchmarkLoad(b *testing.B) {
	for _, o := range []struct {
		name string
		o    aggregate.LoadOptions
	}{{"all", aggregate.LoadOptions{}}, {"backward", aggregate.LoadOptions{Backward: true}}, {"last", aggregate.LoadOptions{From: 10}}} {
		b.Run(o.name, func(b *testing.B) {
			l, s := openDisk(b, b.TempDir())
			streams := 10_000
			if testing.Short() {
				streams = 100
			}
			fill(b, s, streams, 10)
			loadTimes(b, s, streams, streams)
			b.ReportAllocs()
			i, n := 0, 0
			for b.Loop() {
				i = (i + 7919) % streams
				for _, err := range s.Load(ctx, streamName(i), o.o) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/float64(b.N), "events/op")
			b.StopTimer()
			require.NoError(b, l.Close())
		})
	}
}

// BenchmarkAppend appends so many events at a time from so many writers, each to streams of its own,
// synced.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64} {
		for _, count := range []int{1, 10} {
			b.Run(fmt.Sprintf("writers=%d/events=%d", writers, count), func(b *testing.B) {
				l, s := openDisk(b, b.TempDir())
				list := make([]aggregate.Event, count)
				for i := range list {
					list[i] = aggregate.Event{Type: "happened", Data: make([]byte, 100)}
				}
				b.ReportAllocs()
				b.ResetTimer()
				var next atomic.Int64
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						version, stream := uint64(0), ""
						for i := 0; next.Add(1) <= int64(b.N); i++ {
							if i%10 == 0 {
								version, stream = 0, fmt.Sprintf("s-%d-%d", w, i/10)
							}
							r, err := s.Append(ctx, stream, aggregate.At(version), list...)
							if err != nil {
								b.Error(err)
								return
							}
							version = r.Version(stream)
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
				require.NoError(b, l.Close())
			})
		}
	}
}

// BenchmarkOneStream appends from 64 goroutines to one stream, at any version and by Handle's way: load,
// then append at that version.
func BenchmarkOneStream(b *testing.B) {
	b.Run("any", func(b *testing.B) {
		l, s := openDisk(b, b.TempDir())
		b.ReportAllocs()
		b.ResetTimer()
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for next.Add(1) <= int64(b.N) {
					if _, err := s.Append(ctx, "one", aggregate.Any, event("x")); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		i, err := s.Info(ctx, "one")
		require.NoError(b, err)
		require.EqualValues(b, b.N, i.Version)
		require.NoError(b, l.Close())
	})
}

// BenchmarkHandle handles commands of so many goroutines, on one aggregate and on one each.
func BenchmarkHandle(b *testing.B) {
	for _, bc := range []struct {
		name    string
		workers int
		shared  bool
	}{{"workers=1", 1, false}, {"workers=64", 64, false}, {"workers=64/one", 64, true}} {
		b.Run(bc.name, func(b *testing.B) {
			l, s := openDisk(b, b.TempDir())
			r := accountsOf(b, s, aggregate.Define("account", accountEvents, (*Account).apply).Snapshots(1, 100))
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for w := range bc.workers {
				wg.Go(func() {
					for i := 0; next.Add(1) <= int64(b.N); i++ {
						id := "one"
						if !bc.shared {
							id = fmt.Sprintf("%d-%d", w, i/10)
						}
						if _, err := r.Handle(ctx, id, func(a *Account) error { return a.Deposit(1) }); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
			require.NoError(b, l.Close())
		})
	}
}
