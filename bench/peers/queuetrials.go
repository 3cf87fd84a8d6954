package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// queueWorkloads are W15 to W18, of messages of 128 bytes.
func queueWorkloads() []workload {
	takes := func(e engine) bool { return slices.Equal(e.only, queueOnly) }
	both := []string{"written", "synced"}
	return []workload{
		{name: "W15", title: "work queue: send, 1 at a time", value: "rate", unit: "messages/s", cases: both, takes: takes, trial: queueSends(1)},
		{name: "W15-100", title: "work queue: send, 100 at a time", value: "rate", unit: "messages/s", cases: both, takes: takes, trial: queueSends(100)},
		{name: "W16", title: "work queue: receive and acknowledge, 1 at a time", value: "rate", unit: "messages/s", cases: both, takes: takes, trial: queueWork(1)},
		{name: "W16-100", title: "work queue: receive and acknowledge, 100 at a time", value: "rate", unit: "messages/s", cases: both, takes: takes, trial: queueWork(100)},
		{name: "W17", title: "work queue: from send to receive, 1 waits", value: "p50", unit: "µs (p50)", lower: true, cases: both, takes: takes, trial: queueLatency},
		{name: "W18", title: "work queue: sending messages that are due in an hour, 1,000 at a time, as many as W6 has", value: "rate", unit: "messages/s", cases: []string{"written"}, takes: takes, trial: queueDelayed},
	}
}

func (b *run) openQueue(e engine, name string) (queueStore, func() error, error) {
	dir, remove, err := b.newDir()
	if err != nil {
		return nil, nil, err
	}
	s, err := e.open(dir, options{sync: name == "synced"})
	if err != nil {
		remove()
		return nil, nil, err
	}
	return s.(queueStore), func() error { defer remove(); return s.close() }, nil
}

// queueSends is a trial of W15.
func queueSends(batch int) func(*run, engine, string) (values, error) {
	return func(b *run, e engine, name string) (v values, err error) {
		s, done, err := b.openQueue(e, name)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, done()) }()
		payloads := b.payloads[128]
		if err := s.send(payloads[:batch], 0); err != nil {
			return nil, err
		}
		var h histogram
		n := 0
		runtime.GC()
		began := time.Now()
		for limit := time.Duration(b.syncedSeconds * float64(time.Second)); time.Since(began) < limit; n += batch {
			at := n % (len(payloads) - batch)
			start := time.Now()
			if err := s.send(payloads[at:at+batch], 0); err != nil {
				return nil, err
			}
			h.add(time.Since(start))
		}
		return values{"rate": float64(n) / time.Since(began).Seconds(), "p50": h.quantile(0.5), "p99": h.quantile(0.99), "p999": h.quantile(0.999)}, nil
	}
}

// queueWork is a trial of W16: the messages are there before.
func queueWork(batch int) func(*run, engine, string) (values, error) {
	return func(b *run, e engine, name string) (v values, err error) {
		n := max(batch, min(int(1000*b.syncedSeconds), 2000)*min(batch, 10)) / batch * batch
		s, done, err := b.openQueue(e, name)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, done()) }()
		payloads := b.payloads[128]
		for sent := 0; sent < n; sent += min(100, n-sent) {
			if err := s.send(payloads[sent%1000:sent%1000+min(100, n-sent)], 0); err != nil {
				return nil, err
			}
		}
		var mu sync.Mutex
		got := map[string]int{}
		runtime.GC()
		began := time.Now()
		if err := s.work(n, batch, func(body []byte) {
			mu.Lock()
			defer mu.Unlock()
			got[string(body[:64])]++
		}); err != nil {
			return nil, err
		}
		took := time.Since(began)
		total := 0
		for _, times := range got {
			total += times
		}
		if total != n {
			return nil, fmt.Errorf("%d messages were received instead of %d", total, n)
		}
		return values{"rate": float64(n) / took.Seconds()}, nil
	}
}

// queueLatency is a trial of W17: each message is sent when the one before was received.
func queueLatency(b *run, e engine, name string) (v values, err error) {
	n := max(20, int(500*b.syncedSeconds))
	s, done, err := b.openQueue(e, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	started := time.Now()
	arrived, ended := make(chan time.Duration, n), make(chan error, 1)
	go func() {
		ended <- s.work(n, 1, func(body []byte) {
			arrived <- time.Since(started) - time.Duration(binary.LittleEndian.Uint64(body))
		})
	}()
	var h histogram
	for range n {
		body := slices.Clone(b.payloads[128][0])
		binary.LittleEndian.PutUint64(body, uint64(time.Since(started)))
		if err := s.send([][]byte{body}, 0); err != nil {
			return nil, err
		}
		select {
		case took := <-arrived:
			h.add(took)
		case err := <-ended:
			return nil, errors.Join(errors.New("the work has ended early"), err)
		}
	}
	return values{"p50": h.quantile(0.5), "p99": h.quantile(0.99), "p999": h.quantile(0.999)}, <-ended
}

// queueDelayed is a trial of W18.
func queueDelayed(b *run, e engine, name string) (v values, err error) {
	s, done, err := b.openQueue(e, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	n := 0
	runtime.GC()
	began := time.Now()
	for n < b.records {
		if err := s.send(b.payloads[128][:1000], time.Hour); err != nil {
			return nil, err
		}
		n += 1000
	}
	return values{"rate": float64(n) / time.Since(began).Seconds()}, nil
}
