package harness

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// DamageState damages the files of the state of a closed directory, which Pebble keeps, and opens it each
// time. The log is whole, so nothing may be lost: views answer as they did, or say that they cannot, and
// then do when the log is opened once more. step is the distance between the bytes that are flipped, and
// between the lengths that files are cut to.
func DamageState(t testing.TB, step int, o Options) Verdicts {
	t.Helper()
	o = o.withDefaults()
	w := Views()
	s := newSession(&w, crashfs.New(crashfs.Options{}), o.Seed, View{})
	w.Steps(s)
	s.Close()
	if err := s.violated(); err != nil {
		t.Fatalf("state seed=%d: %v", o.Seed, err)
	}
	s.crash.SyncAll()
	d := damagedState{w: &w, snap: s.crash.Snapshot(), notes: s.View().notes, files: wholeTree(s.fs, dir)}
	maps.DeleteFunc(d.files, func(f string, _ []byte) bool { return !derived(f) })
	if len(d.files) == 0 {
		t.Fatal("there is no state to damage")
	}
	ms := d.mutations(step)
	var mu sync.Mutex
	var all Verdicts
	stats := inParallel(t, len(ms), func(k int) (int, error) {
		v, err := d.try(&ms[k])
		mu.Lock()
		all.add(v)
		mu.Unlock()
		if err != nil {
			return 0, fmt.Errorf("T6 state: %s: %w\n%s", ms[k].what, err, replay(t, o.Seed))
		}
		return 0, nil
	})
	all.Violations = stats.Violations
	return all
}

// damagedState is a closed directory, and what it promises.
type damagedState struct {
	w     *Workload
	snap  *crashfs.Snapshot
	notes []Note
	files map[string][]byte // those of the state
}

func (d *damagedState) mutations(step int) []mutation {
	var ms []mutation
	var names []string
	for f := range d.files {
		names = append(names, f)
	}
	slices.Sort(names)
	for k, f := range names {
		b := d.files[f]
		add := func(change func(map[string][]byte), what string, args ...any) {
			ms = append(ms, mutation{what: path.Base(f) + ": " + fmt.Sprintf(what, args...), change: change})
		}
		for i := k % step; i < len(b); i += step {
			add(edit(f, i, func(b []byte) { b[0] ^= 1 << (i % 8) }), "byte %d flipped", i)
			add(func(files map[string][]byte) { files[f] = files[f][:i] }, "cut to %d bytes", i)
		}
		for i := 0; i < len(b); i += 512 {
			add(edit(f, i, func(b []byte) { clear(b[:min(512, len(b))]) }), "sector at %d zeroed", i)
		}
		add(func(files map[string][]byte) { delete(files, f) }, "deleted")
		add(func(files map[string][]byte) { files[f] = nil }, "emptied")
		add(func(files map[string][]byte) { files[f] = append(bytes.Clone(b), b...) }, "appended to itself")
		for _, g := range names[k+1:] {
			add(func(files map[string][]byte) { files[f], files[g] = files[g], files[f] }, "swapped with %s", path.Base(g))
		}
	}
	return ms
}

// try opens a damaged copy, and asks the views for all that was promised.
func (d *damagedState) try(m *mutation) (v Verdicts, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	files := map[string][]byte{}
	for f, b := range d.files {
		files[f] = b
	}
	m.change(files)
	fs := d.snap.Clone()
	for f := range d.files {
		if b, ok := files[f]; ok {
			fs.WriteFile(f, b)
		} else {
			fs.DeleteFile(f)
		}
	}
	v.Opens = 1
	for again := false; ; again = true {
		err := d.open(fs)
		switch {
		case err == nil && !again:
			v.Identical++
			return v, leaks(fs)
		case err == nil:
			v.Told++
			return v, leaks(fs)
		case again || !errors.Is(err, log.ErrState):
			return v, err
		}
	}
}

func (d *damagedState) open(fs *crashfs.FS) error {
	l, err := log.Open(dir, d.w.options(fs, newClock(), &bytesOf{rand.NewPCG(9, 9)}))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = d.w.Check(l, d.notes)
	if closeErr := l.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close: %w", closeErr)
	}
	return err
}
