package index

import (
	"sort"
	"sync/atomic"
)

const (
	firstChunkEntries = 2   // most partitions of a wide log get few batches a segment
	maxChunkEntries   = 128 // 2.5 KiB; bounds what the last chunk of a busy partition wastes
)

// packed is an Entry relative to the first one of its chunk: 20 bytes instead of 32.
type packed struct {
	offset, byte, max uint32
	count, bytes      int32
}

// chunk is a piece of a run with room for a fixed number of entries. The first entry defines
// what the others are relative to; one whose distance does not fit 32 bits begins a new chunk.
//
// All fields but n are immutable once the chunk is published, and so are entries[:n]. A chunk is
// published with one entry in it, and gets no more once there is a chunk behind it.
type chunk struct {
	offset, byte, max int64
	sum               int64  // bytes of the run before this chunk
	index             uint32 // entries of the run before this chunk
	n                 atomic.Uint32
	entries           []packed
}

func (c *chunk) entry(i int) Entry {
	p := &c.entries[i]
	return Entry{
		Offset:       c.offset + int64(p.offset),
		Byte:         c.byte + int64(p.byte),
		MaxTimestamp: c.max + int64(p.max),
		Count:        p.count,
		Bytes:        p.bytes,
	}
}

// start makes e the first entry of c. c is not published yet.
func (c *chunk) start(e Entry, sum int64, index uint32, entries []packed) {
	c.offset, c.byte, c.max = e.Offset, e.Byte, e.MaxTimestamp
	c.sum, c.index, c.entries = sum, index, entries
	entries[0] = packed{count: e.Count, bytes: e.Bytes}
	c.n.Store(1)
}

// run is the entries of one partition. There is one writer and any number of readers.
type run struct {
	partition uint32 // immutable

	// first is the first chunk, held in place because most runs have no other. rest is the
	// published list of the others. A published list is never modified; the next one may share
	// its array and add behind its end.
	first chunk
	rest  atomic.Pointer[[]*chunk]

	// The writer's own; no reader looks at them.
	tail *chunk
	end  int64 // first offset behind the last entry
	byte int64 // byte position of the last entry
	max  int64 // running maximum
	sum  int64 // bytes of all entries
}

// add publishes e, which continues the run and whose MaxTimestamp is the running maximum.
func (r *run) add(e Entry) {
	c := r.tail
	n := c.n.Load()
	do, db, dt := uint64(e.Offset-c.offset), uint64(e.Byte-c.byte), uint64(e.MaxTimestamp-c.max)
	if int(n) < len(c.entries) && (do|db|dt)>>32 == 0 {
		c.entries[n] = packed{uint32(do), uint32(db), uint32(dt), e.Count, e.Bytes}
		c.n.Store(n + 1) // publishes the entry written above
	} else {
		r.grow(e, int(n))
	}
	r.end, r.byte, r.max = e.End(), e.Byte, e.MaxTimestamp
	r.sum += int64(e.Bytes)
}

// grow publishes e in a new chunk behind a tail of n entries, twice as large as that tail.
func (r *run) grow(e Entry, n int) {
	c := &chunk{}
	c.start(e, r.sum, r.tail.index+uint32(n), make([]packed, min(max(2*n, 2*firstChunkEntries), maxChunkEntries)))
	var rest []*chunk
	if p := r.rest.Load(); p != nil {
		rest = *p
	}
	rest = append(rest, c)
	r.rest.Store(&rest)
	r.tail = c
}

// view is a run as of one moment. Its last chunk may still get entries, the others do not: a
// reader that loads n of a chunk after it took the view sees a prefix of the run.
type view struct {
	first *chunk
	rest  []*chunk
}

func (r *run) view() view {
	v := view{first: &r.first}
	if p := r.rest.Load(); p != nil {
		v.rest = *p
	}
	return v
}

func (v view) len() int { return 1 + len(v.rest) }

func (v view) chunk(i int) *chunk {
	if i == 0 {
		return v.first
	}
	return v.rest[i-1]
}

// seek returns the chunk, and the place in it, of the first entry that reaches g. Where there is
// none the place is the number of entries seen in the last chunk.
func (v view) seek(g goal) (chunk, place int) {
	// Of the chunks behind the first, those whose first entry reaches g come last. The one
	// before them has the answer, unless all of its entries fall short.
	chunk = sort.Search(len(v.rest), func(i int) bool { return g.reachedBy(v.rest[i].entry(0)) })
	c := v.chunk(chunk)
	n := int(c.n.Load())
	place = sort.Search(n, func(i int) bool { return g.reachedBy(c.entry(i)) })
	if place == n && chunk < len(v.rest) {
		return chunk + 1, 0
	}
	return chunk, place
}

func (v view) find(g goal) (Entry, bool) {
	k, i := v.seek(g)
	c := v.chunk(k)
	// An entry added since seek would be an answer too, but it may fall short of g.
	if i >= int(c.n.Load()) {
		return Entry{}, false
	}
	if e := c.entry(i); g.reachedBy(e) {
		return e, true
	}
	return Entry{}, false
}

func (v view) last() Entry {
	c := v.chunk(v.len() - 1)
	return c.entry(int(c.n.Load()) - 1)
}

func (v view) size() (entries int, bytes int64) {
	c := v.chunk(v.len() - 1)
	n := int(c.n.Load())
	bytes = c.sum
	for i := range n {
		bytes += int64(c.entries[i].bytes)
	}
	return int(c.index) + n, bytes
}
