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
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// check opens the log on fs, which a crash has left, and returns what is wrong with it: the
// invariants of the package comment. deep goes on to close, to open again, to append and to compare
// files, which costs some times as much.
func check(w *Workload, fs vfs.FS, v View, seed uint64, deep bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	var before map[string][]byte
	if deep {
		before = tree(fs, dir)
	}
	o := w.options(fs, newClock(), &bytesOf{rand.NewPCG(seed, 3)})
	l, err := log.Open(dir, o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	n, err := verify(w, l, v, deep)
	err = errors.Join(err, l.Close(), leaks(fs))
	if err != nil || !deep {
		return err
	}
	v = v.resolved(n)
	first := tree(fs, dir)
	if err := survived(before, first); err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	// Opening twice changes nothing.
	if l, err = log.Open(dir, o); err != nil {
		return fmt.Errorf("second open: %w", err)
	}
	_, err = verify(w, l, v, false)
	if err = errors.Join(err, l.Close(), leaks(fs)); err != nil {
		return fmt.Errorf("second open: %w", err)
	}
	if second := tree(fs, dir); !maps.EqualFunc(first, second, bytes.Equal) {
		return fmt.Errorf("opening twice changed %s", changed(first, second))
	}
	if w.Opaque {
		return nil
	}
	// What is appended now must be there afterwards, behind what was there.
	s := newSession(w, fs, seed, v)
	s.Open()
	topic := "after"
	if !s.HasTopic(topic) {
		s.CreateTopic(topic, log.TopicOptions{})
	}
	s.Commit(log.Synced, Put{Topic: topic, Bytes: 100})
	s.Close()
	if err := s.violated(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if l, err = log.Open(dir, o); err != nil {
		return fmt.Errorf("open after append: %w", err)
	}
	_, err = verify(w, l, s.View(), deep)
	if err = errors.Join(err, l.Close(), leaks(fs)); err != nil {
		return fmt.Errorf("after append: %w", err)
	}
	return survived(first, tree(fs, dir))
}

// verify compares the content of an open log with v, and returns how many attempts are there.
func verify(w *Workload, l *log.Log, v View, deep bool) (int, error) {
	if w.Check != nil {
		if err := w.Check(l, v.notes); err != nil {
			return 0, err
		}
	}
	if v.opaque {
		return 0, dense(l)
	}
	end := l.Position()
	n := v.at(end)
	if n < 0 {
		return 0, fmt.Errorf("ends at position %d, which is within a commit", end)
	}
	if n < v.written {
		return n, fmt.Errorf("ends at position %d: %s was acknowledged and is gone (%d of %d there)", end, v.attempts[n], n, v.written)
	}
	c := v.fold(n)
	if err := c.sameTopics(l); err != nil {
		return n, err
	}
	if err := c.sameLog(l); err != nil {
		return n, err
	}
	return n, c.samePartitions(l, deep)
}

// dense checks what can be checked without knowing what is there.
func dense(l *log.Log) error {
	next := map[string]int64{}
	for r, err := range l.Read(log.Oldest, log.ReadOptions{System: true}) {
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		key := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
		if r.Offset != next[key] {
			return fmt.Errorf("read: %s has offset %d behind %d", key, r.Offset, next[key]-1)
		}
		next[key]++
	}
	return nil
}

func (c *content) sameTopics(l *log.Log) error {
	have := map[string]int{}
	for _, t := range l.Topics() {
		have[t.Name] = t.Partitions
	}
	for name, t := range c.topics {
		if name == topicsTopic {
			continue
		}
		if have[name] != len(t.parts) {
			return fmt.Errorf("topic %s has %d partitions, not %d", name, have[name], len(t.parts))
		}
		delete(have, name)
	}
	if len(have) > 0 {
		return fmt.Errorf("topics %v should not be there", slices.Collect(maps.Keys(have)))
	}
	return nil
}

// sameLog reads the whole log by scan.
func (c *content) sameLog(l *log.Log) error {
	i := 0
	skip := func() {
		for i < len(c.records) && c.records[i].topic.deleted {
			i++
		}
	}
	for r, err := range l.Read(log.Oldest, log.ReadOptions{System: true}) {
		if err != nil {
			return fmt.Errorf("read at position %d: %w", i, err)
		}
		skip()
		if what := c.differs(uint64(i), &r); what != "" {
			return fmt.Errorf("read at position %d: %s", i, what)
		}
		i++
	}
	if skip(); i != len(c.records) {
		return fmt.Errorf("read ended at position %d of %d", i, len(c.records))
	}
	return nil
}

// samePartitions reads each partition by way of the indexes.
func (c *content) samePartitions(l *log.Log, deep bool) error {
	for name, t := range c.topics {
		topic, err := l.Topic(name)
		if err != nil {
			return err
		}
		for i, positions := range t.parts {
			p := topic.Partition(int32(i))
			if p.Next() != int64(len(positions)) {
				return fmt.Errorf("%s/%d: next offset is %d, not %d", name, i, p.Next(), len(positions))
			}
			k := 0
			for r, err := range p.Read(log.Oldest) {
				if err != nil {
					return fmt.Errorf("%s/%d offset %d: %w", name, i, k, err)
				}
				if k >= len(positions) {
					return fmt.Errorf("%s/%d: a record behind the end", name, i)
				}
				if what := c.differs(uint64(positions[k]), &r); what != "" {
					return fmt.Errorf("%s/%d offset %d: %s", name, i, k, what)
				}
				k++
			}
			if k != len(positions) {
				return fmt.Errorf("%s/%d: read ended at offset %d of %d", name, i, k, len(positions))
			}
			step := 1
			if !deep {
				step = max(1, len(positions)/2)
			}
			for k := 0; k < len(positions); k += step {
				r, err := p.Get(int64(k))
				if err != nil {
					return fmt.Errorf("%s/%d: get %d: %w", name, i, k, err)
				}
				if what := c.differs(uint64(positions[k]), &r); what != "" {
					return fmt.Errorf("%s/%d: get %d: %s", name, i, k, what)
				}
			}
		}
	}
	if !deep {
		return nil
	}
	for at := 0; at < len(c.records); at += max(1, len(c.records)/7) {
		want := at
		for want < len(c.records) && c.records[want].topic.deleted {
			want++
		}
		for r, err := range l.Read(log.AtPosition(uint64(at)), log.ReadOptions{System: true}) {
			if err != nil {
				return fmt.Errorf("read from position %d: %w", at, err)
			}
			if what := c.differs(uint64(want), &r); what != "" {
				return fmt.Errorf("read from position %d: %s", at, what)
			}
			break
		}
	}
	return nil
}

// leaks returns what is open after everything was closed.
func leaks(fs vfs.FS) error {
	c, ok := fs.(*crashfs.FS)
	if !ok {
		return nil
	}
	if open := c.OpenHandles(); len(open) > 0 {
		return fmt.Errorf("%d handles are open after Close, among them %s %s by\n%s", len(open), open[0].Kind, open[0].Path, open[0].Stack)
	}
	return nil
}

// tree returns the bytes of all files below root, without those of the state.
func tree(fs vfs.FS, root string) map[string][]byte {
	files := wholeTree(fs, root)
	maps.DeleteFunc(files, func(name string, _ []byte) bool { return derived(name) })
	return files
}

// wholeTree returns the bytes of all files below root.
func wholeTree(fs vfs.FS, root string) map[string][]byte {
	files := map[string][]byte{}
	if c, ok := fs.(*crashfs.FS); ok {
		for _, f := range c.Files() {
			files[f], _ = c.ReadFile(f)
		}
		return files
	}
	names, err := fs.List(root)
	if err != nil {
		return files
	}
	for _, name := range names {
		p := fs.PathJoin(root, name)
		info, err := fs.Stat(p)
		if err != nil {
			continue
		}
		if info.IsDir() {
			maps.Copy(files, wholeTree(fs, p))
			continue
		}
		f, err := fs.Open(p)
		if err != nil {
			continue
		}
		b := make([]byte, info.Size())
		_, _ = f.ReadAt(b, 0)
		_ = f.Close()
		files[p] = b
	}
	return files
}

// survived checks that no file has vanished and that no byte of a segment was destroyed: only zeros
// may have been written over.
func survived(before, after map[string][]byte) error {
	for name, old := range before {
		if strings.HasSuffix(name, ".new") {
			continue
		}
		now, ok := after[name]
		if !ok {
			return fmt.Errorf("%s has vanished", name)
		}
		if path.Ext(name) != ".seg" {
			continue
		}
		for i, b := range old {
			if b != 0 && (i >= len(now) || now[i] != b) {
				return fmt.Errorf("%s: byte %d was destroyed", name, i)
			}
		}
	}
	return nil
}

func changed(a, b map[string][]byte) string {
	var names []string
	for name := range a {
		if other, ok := b[name]; !ok || !bytes.Equal(a[name], other) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
