package harness

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// Verdicts counts what became of damaged directories.
type Verdicts struct {
	Opens     int
	Identical int // everything was read, as it was
	Refused   int // an error that names the file, at opening
	Told      int // an error that names the file, at reading, and all else was read
	// Window is how often the end of the last segment was gone and taken for an earlier end: it was cut
	// short and the index that was kept of it damaged as well, or it was deleted
	// behind a segment that ends in a torn tail, and so has no sealing mark that tells of a successor.
	Window     int
	Violations int
}

func (v *Verdicts) add(o Verdicts) {
	v.Opens += o.Opens
	v.Identical += o.Identical
	v.Refused += o.Refused
	v.Told += o.Told
	v.Window += o.Window
	v.Violations += o.Violations
}

// String is what the harness logs at its end.
func (v Verdicts) String() string {
	return fmt.Sprintf("opens=%d identical=%d refused=%d told=%d window=%d violations=%d", v.Opens, v.Identical, v.Refused, v.Told, v.Window, v.Violations)
}

// Closed is a directory in which a log was closed, with several segments and indexes, and its older
// versions.
type Closed struct {
	Files map[string][]byte
	older []map[string][]byte
	w     Workload
	view  View
	last  string // path of the last segment
	snap  *crashfs.Snapshot
}

// MakeClosed makes a directory of about 170 KiB. Its segments are short because power was cut, but for the last, of
// whose index so much is kept that an opening does not read all of it.
func MakeClosed(t testing.TB, seed uint64) *Closed {
	t.Helper()
	c := &Closed{w: Workload{Name: "closed", Options: log.Options{SegmentBytes: 256 << 10, SyncInterval: -1}}}
	fs := crashfs.New(crashfs.Options{})
	s := newSession(&c.w, fs, seed, View{})
	s.Open()
	s.CreateTopic("a", log.TopicOptions{Partitions: 2})
	s.CreateTopic("b", log.TopicOptions{})
	for range 4 {
		for i := range 8 {
			s.Commit(log.Durability(i%2), Put{Topic: "a", Partition: int32(i % 2), Bytes: 150 * i}, Put{Topic: "b", Bytes: 800})
		}
		s.Sync()
		s.Commit(log.Written, Put{Topic: "b", Bytes: 100})
		s.Commit(log.Written, Put{Topic: "b", Bytes: 100})
		c.older = append(c.older, tree(s.fs, dir))
		n := len(s.crash.Snapshot().Unsynced())
		s.Crash(crashfs.Cut{Policy: crashfs.Torn, Ops: n, Bytes: 100})
		s.Reopen() // which waits for the index of the segment that was sealed
	}
	s.Commit(log.Synced, Put{Topic: "a", Bytes: 100}, Put{Topic: "b", Bytes: 100})
	s.CreateTopic("c", log.TopicOptions{})
	s.Commit(log.Written, Put{Topic: "b", Bytes: large})
	s.Commit(log.Synced, Put{Topic: "a", Bytes: 100}, Put{Topic: "c", Bytes: 100})
	s.Close()
	c.older = append(c.older, tree(s.fs, dir))
	s.Reopen()
	s.Commit(log.Synced, Put{Topic: "a", Partition: 1, Bytes: 5000}, Put{Topic: "c", Bytes: 100})
	s.Close()
	if err := s.violated(); err != nil {
		t.Fatalf("closed seed=%d: %v", seed, err)
	}
	c.Files, c.view = tree(s.fs, dir), s.View()
	delete(c.Files, lockFile) // it is empty, and taking the lock makes it so
	s.crash.SyncAll()
	c.snap = s.crash.Snapshot()
	for f := range c.Files {
		if path.Ext(f) == ".seg" && f > c.last {
			c.last = f
		}
	}
	return c
}

// large is the size of the one large record, more than the index of the active segment has for one entry by position.
const large = 80 << 10

