package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// growthWorkload is W12: W3, W7 and W8 (after a clean close) on logs of three sizes, of which the largest
// is run.growth records of 1 KiB, and the others a tenth and a hundredth of that.
var growthWorkload = workload{
	name: "W12", title: "how the size of the log tells: synced appends, point reads, and openings up to the first append, of 1 KiB records",
	value: "rate", unit: "a second",
	cases: []string{"append-0.01", "read-0.01", "open-0.01", "append-0.1", "read-0.1", "open-0.1", "append-1", "read-1", "open-1"},
	takes: func(e engine) bool { return e.name == "strata" || e.name == "bbolt" || e.name == "bare-write" },
	trial: growthTrial,
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
	dir, err := b.grown(e, n)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "append":
		return b.growthAppend(e, dir)
	case "read":
		return b.growthRead(e, dir, n)
	}
	return b.growthOpen(e, dir)
}

// grown returns the directory of a closed log of n records, which it makes when there is none; one of
// another size is removed.
func (b *run) grown(e engine, n int) (string, error) {
	key := fmt.Sprintf("grown-%s-%d", e.name, n)
	if l := b.loads[key]; l != nil {
		return l.dir, nil
	}
	for name, l := range b.loads {
		if old := fmt.Sprintf("grown-%s-", e.name); len(name) > len(old) && name[:len(old)] == old {
			if err := os.RemoveAll(l.dir); err != nil {
				return "", err
			}
			delete(b.loads, name)
		}
	}
	dir := filepath.Join(b.scratch, key)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	b.loads[key] = &loadedLog{dir: dir}
	s, err := e.open(dir, options{})
	if err != nil {
		return "", err
	}
	w, payloads := s.writer(), b.payloads[readSize]
	for i := 0; i < n; i += 100 {
		at := i % b.cycle
		if err := w.append(payloads[at : at+100]); err != nil {
			return "", errors.Join(err, s.close())
		}
	}
	return dir, s.close()
}

func (b *run) growthAppend(e engine, dir string) (v values, err error) {
	s, err := e.open(dir, options{sync: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	v, _, err = load{writers: 1, batch: 1, size: readSize, seconds: b.syncedSeconds, every: 1}.run(s.writer, b.payloads[readSize])
	return v, err
}

func (b *run) growthRead(e engine, dir string, n int) (v values, err error) {
	s, err := e.open(dir, options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	g, ok := s.(getter)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return b.pointReads(g, n)
}

// growthOpen measures openings up to the first append, as W8 does, a second of them.
func (b *run) growthOpen(e engine, dir string) (values, error) {
	var h histogram
	total := time.Duration(0)
	for total.Seconds() < b.readSeconds && h.count < 200 {
		began := time.Now()
		s, err := e.open(dir, options{})
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
	}
	return values{"rate": float64(h.count) / total.Seconds(), "p50": h.quantile(0.5), "p99": h.quantile(0.99)}, nil
}

// pointReads reads records at random from the first n.
func (b *run) pointReads(g getter, n int) (values, error) {
	payloads := b.payloads[readSize]
	rng := rand.New(rand.NewPCG(7, 7))
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
