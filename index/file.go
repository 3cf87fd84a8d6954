package index

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// File is the index of a sealed segment, or of one as far as it went when its log was closed, read from disk block by block as
// it is asked. Of what it read it
// keeps inner nodes, as long as all files together have few of them, and leaves that lookups met last. Its
// methods may be called concurrently, Close too.
type File struct {
	name string // base name, for errors; immutable
	head *head  // immutable
	salt uint64 // immutable
	// inner are the inner nodes that were read and kept, by number. A kept one never changes.
	inner []atomic.Pointer[block]
	kept  atomic.Int64 // how many
	// leafID and the number of a leaf are its id in leaves.
	leafID atomic.Uint64

	// mu keeps the file open while a block is read. It guards closed.
	mu     sync.RWMutex
	closed bool
	file   vfs.File // immutable
}

// Open opens the index at path, which must be that of the segment want. It reads one block.
//
// The error is a *MismatchError when the index is of another segment or another end of it, a
// *CorruptError when its head does not check or its length is not what the head says, and a
// *FormatError when its version is unknown: after each of these, and when there is no file, the
// caller rebuilds the index. Any other error is one of the file system and says nothing about
// the index.
func Open(fs vfs.FS, path string, want SegmentID) (*File, error) {
	f, err := open(fs, path)
	if err != nil {
		return nil, err
	}
	if err := f.head.mismatch(f.name, want); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Inspect opens the index at path whatever segment it is of, as a tool does that shows it.
// Errors are those of Open, but for a *MismatchError.
func Inspect(fs vfs.FS, path string) (*File, error) { return open(fs, path) }

func open(fs vfs.FS, path string) (_ *File, err error) {
	name := fs.PathBase(path)
	file, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("index: open %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("index: open %s: %w", name, err)
	}
	if info.Size() < blockBytes {
		return nil, &CorruptError{File: name, Byte: info.Size(), Check: "length", Want: blockBytes, Got: uint64(info.Size())}
	}
	b := borrowBlock()
	defer returnBlock(b)
	f := &File{name: name, file: file}
	if err := f.readAt(b, 0); err != nil {
		return nil, err
	}
	if f.head, err = decodeHead(name, b); err != nil {
		return nil, err
	}
	if want := f.head.fileBytes(); info.Size() != want {
		return nil, &CorruptError{File: name, Byte: min(info.Size(), want), Check: "length", Want: uint64(want), Got: uint64(info.Size())}
	}
	f.salt = b.check()
	f.inner = make([]atomic.Pointer[block], min(f.head.nodes-f.head.leaves, keptPerFile))
	f.numberLeaves()
	return f, nil
}

// Close closes the file after lookups that run have read their block; later ones, and cursors
// over it, return ErrClosed. It may be called twice.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	f.numberLeaves()
	keptBlocks.Add(-f.kept.Load())
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("index: close %s: %w", f.name, err)
	}
	return nil
}

// Segment returns of which segment the index says to be.
func (f *File) Segment() SegmentID { return f.head.segment }

// Len implements [Reader].
func (f *File) Len() int { return int(f.head.entries) }

// Size is the length of the file in bytes.
func (f *File) Size() int64 { return f.head.fileBytes() }

var blocks = sync.Pool{New: func() any { return new(block) }}

func borrowBlock() *block  { return blocks.Get().(*block) }
func returnBlock(b *block) { blocks.Put(b) }

// readAt reads a block without judging it.
func (f *File) readAt(b *block, number uint32) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return ErrClosed
	}
	at := int64(number) * blockBytes
	n, err := f.file.ReadAt(b[:], at)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		// The file was long enough when it was opened.
		return &CorruptError{File: f.name, Byte: at + int64(n), Check: "length", Want: blockBytes, Got: uint64(n)}
	}
	return fmt.Errorf("index: read %s at byte %d: %w", f.name, at, err)
}

// read reads a block and checks that it is the one of that number and level and that its rows
// lie in it.
func (f *File) read(b *block, number uint32, level uint8) error {
	if err := f.readAt(b, number); err != nil {
		return err
	}
	if want := b.sum() ^ f.salt; b.check() != want {
		return f.corrupt(number, 0, "checksum", want, b.check())
	}
	if b.number() != number {
		return f.corrupt(number, 4, "block", uint64(number), uint64(b.number()))
	}
	if b.level() != level {
		return f.corrupt(number, 0, "block", uint64(level), uint64(b.level()))
	}
	most := childrenPerNode
	switch level {
	case 0:
		most = roomBytes / groupBytes
	case levelTopics:
		most = topicsPerBlock
	}
	if n := b.rows(); n < 1 || n > most {
		return f.corrupt(number, 2, "rows", uint64(most), uint64(n))
	}
	f.keep(b, number, level)
	return nil
}

