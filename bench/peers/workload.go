package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stratalog/strata/bench"
)

// readSize is the size of records in workloads that read.
const readSize = 1 << 10

// workload is one of those that bench/README.md lists, of which every case is a table of its own.
type workload struct {
	name, title string
	// unit is what rate is called; with lower, less is better and rate is not measured.
	value, unit string
	lower       bool
	// layer says that it measures what stands on the log, and is run when asked for alone.
	layer bool
	// apart runs the trials of one engine after those of another, as the logs do not fit the page cache together.
	apart bool
	// limit names the yardstick that stands for what the machine can do.
	limit string
	cases []string
	// variant narrows which engines take part beyond engine.in; nil is all.
	takes func(e engine) bool
	trial func(b *run, e engine, name string) (values, error)
	// more are further columns of the table: titles of values.
	more []column
}

// column is a value that a table shows beside the usual ones.
type column struct{ value, title string }

func sizeOf(name string) int {
	if name == "128B" {
		return 128
	}
	return 1 << 10
}

var bothSizes = []string{"128B", "1KiB"}

func notYardstick(e engine) bool { return !e.yardstick }

func workloads() []workload {
	list := []workload{
		{name: "W1", title: "one record a commit, not synced, 1 writer", limit: "bare-write", cases: bothSizes, trial: unsynced(1)},
		{name: "W2", title: "commits of 100, not synced, 1 writer", limit: "bare-write", cases: bothSizes, trial: unsynced(100)},
		{name: "W3", title: "one record a commit, synced, 1 writer", limit: "bare-overwrite", cases: bothSizes, trial: synced(1, 1)},
	}
	for _, writers := range []int{16, 64, 256} {
		list = append(list, workload{
			name: fmt.Sprintf("W4-%d", writers), title: fmt.Sprintf("one record a commit, synced, %d writers", writers),
			cases: bothSizes, takes: notYardstick, trial: synced(writers, 1),
		})
	}
	list = append(list,
		workload{name: "W5", title: "commits of 100, synced, 1 writer", limit: "bare-overwrite", cases: bothSizes, trial: synced(1, 100)},
		workload{
			name: "W5-pipelined", title: "single records, synced, 1 goroutine with 256 under way", cases: bothSizes,
			takes: func(e engine) bool { return e.name == "strata" || e.name == "nats" }, trial: pipelined,
		},
		workload{name: "W6", title: "replay, warm, records of 1 KiB in commits of 100", limit: "bare-write", cases: []string{"1KiB"}, trial: replayTrial},
		workload{name: "W7", title: "random point reads, warm, the same log", limit: "bare-write", cases: []string{"1KiB"}, trial: pointReadTrial},
		workload{
			name: "W8", title: "reopening until the first append has returned, the same log", value: "ms", unit: "ms", lower: true,
			cases: []string{"closed", "killed"}, takes: notYardstick, trial: reopen,
		},
		workload{
			name: "W9", title: "from append to follower at 10,000 records/s, 128 B, not synced", value: "p50", unit: "µs (p50)", lower: true,
			cases: []string{"128B"}, takes: notYardstick, trial: follow,
		},
		workload{
			name: "C1", title: "replay by a durable consumer that acknowledges, the log of W6", cases: []string{"1KiB"},
			takes: func(e engine) bool { return e.name == "strata" || e.name == "nats" }, trial: groupTrial,
		},
	)
	list = append(list, partitionWorkload, footprintWorkload, growthWorkload)
	ofLog := len(list)
	list = slices.Concat(list, eventWorkloads(), sagaWorkloads(), liveWorkloads(), queueWorkloads())
	for i := range list {
		list[i].layer = i >= ofLog
		if list[i].value == "" {
			list[i].value, list[i].unit = "rate", "records/s"
		}
	}
	return list
}

// family is the workload's name without its variant: what -only and engine.only speak of.
func (w workload) family() string { return strings.SplitN(w.name, "-", 2)[0] }

