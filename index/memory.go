package index

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// Memory is the index of the active segment. One goroutine at a time may call Add; the other
// methods may be called by any number of goroutines meanwhile. They take no lock, so they never
// hold up the writer, and see every entry whose Add returned before they were called.
//
// An entry takes about 22 bytes in a long run. A partition of two entries takes 180, one of
// twenty takes 1000: chunks double in size, so a short run has as much room again as it uses.
type Memory struct {
	table atomic.Pointer[table]

	// Room for coming runs and their first chunks, so that a new partition rarely allocates.
	// The writer's own.
	runs    []run
	entries []packed
}

// NewMemory returns an empty index.
func NewMemory() *Memory {
	m := &Memory{}
	m.table.Store(newTable(8))
	return m
}

// Add appends a batch to the run of its partition. Offsets must not overlap those added before
// nor lie below them, byte positions must not fall; an entry that breaks this, or has a field out of range,
// is not added, and the error is an *OrderError.
func (m *Memory) Add(partition uint32, e Entry) error {
	r := m.table.Load().get(partition)
	if r == nil {
		return m.addRun(partition, e)
	}
	if !e.valid() || e.Offset < r.end || e.Byte < r.byte {
		return &OrderError{Partition: partition, Entry: e, NextOffset: r.end, LastByte: r.byte}
	}
	e.MaxTimestamp = max(e.MaxTimestamp, r.max)
	r.add(e)
	return nil
}

func (m *Memory) addRun(partition uint32, e Entry) error {
	if !e.valid() {
		return &OrderError{Partition: partition, Entry: e}
	}
	t := m.table.Load()
	if len(m.runs) == 0 {
		// As many again as there are, so a log of one partition pays for one.
		n := min(max(t.used, 1), 64)
		m.runs, m.entries = make([]run, n), make([]packed, n*firstChunkEntries)
	}
	r := &m.runs[0]
	r.partition, r.tail = partition, &r.first
	r.first.start(e, 0, 0, m.entries[:firstChunkEntries:firstChunkEntries])
	r.end, r.byte, r.max, r.sum = e.End(), e.Byte, e.MaxTimestamp, int64(e.Bytes)
	m.runs, m.entries = m.runs[1:], m.entries[firstChunkEntries:]

	if t.full() {
		// Readers go on in the old table; they miss only what comes from here on.
		t = t.grown()
		t.put(r)
		m.table.Store(t)
		return nil
	}
	t.put(r)
	return nil
}

// Find implements [Reader]. The error is always nil.
func (m *Memory) Find(partition uint32, offset int64) (Entry, bool, error) {
	e, ok := m.find(partition, goal{value: offset})
	return e, ok, nil
}

// FindTime implements [Reader]. The error is always nil.
func (m *Memory) FindTime(partition uint32, ms int64) (Entry, bool, error) {
	e, ok := m.find(partition, goal{byTime: true, value: ms})
	return e, ok, nil
}

func (m *Memory) find(partition uint32, g goal) (Entry, bool) {
	r := m.table.Load().get(partition)
	if r == nil {
		return Entry{}, false
	}
	return r.view().find(g)
}

// Last implements [Reader]. The error is always nil.
func (m *Memory) Last(partition uint32) (Entry, bool, error) {
	r := m.table.Load().get(partition)
	if r == nil {
		return Entry{}, false, nil
	}
	return r.view().last(), true, nil
}

// BytesOf implements [Reader]. The error is always nil.
func (m *Memory) BytesOf(partition uint32) (int64, error) {
	r := m.table.Load().get(partition)
	if r == nil {
		return 0, nil
	}
	_, bytes := r.view().size()
	return bytes, nil
}

// Len implements [Reader]. It takes time in proportion to the number of partitions.
func (m *Memory) Len() int {
	n := 0
	t := m.table.Load()
	for i := range t.slots {
		if r := t.slots[i].Load(); r != nil {
			entries, _ := r.view().size()
			n += entries
		}
	}
	return n
}

// Partitions implements [Reader]. The error is always nil.
func (m *Memory) Partitions() ([]uint32, error) {
	runs := m.sortedRuns()
	partitions := make([]uint32, len(runs))
	for i, r := range runs {
		partitions[i] = r.partition
	}
	return partitions, nil
}

// Entries implements [Reader]. The error is always nil.
func (m *Memory) Entries(visit func(partition uint32, e Entry) bool) error {
	for _, r := range m.sortedRuns() {
		v := r.view()
		for k := range v.len() {
			c := v.chunk(k)
			for i := range int(c.n.Load()) {
				if !visit(r.partition, c.entry(i)) {
					return nil
				}
			}
		}
	}
	return nil
}

func (m *Memory) sortedRuns() []*run {
	t := m.table.Load()
	var runs []*run
	for i := range t.slots {
		if r := t.slots[i].Load(); r != nil {
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b *run) int { return cmp.Compare(a.partition, b.partition) })
	return runs
}

// Scan implements [Reader]. The cursor goes on seeing entries that are added later, also when
// the partition had none at the call.
func (m *Memory) Scan(partition uint32, from int64) Cursor {
	return &memoryCursor{memory: m, partition: partition, goal: goal{value: from}}
}

// memoryCursor stands before entry place of a chunk of run.
type memoryCursor struct {
	memory    *Memory
	partition uint32
	goal      goal
	run       *run // nil until the partition has entries
	chunk     int
	place     int
}

// Next implements [Cursor].
func (c *memoryCursor) Next() (Entry, bool, error) {
	if c.run == nil {
		if c.run = c.memory.table.Load().get(c.partition); c.run == nil {
			return Entry{}, false, nil
		}
		c.chunk, c.place = c.run.view().seek(c.goal)
	}
	for {
		// The view before n: when the view has a chunk behind this one, n is final.
		v := c.run.view()
		k := v.chunk(c.chunk)
		if c.place >= int(k.n.Load()) {
			if c.chunk+1 == v.len() {
				return Entry{}, false, nil
			}
			c.chunk, c.place = c.chunk+1, 0
			continue
		}
		e := k.entry(c.place)
		c.place++
		// A cursor that began behind the end passes over what is added below from.
		if c.goal.reachedBy(e) {
			return e, true, nil
		}
	}
}
