package log

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stratalog/strata/segment"
)

// A point read wants one record of a commit, and the check of a frame is over all of it. So what is needed to
// find a record by itself is remembered of the batches of frames that were checked for point reads, with a
// short check of each record, which every later read of it makes.

const (
	// rememberedFrame is the length from which on a frame is remembered. To check a shorter one costs
	// little more than to look it up.
	rememberedFrame = 8 << 10
	// rememberedBytes bounds what a log remembers of its frames. It is enough for some 16 GiB of commits of
	// a hundred records of 1 KiB.
	rememberedBytes = 128 << 20
)

// remembered is what is remembered of the frames of a segment.
type remembered struct {
	listed sync.Once // in memory.all, before anything is remembered

	mu   sync.RWMutex
	runs map[uint32]*rememberedRun // by partition; guarded by mu
}

// rememberedRun is the remembered batches of a partition, by their first offsets, which rise.
type rememberedRun struct {
	offsets []int64
	batches []segment.Checked
}

// place returns the index of the last batch that begins at offset or before, or -1.
func (r *rememberedRun) place(offset int64) int {
	if i, ok := r.guess(offset); ok {
		return i
	}
	i, found := slices.BinarySearch(r.offsets, offset)
	if found {
		return i
	}
	return i - 1
}

// guess is place where all batches were of one length, and says whether it is right. Mostly they are, and all of them
// remembered, and a search would wait for memory and mispredict at each step.
func (r *rememberedRun) guess(offset int64) (i int, ok bool) {
	last := len(r.offsets) - 1
	if last < 1 {
		return 0, false
	}
	first, width := r.offsets[0], r.offsets[last]-r.offsets[0]
	if offset < first || offset-first >= width || width > math.MaxInt64/int64(last) {
		return 0, false
	}
	i = int((offset - first) * int64(last) / width)
	return i, r.offsets[i] <= offset && offset < r.offsets[i+1]
}

// find returns where the record is, if its batch is remembered.
func (m *remembered) find(partition uint32, offset int64) (spot segment.Spot, ok bool) {
	m.mu.RLock()
	var c segment.Checked
	var first int64
	if r := m.runs[partition]; r != nil {
		if i := r.place(offset); i >= 0 {
			c, first = r.batches[i], r.offsets[i]
		}
	}
	m.mu.RUnlock()
	return c.Find(offset - first)
}

// add remembers batches, and returns how many bytes that takes.
func (m *remembered) add(batches []segment.Checked) (bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.runs == nil {
		m.runs = map[uint32]*rememberedRun{}
	}
	for _, c := range batches {
		r := m.runs[c.Partition()]
		if r == nil {
			r = &rememberedRun{}
			m.runs[c.Partition()] = r
		}
		i, known := slices.BinarySearch(r.offsets, c.Offset())
		if known {
			continue
		}
		r.offsets, r.batches = slices.Insert(r.offsets, i, c.Offset()), slices.Insert(r.batches, i, c)
		bytes += rememberedCost(c)
	}
	return bytes
}

// rememberedCost is what remembering c takes: c itself, and its place in a rememberedRun, whose slices grow by a quarter.
func rememberedCost(c segment.Checked) int64 { return int64(c.Bytes()) + 40 }

// forget drops the batch with the record at offset, and returns how many bytes that took.
func (m *remembered) forget(partition uint32, offset int64) (bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.runs[partition]
	if r == nil {
		return 0
	}
	i := r.place(offset)
	if i < 0 {
		return 0
	}
	if _, ok := r.batches[i].Find(offset - r.offsets[i]); !ok {
		return 0 // somebody else has dropped it
	}
	bytes = rememberedCost(r.batches[i])
	r.offsets, r.batches = slices.Delete(r.offsets, i, i+1), slices.Delete(r.batches, i, i+1)
	return bytes
}

// thin drops every eighth batch beginning with the one at start, and returns how many bytes they took.
func (m *remembered) thin(start int) (bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for partition, r := range m.runs {
		kept := 0
		for i, c := range r.batches {
			if (i+start)%8 == 0 {
				bytes += rememberedCost(c)
				continue
			}
			r.offsets[kept], r.batches[kept] = r.offsets[i], c
			kept++
		}
		clear(r.batches[kept:])
		r.offsets, r.batches = r.offsets[:kept], r.batches[:kept]
		if kept == 0 {
			delete(m.runs, partition)
		}
	}
	return bytes
}

// memory bounds what all segments of a log remember.
type memory struct {
	bytes atomic.Int64

	mu    sync.Mutex
	all   []*remembered // those that were ever added to; guarded by mu
	turns int           // how often one of them was thinned out; guarded by mu
}

// remember adds what is known of a frame to what its segment remembers, and drops other things where that is
// too much.
func (y *memory) remember(m *remembered, batches []segment.Checked) {
	m.listed.Do(func() {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.all = append(y.all, m)
	})
	if y.bytes.Add(m.add(batches)) <= rememberedBytes {
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	// Each turn takes another segment, and after a round of all of them others of their batches.
	for y.bytes.Load() > rememberedBytes {
		y.turns++
		y.bytes.Add(-y.all[y.turns%len(y.all)].thin(y.turns / len(y.all)))
	}
}

// forget drops the batch with a record that is not any more what was remembered.
func (y *memory) forget(m *remembered, partition uint32, offset int64) {
	y.bytes.Add(-m.forget(partition, offset))
}
