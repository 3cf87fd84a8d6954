package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// eventsPerStream is how many appends, or events, a stream of E1 and E2 has.
const eventsPerStream = 10

const eventSize = 128

func isEvents(e engine) bool { return e.events }

// eventWorkloads are E1 and E2.
func eventWorkloads() []workload {
	return []workload{
		{name: "E1", title: "appends of one event at an expected version, synced", unit: "appends/s", value: "rate", cases: []string{"1-writer", "64-writers"}, takes: isEvents, trial: eventAppends(1)},
		{name: "E1-10", title: "appends of ten events at an expected version, synced", unit: "appends/s", value: "rate", cases: []string{"1-writer", "64-writers"}, takes: isEvents, trial: eventAppends(10)},
		{name: "E2", title: "loads of streams of ten events, warm, which were appended one by one in turn", unit: "loads/s", value: "rate", cases: []string{"128B"}, takes: isEvents, trial: eventLoads},
	}
}

// eventAppends is a trial of E1: each writer appends to streams of its own, ten appends each.
func eventAppends(count int) func(*run, engine, string) (values, error) {
	return func(b *run, e engine, name string) (v values, err error) {
		writers := 1
		if name == "64-writers" {
			writers = 64
		}
		s, clean, err := b.openEvents(e, options{sync: true})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, clean()) }()
		if m, ok := s.(interface{ shared() }); ok && writers > 1 {
			m.shared()
		}
		payloads := b.payloads[eventSize]
		limit := time.Duration(b.syncedSeconds * float64(time.Second))
		var mu sync.Mutex
		var all histogram
		var failed error
		var wg sync.WaitGroup
		runtime.GC()
		began := time.Now()
		for w := range writers {
			wg.Go(func() {
				var h histogram
				var err error
				for i := 0; time.Since(began) < limit && err == nil; i++ {
					at := (w*97 + i*count) % (len(payloads) - count)
					start := time.Now()
					err = s.appendAt(fmt.Sprintf("s-%d-%d", w, i/eventsPerStream), i%eventsPerStream*count, payloads[at:at+count])
					h.add(time.Since(start))
				}
				mu.Lock()
				defer mu.Unlock()
				all.merge(&h)
				failed = errors.Join(failed, err)
			})
		}
		wg.Wait()
		took := time.Since(began)
		if failed != nil {
			return nil, failed
		}
		got := 0
		if err := s.load("s-0-0", func([]byte) { got++ }); err != nil {
			return nil, err
		}
		if want := min(int(all.count)/writers, eventsPerStream) * count; writers == 1 && got != want {
			return nil, fmt.Errorf("%d events are there instead of %d", got, want)
		}
		return values{"rate": float64(all.count) / took.Seconds(), "p50": all.quantile(0.5), "p99": all.quantile(0.99), "p999": all.quantile(0.999)}, nil
	}
}

// eventLoads is a trial of E2.
func eventLoads(b *run, e engine, _ string) (v values, err error) {
	s, clean, err := b.openEvents(e, options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clean()) }()
	streams := max(1, b.records/10/eventsPerStream)
	payloads := b.payloads[eventSize]
	name := func(i int) string { return fmt.Sprintf("account-%07d", i) }
	for version := range eventsPerStream {
		for i := range streams {
			if err := s.appendAt(name(i), version, payloads[version:version+1]); err != nil {
				return nil, err
			}
		}
	}
	load := func(i int) error {
		n, wrong := 0, 0
		err := s.load(name(i), func(event []byte) {
			if n < eventsPerStream && !bytes.Equal(event, payloads[n]) {
				wrong++
			}
			n++
		})
		if err == nil && (n != eventsPerStream || wrong > 0) {
			err = fmt.Errorf("%d events are there instead of %d, %d wrong", n, eventsPerStream, wrong)
		}
		return err
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for range min(streams, 1000) {
		if err := load(rng.IntN(streams)); err != nil {
			return nil, err
		}
	}
	runtime.GC()
	var h histogram
	limit := time.Duration(b.readSeconds * float64(time.Second))
	began := time.Now()
	for time.Since(began) < limit {
		start := time.Now()
		if err := load(rng.IntN(streams)); err != nil {
			return nil, err
		}
		h.add(time.Since(start))
	}
	return values{"rate": float64(h.count) / time.Since(began).Seconds(), "p50": h.quantile(0.5), "p99": h.quantile(0.99), "p999": h.quantile(0.999)}, nil
}

// openEvents opens a new event store.
func (b *run) openEvents(e engine, o options) (eventStore, func() error, error) {
	dir, remove, err := b.newDir()
	if err != nil {
		return nil, nil, err
	}
	s, err := e.open(dir, o)
	if err != nil {
		remove()
		return nil, nil, err
	}
	return s.(eventStore), func() error { defer remove(); return s.close() }, nil
}