// Bytes returns the size of all files.
func (c *Closed) Bytes() int {
	n := 0
	for _, b := range c.Files {
		n += len(b)
	}
	return n
}

const lockFile = "/" + dir + "/LOCK"

// mutation is one damage.
type mutation struct {
	what string
	// files are the base names that an error may name.
	files []string
	// change is given a copy of the files, whose bytes it must not change in place.
	change func(files map[string][]byte)
	window bool // may be taken for an earlier end
	// deep asks for the comparison of all files before and after.
	deep bool
}

func (c *Closed) names() []string {
	var names []string
	for f := range c.Files {
		names = append(names, f)
	}
	slices.Sort(names)
	return names
}

// flips yields every byte of every file, flipped; of a record that is large, one in 64.
func (c *Closed) flips() []mutation {
	var ms []mutation
	for _, f := range c.names() {
		for i := range c.Files[f] {
			if c.inLarge(f, i) && i%64 != 0 {
				continue
			}
			ms = append(ms, mutation{
				what: fmt.Sprintf("%s: byte %d flipped", f, i), files: []string{path.Base(f)}, deep: i%16 == 0,
				change: func(files map[string][]byte) {
					b := bytes.Clone(files[f])
					b[i] ^= 1 << (i % 8)
					files[f] = b
				},
			})
		}
	}
	return ms
}

// inLarge reports whether byte i of file f lies in the large record.
func (c *Closed) inLarge(f string, i int) bool { return f == c.last && 4<<10 < i && i < large }

// cuts yields every file at every length, a multiple of step; within the large record, of 64.
func (c *Closed) cuts(step int) []mutation {
	var ms []mutation
	for _, f := range c.names() {
		for n := 0; n < len(c.Files[f]); n += step {
			if c.inLarge(f, n) && n%64 != 0 {
				continue
			}
			ms = append(ms, mutation{
				what: fmt.Sprintf("%s: cut to %d bytes", f, n), files: []string{path.Base(f)},
				change: func(files map[string][]byte) { files[f] = files[f][:n] },
			})
		}
	}
	return ms
}

// sectors yields every sector zeroed, and pairs swapped.
func (c *Closed) sectors(rng *rand.Rand) []mutation {
	const sector = 512
	var ms []mutation
	for _, f := range c.names() {
		size := len(c.Files[f])
		for at := 0; at < size; at += sector {
			ms = append(ms, mutation{
				what: fmt.Sprintf("%s: sector at %d zeroed", f, at), files: []string{path.Base(f)},
				change: func(files map[string][]byte) {
					b := bytes.Clone(files[f])
					clear(b[at:min(at+sector, size)])
					files[f] = b
				},
			})
			if other := rng.IntN(size/sector+1) * sector; other+sector <= size && at+sector <= size && other != at {
				ms = append(ms, mutation{
					what: fmt.Sprintf("%s: sectors at %d and %d swapped", f, at, other), files: []string{path.Base(f)},
					change: func(files map[string][]byte) {
						b := bytes.Clone(files[f])
						copy(b[at:at+sector], files[f][other:other+sector])
						copy(b[other:other+sector], files[f][at:at+sector])
						files[f] = b
					},
				})
			}
		}
		if f == c.last {
			for at := 0; at < size; at += 64 {
				ms = append(ms, mutation{
					what: fmt.Sprintf("%s: zeroed from %d", f, at), files: []string{path.Base(f)},
					change: func(files map[string][]byte) {
						b := bytes.Clone(files[f])
						clear(b[at:])
						files[f] = b
					},
				})
			}
		}
	}
	return ms
}

