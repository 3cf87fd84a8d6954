package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// growthWorkload is W12: W3, W7 and W8 (after a clean close) on logs of three sizes, of which the largest
// is run.growth records of 1 KiB, and the others a tenth and a hundredth of that.
var growthWorkload = workload{
	name: "W12", title: "how the size of the log tells: synced appends, point reads, and openings up to the first append, of 1 KiB records",
	value: "rate", unit: "a second", apart: true,
	cases: []string{"append-0.01", "read-0.01", "open-0.01", "append-0.1", "read-0.1", "open-0.1", "append-1", "read-1", "open-1"},
	takes: func(e engine) bool { return e.name == "strata" || e.name == "bbolt" || e.name == "bare-write" },
	trial: growthTrial,
	more:  []column{{"first", "first pass, records/s"}},
}

// growthTrial is a trial of W12.
func growthTrial(b *run, e engine, name string) (values, error) {
	var kind string
	var part float64
	if i := len("append"); len(name) > i && name[i] == '-' {
		kind = name[:i]
	} else {
		kind = name[:len("read")]
	}
	if _, err := fmt.Sscanf(name[len(kind)+1:], "%g", &part); err != nil {
		return nil, err
	}
	if kind != "read" && e.yardstick {
		return nil, errors.ErrUnsupported
	}
	n := int(float64(b.growth)*part) / 100 * 100
	l, err := b.grown(e, n)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "append":
		return b.growthAppend(e, l)
	case "read":
		return b.growthRead(e, l, n)
	}
	return b.growthOpen(e, l)
}

// grown returns a log of n records, which it makes when there is none; one of another size is removed.
func (b *run) grown(e engine, n int) (*loadedLog, error) {
	key := fmt.Sprintf("grown-%s-%d", e.name, n)
	if err := b.makeWay(key); err != nil {
		return nil, err
	}
	if l := b.loads[key]; l != nil {
		return l, nil
	}
	for name, l := range b.loads {
		if old := fmt.Sprintf("grown-%s-", e.name); len(name) > len(old) && name[:len(old)] == old {
			if err := errors.Join(l.shut(), os.RemoveAll(l.dir)); err != nil {
				return nil, err
			}
			delete(b.loads, name)
		}
	}
	l := &loadedLog{dir: filepath.Join(b.scratch, key)}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	b.loads[key] = l
	s, err := l.opened(e, options{})
	if err != nil {
		return nil, err
	}
	w, payloads := s.writer(), b.payloads[readSize]
	for i := 0; i < n; i += 100 {
		at := i % b.cycle
		if err := w.append(payloads[at : at+100]); err != nil {
			return nil, errors.Join(err, l.shut())
		}
	}
	return l, l.shut()
}

// makeWay takes the logs but that of key out of the page cache, which cannot hold all of them.
func (b *run) makeWay(key string) error {
	for name, l := range b.loads {
		if name == key || l.away {
			continue
		}
		l.away = true
		if err := l.shut(); err != nil {
			return err
		}
		syncDisks() // what is dirty stays
		if err := forgetAll(l.dir); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	if l := b.loads[key]; l != nil {
		l.away = false
	}
	return nil
}

// forgetAll takes the files in dir, and in directories in it, out of the page cache.
func forgetAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = forget(path)
		}
		return err
	})
}

// opened returns the log as it was opened with these options, and opens it when it was not: opening a large
// log takes some engines longer than a trial.
func (l *loadedLog) opened(e engine, o options) (store, error) {
	if l.s != nil && l.o == o {
		return l.s, nil
	}
	if err := l.shut(); err != nil {
		return nil, err
	}
	s, err := e.open(l.dir, o)
	if err != nil {
		return nil, err
	}
	l.s, l.o = s, o
	return s, nil
}

// shut closes the log.
func (l *loadedLog) shut() error {
	if l.s == nil {
		return nil
	}
	s := l.s
	l.s, l.warm = nil, false
	return s.close()
}

func (b *run) growthAppend(e engine, l *loadedLog) (values, error) {
	s, err := l.opened(e, options{sync: true})
	if err != nil {
		return nil, err
	}
	v, _, err := load{writers: 1, batch: 1, size: readSize, seconds: b.syncedSeconds, every: 1}.run(s.writer, b.payloads[readSize])
	return v, err
}

// growthRead reads at random, after each record was read once, in order: the first time costs the page cache
// its disk, and Strata the check of each frame. The rate of that is "first".
func (b *run) growthRead(e engine, l *loadedLog, n int) (values, error) {
	s, err := l.opened(e, options{})
	if err != nil {
		return nil, err
	}
	g, ok := s.(getter)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	first := 0.0
	if !l.warm {
		began := time.Now()
		for i := range n {
			if _, err := g.get(i); err != nil {
				return nil, err
			}
		}
		first, l.warm = float64(n)/time.Since(began).Seconds(), true
	}
	v, err := b.pointReads(g, n)
	if err == nil && first > 0 {
		v["first"] = first
	}
	return v, err
}

// slowOpening is how long an opening may take that is measured more than once.
const slowOpening = 5 * time.Second

// growthOpen measures openings up to the first append, as W8 does, a second of them.
func (b *run) growthOpen(e engine, l *loadedLog) (values, error) {
	if err := l.shut(); err != nil {
		return nil, err
	}
	if l.slow {
		return nil, errors.ErrUnsupported
	}
	var h histogram
	total := time.Duration(0)
	for total.Seconds() < b.readSeconds && h.count < 200 {
		began := time.Now()
		s, err := e.open(l.dir, options{})
		if err != nil {
			return nil, err
		}
		err = s.writer().append(b.payloads[readSize][:1])
		took := time.Since(began)
		if err = errors.Join(err, s.close()); err != nil {
			return nil, err
		}
		h.add(took)
		total += took
		l.slow = took > slowOpening
	}
	return values{"rate": float64(h.count) / total.Seconds(), "p50": h.quantile(0.5), "p99": h.quantile(0.99)}, nil
}

// pointReads reads records at random from the first n, other ones in each trial, the same ones of each engine.
func (b *run) pointReads(g getter, n int) (values, error) {
	payloads := b.payloads[readSize]
	rng := rand.New(rand.NewPCG(7, uint64(b.trial)))
	var h histogram
	limit := time.Duration(b.readSeconds * float64(time.Second))
	began := time.Now()
	for time.Since(began) < limit {
		i := rng.IntN(n)
		start := time.Now()
		got, err := g.get(i)
		if err != nil {
			return nil, err
		}
		h.add(time.Since(start))
		if len(got) != readSize || string(got[:40]) != string(payloads[i%b.cycle][:40]) {
			return nil, fmt.Errorf("record %d is another", i)
		}
	}
	return values{"rate": float64(h.count) / time.Since(began).Seconds(), "p50": h.quantile(0.5), "p99": h.quantile(0.99), "p999": h.quantile(0.999)}, nil
}