// unsynced is a trial of W1 or W2.
func unsynced(batch int) func(*run, engine, string) (values, error) {
	return func(b *run, e engine, name string) (values, error) {
		if err := supplyPages(b.pages); err != nil {
			return nil, err
		}
		ld := load{writers: 1, batch: batch, size: sizeOf(name), seconds: b.unsyncedSeconds, bytes: b.unsyncedBytes, every: max(1, 32/batch)}
		return b.append(e, options{}, ld)
	}
}

// synced is a trial of W3, W4 or W5.
func synced(writers, batch int) func(*run, engine, string) (values, error) {
	return func(b *run, e engine, name string) (values, error) {
		return b.append(e, options{sync: true}, load{writers: writers, batch: batch, size: sizeOf(name), seconds: b.syncedSeconds, every: 1})
	}
}

// append runs one load on a new log, and checks the number of records where the engine can count.
func (b *run) append(e engine, o options, ld load) (v values, err error) {
	dir, clean, err := b.newDir()
	if err != nil {
		return nil, err
	}
	defer clean()
	s, err := e.open(dir, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	writers := s.writer
	if ld.writers > 1 {
		if m, ok := s.(interface{ shared() }); ok {
			m.shared()
		}
		if !e.native {
			g := newGroupCommitter(s.writer())
			defer g.close()
			writers = func() writer { return g }
		}
	}
	payloads := b.payloads[ld.size]
	warm := load{writers: 1, batch: ld.batch, size: ld.size, seconds: 0.05, every: 1, bytes: int64(ld.batch * ld.size * 20)}
	_, warmed, err := warm.run(writers, payloads)
	if err != nil {
		return nil, err
	}
	runtime.GC()
	v, n, err := ld.run(writers, payloads)
	if err != nil {
		return nil, err
	}
	return v, b.verify(s, n+warmed, ld)
}

// verify reads back the last record where the engine has point reads that are quick.
func (b *run) verify(s store, n int, ld load) error {
	g, ok := s.(getter)
	if _, yardstick := s.(*bareStore); !ok || yardstick {
		return nil
	}
	if _, ours := s.(*strataStore); ours {
		if err := s.(*strataStore).l.Sync(background); err != nil {
			return err
		}
	}
	got, err := g.get(n - 1)
	if err != nil {
		return fmt.Errorf("record %d of %d: %w", n-1, n, err)
	}
	if len(got) != ld.size || got[0] != '{' {
		return fmt.Errorf("record %d of %d: %d bytes instead of %d", n-1, n, len(got), ld.size)
	}
	return nil
}

// pipelined is the second trial of W5.
func pipelined(b *run, e engine, name string) (v values, err error) {
	const window = 256
	dir, clean, err := b.newDir()
	if err != nil {
		return nil, err
	}
	defer clean()
	s, err := e.open(dir, options{sync: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	p, ok := s.(pipeliner)
	if !ok {
		if p, ok = s.writer().(pipeliner); !ok {
			return nil, errors.ErrUnsupported
		}
	}
	payloads := b.payloads[sizeOf(name)]
	limit := time.Duration(b.syncedSeconds * float64(time.Second))
	var waits [window]func() error
	var began [window]time.Time
	var h histogram
	n := 0
	start := time.Now()
	for ; time.Since(start) < limit; n++ {
		i := n % window
		if waits[i] != nil {
			if err := waits[i](); err != nil {
				return nil, err
			}
			h.add(time.Since(began[i]))
		}
		began[i] = time.Now()
		at := n % len(payloads)
		if waits[i], err = p.start(payloads[at : at+1]); err != nil {
			return nil, err
		}
	}
	for _, wait := range waits {
		if wait != nil {
			err = errors.Join(err, wait())
		}
	}
	took := time.Since(start)
	return values{"rate": float64(n) / took.Seconds(), "p50": h.quantile(0.5), "p99": h.quantile(0.99), "p999": h.quantile(0.999)}, err
}

// replayTrial is a trial of W6.
func replayTrial(b *run, e engine, _ string) (values, error) {
	s, err := b.loaded(e)
	if err != nil {
		return nil, err
	}
	r, ok := s.(replayer)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	payloads := b.payloads[readSize]
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	n, size, wrong := 0, 0, 0
	if err := r.replay(func(record []byte) {
		// All are counted; one in 128 is compared, which costs no engine more than another.
		if n%128 == 0 && !bytes.Equal(record, payloads[n%b.cycle]) {
			wrong++
		}
		n++
		size += len(record)
	}); err != nil {
		return nil, err
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if n != b.records || size != n*readSize || wrong > 0 {
		return nil, fmt.Errorf("replayed %d records of %d bytes instead of %d, %d wrong", n, size, b.records, wrong)
	}
	return values{"rate": float64(n) / took.Seconds(), "allocs": float64(after.Mallocs-before.Mallocs) / float64(n)}, nil
}

// groupTrial is a trial of C1.
func groupTrial(b *run, e engine, _ string) (values, error) {
	s, err := b.loaded(e)
	if err != nil {
		return nil, err
	}
	g, ok := s.(grouper)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	payloads := b.payloads[readSize]
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	n, wrong := 0, 0
	if err := g.consumeGroup(b.records, func(record []byte) {
		if n%128 == 0 && !bytes.Equal(record, payloads[n%b.cycle]) {
			wrong++
		}
		n++
	}); err != nil {
		return nil, err
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if n != b.records || wrong > 0 {
		return nil, fmt.Errorf("consumed %d records instead of %d, %d wrong", n, b.records, wrong)
	}
	return values{"rate": float64(n) / took.Seconds(), "allocs": float64(after.Mallocs-before.Mallocs) / float64(n)}, nil
}

// pointReadTrial is a trial of W7.
func pointReadTrial(b *run, e engine, _ string) (values, error) {
	s, err := b.loaded(e)
	if err != nil {
		return nil, err
	}
	g, ok := s.(getter)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return b.pointReads(g, b.records)
}

// reopen is a trial of W8, on a copy of the log.
func reopen(b *run, e engine, name string) (values, error) {
	if err := b.finish(e); err != nil {
		return nil, err
	}
	dir, clean, err := b.newDir()
	if err != nil {
		return nil, err
	}
	defer clean()
	if err := copyDir(b.loads[e.name].dir+"-"+name, dir); err != nil {
		return nil, err
	}
	// Or an engine that syncs what it finds would write the whole copy to the disk.
	syncDisks()
	runtime.GC()
	began := time.Now()
	s, err := e.open(dir, options{})
	if err != nil {
		return nil, err
	}
	record := b.payloads[readSize][:1]
	if err := s.writer().append(record); err != nil {
		return nil, errors.Join(err, s.close())
	}
	took := time.Since(began)
	var got []byte
	if g, ok := s.(getter); ok {
		if r, ours := s.(*strataStore); ours {
			err = r.l.Sync(background)
		}
		if err == nil {
			got, err = g.get(b.records + finishing*100)
		}
		if err == nil && !bytes.Equal(got, record[0]) {
			err = errors.New("the record appended after reopening is not where it belongs")
		}
	}
	return values{"ms": float64(took.Microseconds()) / 1e3}, errors.Join(err, s.close())
}

// follow is a trial of W9.
func follow(b *run, e engine, _ string) (v values, err error) {
	n := int(10_000 * b.followSeconds)
	dir, clean, err := b.newDir()
	if err != nil {
		return nil, err
	}
	defer clean()
	s, err := e.open(dir, options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var f follower
	w := s.writer()
	switch s := s.(type) {
	case follower:
		f = s
	case getter:
		t := &teller{w: w, g: s}
		t.moved.L = &t.mu
		w, f = t, t
	default:
		return nil, errors.ErrUnsupported
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	started := time.Now()
	var h histogram
	go func() {
		done <- f.follow(func() { close(ready) }, func(record []byte) bool {
			h.add(time.Since(started) - time.Duration(binary.LittleEndian.Uint64(record)))
			return h.count < int64(n)
		})
	}()
	select {
	case <-ready:
	case err := <-done:
		return nil, err
	}
	record := [][]byte{slices.Clone(b.payloads[128][0])}
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i) * 100 * time.Microsecond)
		// Or the runtime would not see for 20 us or more that who is asleep in the kernel holds a processor, which is
		// to run the follower that it has woken.
		runtime.Gosched()
		for d := time.Until(due); d > 0; d = time.Until(due) {
			nanosleep(d)
		}
		binary.LittleEndian.PutUint64(record[0], uint64(time.Since(started)))
		if err := w.append(record); err != nil {
			return nil, err
		}
	}
	took := time.Since(begin)
	if err := <-done; err != nil {
		return nil, err
	}
	return values{"rate": float64(n) / took.Seconds(), "p50": h.quantile(0.5), "p99": h.quantile(0.99), "p999": h.quantile(0.999)}, nil
}

// newDir makes a directory for a trial and returns what removes it.
func (b *run) newDir() (string, func(), error) {
	dir, err := os.MkdirTemp(b.scratch, "trial-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// loadedLog is the log of an engine that the reading workloads share.
type loadedLog struct {
	s      store
	dir    string
	copied bool // dir-closed and dir-killed exist
	// Of W12: how s was opened, whether each record was read since, and whether opening takes long.
	o    options
	warm bool
	slow bool
	away bool // it was taken out of the page cache
}

// loaded returns the engine's log of b.records records, which it makes the first time.
func (b *run) loaded(e engine) (store, error) {
	l := b.loads[e.name]
	if l != nil && l.s != nil {
		return l.s, nil
	}
	if l != nil {
		s, err := e.open(l.dir+"-closed", options{})
		l.s = s
		return s, err
	}
	dir := filepath.Join(b.scratch, "load-"+e.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := e.open(dir, options{})
	if err != nil {
		return nil, err
	}
	w := s.writer()
	payloads := b.payloads[readSize]
	for n := 0; n < b.records; n += 100 {
		at := n % b.cycle
		if err := w.append(payloads[at : at+100]); err != nil {
			return nil, err
		}
	}
	if e.name == "strata" {
		err = s.(*strataStore).l.Sync(background)
	}
	b.loads[e.name] = &loadedLog{s: s, dir: dir}
	return s, err
}

// finishing is how many commits of 100 are appended right before the log is left.
const finishing = 20

// finish leaves the engine's log as two directories: as a killed process leaves it, and closed.
func (b *run) finish(e engine) error {
	if l := b.loads[e.name]; l != nil && l.copied {
		return nil
	}
	if _, err := b.loaded(e); err != nil {
		return err
	}
	l := b.loads[e.name]
	// A process that is killed has just written something, so that none is found at rest.
	w := l.s.writer()
	for i := range finishing {
		if err := w.append(b.payloads[readSize][i*100 : i*100+100]); err != nil {
			return err
		}
	}
	if err := copyDir(l.dir, l.dir+"-killed"); err != nil {
		return err
	}
	if err := l.s.close(); err != nil {
		return err
	}
	l.s, l.copied = nil, true
	return os.Rename(l.dir, l.dir+"-closed")
}

// unload ends the use of the engine's log.
func (b *run) unload() {
	for name, l := range b.loads {
		if l.s != nil {
			_ = l.s.close()
		}
		for _, dir := range []string{"", "-closed", "-killed"} {
			_ = os.RemoveAll(l.dir + dir)
		}
		delete(b.loads, name)
	}
}

// copyDir copies a directory, with no file coming or going meanwhile: an engine's compactions make it begin again.
func copyDir(from, to string) error {
	for {
		before, err := names(from)
		if err != nil {
			return err
		}
		copied := os.CopyFS(to, os.DirFS(from))
		after, err := names(from)
		if err != nil {
			return err
		}
		if slices.Equal(before, after) {
			return copied
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

// names returns the paths of all files in a directory, in order.
func names(dir string) ([]string, error) {
	var all []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	return all, err
}

// payloadCycle is how many different records there are, a multiple of 100.
const payloadCycle = 4000

func makePayloads() map[int][][]byte {
	return map[int][][]byte{128: bench.Payloads(payloadCycle, 128), 1 << 10: bench.Payloads(payloadCycle, 1<<10)}
}