// wholes yields files deleted, emptied, duplicated, swapped and put back in older versions.
func (c *Closed) wholes() []mutation {
	var ms []mutation
	names := c.names()
	for k, f := range names {
		near := c.near(f) // a neighbour is the witness of one that is missing
		add := func(what string, window bool, files []string, change func(map[string][]byte)) {
			ms = append(ms, mutation{what: f + ": " + what, files: files, change: change, window: window, deep: true})
		}
		last := f == c.last
		add("deleted", last, near, func(files map[string][]byte) { delete(files, f) })
		add("emptied", false, near, func(files map[string][]byte) { files[f] = nil })
		add("duplicated", false, near, func(files map[string][]byte) { files[f+".bak"] = files[f] })
		for _, old := range c.older {
			b, ok := old[f]
			if !ok || bytes.Equal(b, c.Files[f]) {
				continue
			}
			add("an older version", false, near, func(files map[string][]byte) { files[f] = b })
		}
		for _, g := range names[k+1:] {
			both := append([]string{path.Base(g)}, near...)
			add("swapped with "+g, false, both, func(files map[string][]byte) { files[f], files[g] = files[g], files[f] })
		}
	}
	return ms
}

// pairs yields damage of an index together with damage of its segment: making the index again then meets
// the other.
func (c *Closed) pairs() []mutation {
	var ms []mutation
	for _, f := range c.names() {
		seg := strings.TrimSuffix(f, ".idx") + ".seg"
		if path.Ext(f) != ".idx" || c.Files[seg] == nil {
			continue
		}
		for at := 0; at < len(c.Files[f]); at += 61 {
			for part := 1; part < 4; part++ {
				n := len(c.Files[seg]) * part / 4
				ms = append(ms, mutation{
					what: fmt.Sprintf("%s: byte %d flipped, and %s at %d", f, at, seg, n), files: append(c.near(seg), path.Base(f)),
					window: seg == c.last && part == 2, // the index would tell
					change: func(files map[string][]byte) {
						edit(f, at, func(b []byte) { b[0] ^= 0x40 })(files)
						if part == 2 {
							files[seg] = files[seg][:n]
						} else {
							edit(seg, n, func(b []byte) { b[0] ^= 0x40 })(files)
						}
					},
				})
			}
		}
	}
	return ms
}

// Damage damages a closed directory in every small way, and in many large ones, and opens and reads it
// each time. What comes of it must be identical data, or an error that names the file: never wrong data,
// a panic or a lost file. step is the distance between lengths that files are cut to.
func Damage(t testing.TB, step int, o Options) Verdicts {
	t.Helper()
	o = o.withDefaults()
	c := MakeClosed(t, o.Seed)
	rng := rand.New(rand.NewPCG(o.Seed, 5))
	ms := slices.Concat(c.flips(), c.cuts(step), c.sectors(rng), c.wholes(), c.pairs())
	var mu sync.Mutex
	var all Verdicts
	s := inParallel(t, len(ms), func(k int) (int, error) {
		v, err := c.try(&ms[k])
		mu.Lock()
		all.add(v)
		mu.Unlock()
		if err != nil {
			return 0, fmt.Errorf("T6: %s: %w\n%s", ms[k].what, err, replay(t, o.Seed))
		}
		return 0, nil
	})
	all.Violations = s.Violations
	return all
}

// try opens and reads a damaged copy.
func (c *Closed) try(m *mutation) (v Verdicts, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	v.Opens = 1
	files := map[string][]byte{}
	for f, b := range c.Files {
		files[f] = b
	}
	m.change(files)
	fs := c.snap.Clone()
	for f, was := range c.Files {
		if b, ok := files[f]; !ok {
			fs.DeleteFile(f)
		} else if len(b) != len(was) || len(b) > 0 && &b[0] != &was[0] {
			fs.WriteFile(f, b)
		}
	}
	for f, b := range files {
		if _, ok := c.Files[f]; !ok {
			fs.WriteFile(f, b)
		}
	}
	l, err := log.Open(dir, c.w.options(fs, newClock(), &bytesOf{rand.NewPCG(9, 9)}))
	if err != nil {
		v.Refused++
		if m.deep {
			now := tree(fs, dir)
			delete(now, lockFile)
			if changed(files, now) != "" {
				return v, fmt.Errorf("refused with %w, but changed %s", err, changed(files, now))
			}
		}
		return v, errors.Join(m.names(err), leaks(fs))
	}
	told, seen, err := c.read(l, m)
	err = errors.Join(err, l.Close(), leaks(fs))
	if err == nil && m.deep {
		err = survived(files, tree(fs, dir))
	}
	switch {
	case err != nil:
	case seen < len(c.view.fold(len(c.view.attempts)).records) && !told:
		v.Window++
		if !m.window {
			err = fmt.Errorf("records from position %d on are missing, and nothing was said", seen)
		}
	case told:
		v.Told++
	default:
		v.Identical++
	}
	return v, err
}

