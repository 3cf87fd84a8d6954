package main

import (
	"math/bits"
	"runtime"
	"sync"
	"time"
)

// values is what a trial measured: rate (records/s), p50, p99 and p999 (µs), allocs (a record), and
// whatever else its workload reports.
type values map[string]float64

// histogram counts durations in buckets that are at most 1/32 wide. It belongs to one goroutine.
type histogram struct {
	buckets [64 * 32]int64
	count   int64
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucket(uint64(max(d, 0)))]++
	h.count++
}

func bucket(n uint64) int {
	if n < 32 {
		return int(n)
	}
	e := bits.Len64(n) - 6
	return e*32 + int(n>>e)
}

// lowest is the least value of a bucket.
func lowest(b int) uint64 {
	if b < 64 {
		return uint64(b)
	}
	e := b/32 - 1
	return uint64(b-e*32) << e
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count += o.count
}

// quantile returns microseconds.
func (h *histogram) quantile(q float64) float64 {
	rank := int64(q * float64(h.count))
	for i, n := range h.buckets {
		if rank -= n; rank < 0 {
			return float64(lowest(i)) / 1e3
		}
	}
	return 0
}

// load is how records are appended in a trial.
type load struct {
	writers, batch int
	size           int
	seconds        float64
	bytes          int64 // at most; 0 is no limit
	every          int   // appends between two whose latency is measured
}

// run appends until the load is done, and returns what that measured and how many records it was.
func (ld load) run(next func() writer, payloads [][]byte) (values, int, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var all histogram
	var failed error
	total := 0
	limit := time.Duration(ld.seconds * float64(time.Second))
	most := int(^uint(0) >> 1)
	if ld.bytes > 0 {
		most = int(ld.bytes) / ld.size / ld.writers
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for n := range ld.writers {
		w := next()
		wg.Go(func() {
			h := &histogram{}
			at, done := n*97%(len(payloads)-ld.batch), 0
			var err error
			for i := 0; done < most; i++ {
				records := payloads[at : at+ld.batch]
				if at += ld.batch; at+ld.batch > len(payloads) {
					at = 0
				}
				if i%ld.every != 0 {
					if err = w.append(records); err != nil {
						break
					}
					done += ld.batch
					continue
				}
				start := time.Now()
				if err = w.append(records); err != nil {
					break
				}
				done += ld.batch
				end := time.Now()
				h.add(end.Sub(start))
				if end.Sub(began) > limit {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all.merge(h)
			total += done
			if failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return values{
		"rate": float64(total) / took.Seconds(),
		"p50":  all.quantile(0.5), "p99": all.quantile(0.99), "p999": all.quantile(0.999),
		"allocs": float64(after.Mallocs-before.Mallocs) / float64(max(total, 1)),
	}, total, failed
}