// A lookup reads an inner node a level, and a few nodes stand above hundreds of leaves: kept, they save
// most of what a lookup reads.
const (
	keptPerFile = 64
	keptAtAll   = 4096 // 16 MiB in the whole process
)

// keptBlocks is how many inner nodes are kept by all files.
var keptBlocks atomic.Int64

// slot returns where the inner node of that number is kept, nil when it is not to be.
func (f *File) slot(number uint32, level uint8) *atomic.Pointer[block] {
	first := f.head.leaves + 1
	if level == 0 || level == levelTopics || number < first || number-first >= uint32(len(f.inner)) {
		return nil
	}
	return &f.inner[number-first]
}

// recall returns a kept node, which must not be changed, or nil.
func (f *File) recall(number uint32, level uint8) *block {
	slot := f.slot(number, level)
	if slot == nil {
		return nil
	}
	if k := slot.Load(); k != nil && k.level() == level {
		return k
	}
	return nil
}

// forget drops the nodes that are kept.
func (f *File) forget() {
	f.numberLeaves()
	f.mu.RLock() // so that Close does not count them too
	defer f.mu.RUnlock()
	for i := range f.inner {
		if f.inner[i].Swap(nil) != nil && !f.closed {
			f.kept.Add(-1)
			keptBlocks.Add(-1)
		}
	}
}

// keep keeps a node that was checked.
func (f *File) keep(b *block, number uint32, level uint8) {
	slot := f.slot(number, level)
	if slot == nil || slot.Load() != nil || keptBlocks.Load() >= keptAtAll {
		return
	}
	f.mu.RLock() // so that Close counts it
	defer f.mu.RUnlock()
	k := *b
	if !f.closed && slot.CompareAndSwap(nil, &k) {
		f.kept.Add(1)
		keptBlocks.Add(1)
	}
}

// corrupt makes an error of what was found at a byte of a block.
func (f *File) corrupt(number uint32, at int, check string, want, got uint64) error {
	return &CorruptError{File: f.name, Byte: int64(number)*blockBytes + int64(at), Check: check, Want: want, Got: got}
}

// Find implements [Reader]. It reads one block a level, and rarely one more.
func (f *File) Find(partition uint32, offset int64) (Entry, bool, error) {
	return f.find(partition, goal{value: offset})
}

// FindTime implements [Reader]. It reads one block a level, and rarely one more.
func (f *File) FindTime(partition uint32, ms int64) (Entry, bool, error) {
	return f.find(partition, goal{byTime: true, value: ms})
}

func (f *File) find(partition uint32, g goal) (Entry, bool, error) {
	b := borrowBlock()
	defer returnBlock(b)
	w := walk{file: f, block: b, own: b}
	if err := w.seek(before{partition, g}); err != nil {
		return Entry{}, false, err
	}
	for {
		p, e, ok, err := w.next(partition)
		if err != nil || !ok || p > partition {
			return Entry{}, false, err
		}
		if p == partition && g.reachedBy(e) {
			return e, true, nil
		}
		if !g.byTime && p == partition {
			w.passBelow(g.value)
		}
	}
}

// Scan implements [Reader].
func (f *File) Scan(partition uint32, from int64) Cursor {
	return &fileCursor{walk: walk{file: f, block: new(block)}, partition: partition, goal: goal{value: from}}
}

// fileCursor is a walk that stays in one partition.
type fileCursor struct {
	walk      walk
	partition uint32
	goal      goal
	sought    bool
	done      bool
	err       error
}

// Next implements [Cursor].
func (c *fileCursor) Next() (Entry, bool, error) {
	if !c.sought {
		c.sought = true
		c.err = c.walk.seek(before{c.partition, c.goal})
	}
	for c.err == nil && !c.done {
		p, e, ok, err := c.walk.next(c.partition)
		c.err, c.done = err, !ok || p > c.partition
		if err == nil && !c.done && p == c.partition && c.goal.reachedBy(e) {
			return e, true, nil
		}
	}
	return Entry{}, false, c.err
}