// names checks that an error is one of damage, and names a file that was damaged.
func (m *mutation) names(err error) error {
	var c *log.CorruptError
	var f *log.FormatError
	file := ""
	switch {
	case errors.As(err, &c):
		file = c.File
	case errors.As(err, &f):
		file = f.File
	default:
		return fmt.Errorf("an error without a type: %w", err)
	}
	if !slices.Contains(m.files, file) {
		return fmt.Errorf("an error that blames %s: %w", file, err)
	}
	return nil
}

// read reads the log in every way. told says that damage was reported; seen is how many records there
// were up to the end.
func (c *Closed) read(l *log.Log, m *mutation) (told bool, seen int, err error) {
	want := c.view.fold(len(c.view.attempts))
	end := l.Position()
	if end > uint64(len(want.records)) {
		return false, 0, fmt.Errorf("ends at position %d of %d", end, len(want.records))
	}
	next := uint64(0)
	for r, err := range l.Read(log.Oldest, log.ReadOptions{System: true}) {
		if err != nil {
			told = true
			if errors.Is(err, log.ErrLost) {
				continue
			}
			if err := m.names(err); err != nil {
				return told, 0, fmt.Errorf("read: %w", err)
			}
			continue
		}
		if what := want.differs(r.Position, &r); what != "" {
			return told, 0, fmt.Errorf("read at position %d: %s", r.Position, what)
		}
		if r.Position < next || r.Position > next && !told {
			return told, 0, fmt.Errorf("read: position %d behind %d, and nothing was said", r.Position, next)
		}
		next = r.Position + 1
	}
	if next < end && !told {
		return told, 0, fmt.Errorf("read: ended at position %d of %d, and nothing was said", next, end)
	}
	for _, info := range l.Topics() {
		t, err := l.Topic(info.Name)
		if err != nil {
			return told, 0, err
		}
		for i := range info.Partitions {
			toldHere, err := c.readPartition(t.Partition(int32(i)), want, m)
			if err != nil {
				return told, 0, fmt.Errorf("%s/%d: %w", info.Name, i, err)
			}
			if toldHere && !told {
				return told, 0, fmt.Errorf("%s/%d: damage was told that reading the whole log did not meet", info.Name, i)
			}
		}
	}
	return told, int(end), nil
}

func (c *Closed) readPartition(p *log.Partition, want *content, m *mutation) (told bool, err error) {
	next := int64(0)
	for r, err := range p.Read(log.Oldest) {
		if err != nil {
			told = true
			if !errors.Is(err, log.ErrLost) {
				if err := m.names(err); err != nil {
					return told, err
				}
			}
			continue
		}
		if what := want.differs(r.Position, &r); what != "" {
			return told, fmt.Errorf("at position %d: %s", r.Position, what)
		}
		if r.Offset < next || r.Offset > next && !told {
			return told, fmt.Errorf("offset %d behind %d, and nothing was said", r.Offset, next)
		}
		next = r.Offset + 1
	}
	if next < p.Next() && !told {
		return told, fmt.Errorf("ended at offset %d of %d, and nothing was said", next, p.Next())
	}
	return told, nil
}
