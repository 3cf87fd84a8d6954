package main

import (
	"bytes"
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
		{name: "W18", title: "work queue: sending messages that are due in an hour, 1,000 at a time, as many as W6 has or for 6 s", value: "rate", unit: "messages/s", cases: []string{"written"}, takes: takes, trial: queueDelayed,
			more: []column{{"delayed", "messages"}, {"reopen", "ms from opening again to receiving one sent then"}, {"heap", "heap MiB behind that"}}},
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
		for limit := b.queueTime(); time.Since(began) < limit; n += batch {
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

// queueTime is how long trials of queues are.
func (b *run) queueTime() time.Duration {
	return time.Duration(b.syncedSeconds / 2 * float64(time.Second))
}

// queueWork is a trial of W16. Messages are sent, which does not count, and worked, until that took long enough.
func queueWork(batch int) func(*run, engine, string) (values, error) {
	return func(b *run, e engine, name string) (v values, err error) {
		s, done, err := b.openQueue(e, name)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, done()) }()
		n := max(batch, int(150*b.syncedSeconds)*min(batch, 4)) / batch * batch
		total, took := 0, time.Duration(0)
		for rounds := 0; rounds < 40 && took < b.queueTime(); rounds++ {
			t, err := b.workRound(s, n, batch)
			if err != nil {
				return nil, err
			}
			total, took = total+n, took+t
		}
		return values{"rate": float64(total) / took.Seconds()}, nil
	}
}

// workRound sends n messages, works them, and returns how long the latter took.
func (b *run) workRound(s queueStore, n, batch int) (time.Duration, error) {
	payloads := b.payloads[128]
	for sent := 0; sent < n; sent += min(100, n-sent) {
		if err := s.send(payloads[sent%1000:sent%1000+min(100, n-sent)], 0); err != nil {
			return 0, err
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
		return 0, err
	}
	took := time.Since(began)
	total := 0
	for _, times := range got {
		total += times
	}
	if total != n || len(got) != min(n, 1000) {
		return 0, fmt.Errorf("%d messages were received, %d different ones, instead of %d", total, len(got), n)
	}
	return took, nil
}

// queueLatency is a trial of W17: each message is sent when the one before was received.
func queueLatency(b *run, e engine, name string) (v values, err error) {
	n := max(20, int(200*b.syncedSeconds))
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

// queueDelayed is a trial of W18. Engines that are slow to send have fewer messages there when they are opened
// again.
func queueDelayed(b *run, e engine, _ string) (v values, err error) {
	dir, remove, err := b.newDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	opened, err := e.open(dir, options{})
	if err != nil {
		return nil, err
	}
	s := opened.(queueStore)
	n := 0
	runtime.GC()
	began := time.Now()
	for limit := 6 * b.queueTime(); n < b.records && time.Since(began) < limit; n += 1000 {
		if err := s.send(b.payloads[128][:1000], time.Hour); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	v = values{"rate": float64(n) / time.Since(began).Seconds(), "delayed": float64(n)}
	if err := s.close(); err != nil {
		return nil, err
	}
	before := liveHeap()
	began = time.Now()
	if opened, err = e.open(dir, options{}); err != nil {
		return nil, err
	}
	s = opened.(queueStore)
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.send(b.payloads[128][1000:1001], 0); err != nil {
		return nil, err
	}
	var got []byte
	if err := s.work(1, 1, func(body []byte) { got = slices.Clone(body) }); err != nil {
		return nil, err
	}
	v["reopen"] = float64(time.Since(began).Microseconds()) / 1e3
	if !bytes.Equal(got, b.payloads[128][1000]) {
		return nil, errors.New("a message came before its time")
	}
	v["heap"] = max(0, liveHeap()-before)
	return v, nil
}