// Last implements [Reader].
func (f *File) Last(partition uint32) (Entry, bool, error) {
	e, _, ok, err := f.last(partition)
	return e, ok, err
}

// BytesOf implements [Reader].
func (f *File) BytesOf(partition uint32) (int64, error) {
	_, sum, _, err := f.last(partition)
	return sum, err
}

// last returns the last entry of a partition and the bytes of its run up to its end.
func (f *File) last(partition uint32) (last Entry, sum int64, found bool, err error) {
	b := borrowBlock()
	defer returnBlock(b)
	w := walk{file: f, block: b}
	if err := w.seek(before{partition, goal{value: math.MaxInt64}}); err != nil {
		return Entry{}, 0, false, err
	}
	for {
		p, e, ok, err := w.next(partition)
		if err != nil {
			return Entry{}, 0, false, err
		}
		if !ok || p > partition {
			return last, sum, found, nil
		}
		if p == partition {
			last, sum, found = e, w.sum, true
		}
	}
}

// Partitions implements [Reader]. It passes over the inside of long runs.
func (f *File) Partitions() ([]uint32, error) {
	b := borrowBlock()
	defer returnBlock(b)
	w := walk{file: f, block: b}
	var partitions []uint32
	for leaf := uint32(1); leaf <= f.head.leaves; {
		if err := w.enter(leaf); err != nil {
			return nil, err
		}
		for i := range b.rows() {
			if p := b.group(i).partition; len(partitions) == 0 || p > partitions[len(partitions)-1] {
				partitions = append(partitions, p)
			}
		}
		last := partitions[len(partitions)-1]
		if last == math.MaxUint32 {
			break
		}
		// The leaf before the first one that begins with a later partition.
		if err := w.seek(before{last + 1, goal{value: 0}}); err != nil {
			return nil, err
		}
		leaf = max(leaf+1, w.leaf)
	}
	return partitions, nil
}

// Entries implements [Reader].
func (f *File) Entries(visit func(partition uint32, e Entry) bool) error {
	w := walk{file: f, block: new(block)}
	if f.head.leaves == 0 {
		return nil
	}
	if err := w.enter(1); err != nil {
		return err
	}
	for {
		p, e, ok, err := w.next(0)
		if err != nil || !ok || !visit(p, e) {
			return err
		}
	}
}

// TopicBytes returns the bytes of each topic, sorted by id. The caller owns the slice.
func (f *File) TopicBytes() ([]TopicBytes, error) {
	b := borrowBlock()
	defer returnBlock(b)
	var topics []TopicBytes
	for i := range uint32(f.head.topicBlocks()) {
		number := 1 + f.head.nodes + i
		if err := f.read(b, number, levelTopics); err != nil {
			return nil, err
		}
		for row := range b.rows() {
			t := b.topic(row)
			if n := len(topics); n > 0 && compareTopics(topics[n-1], t) >= 0 {
				return nil, f.corrupt(number, rowsAt+row*topicBytes, "order", 0, 0)
			}
			if t.Bytes < 0 {
				return nil, f.corrupt(number, rowsAt+row*topicBytes+16, "sum", 0, uint64(t.Bytes))
			}
			topics = append(topics, t)
		}
	}
	if len(topics) != int(f.head.topics) {
		return nil, &CorruptError{File: f.name, Byte: 48, Check: "sum", Want: uint64(f.head.topics), Got: uint64(len(topics))}
	}
	return topics, nil
}

// before is a place in the order of keys: the one before which a search begins. Where nothing of
// the partition has a lower key, that is the end of the partition before.
type before struct {
	partition uint32
	goal      goal
}

// covers says whether k lies at or before the place where the search has to begin: the first
// entry that reaches the goal is then k's or a later one.
func (s before) covers(k key) bool {
	switch c := cmp.Compare(k.partition, s.partition); {
	case c != 0:
		return c < 0
	case s.goal.byTime:
		return k.max < s.goal.value
	}
	return k.offset <= s.goal.value
}

// lastCovered is the number of the last of n rows that s covers, 0 when it covers none.
func lastCovered(n int, s before, key func(int) key) int {
	return max(sort.Search(n, func(i int) bool { return !s.covers(key(i)) })-1, 0)
}
