package index

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAddRefuses(t *testing.T) {
	good := Entry{Offset: 10, Byte: 100, MaxTimestamp: 5, Count: 2, Bytes: 30}
	for _, tc := range []struct {
		name string
		edit func(*Entry)
	}{
		{"offset below the end", func(e *Entry) { e.Offset = 11 }},
		{"byte below the last", func(e *Entry) { e.Byte = 99 }},
		{"no offsets", func(e *Entry) { e.Count = 0 }},
		{"negative size", func(e *Entry) { e.Bytes = -1 }},
		{"end overflows", func(e *Entry) { e.Offset = math.MaxInt64 - 1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := NewMemory()
			require.NoError(t, m.Add(3, good))
			e := Entry{Offset: 12, Byte: 100, Count: 2, Bytes: 30}
			tc.edit(&e)
			err := m.Add(3, e)
			require.ErrorIs(t, err, ErrOrder)
			var order *OrderError
			require.ErrorAs(t, err, &order)
			assert.Equal(t, OrderError{Partition: 3, Entry: e, NextOffset: 12, LastByte: 100}, *order)
			assert.Equal(t, 1, m.Len())
		})
	}
	t.Run("first of its partition", func(t *testing.T) {
		m := NewMemory()
		require.ErrorIs(t, m.Add(3, Entry{Offset: -1, Count: 1}), ErrOrder)
		require.ErrorIs(t, m.Add(3, Entry{Byte: -1, Count: 1}), ErrOrder)
		assert.Equal(t, 0, m.Len())
	})
}

// TestScanGoesOn asks a cursor again after each Add: before the partition is known, below from,
// and across the ends of chunks.
func TestScanGoesOn(t *testing.T) {
	m := NewMemory()
	c, late := m.Scan(4, 0), m.Scan(4, 500)
	require.Empty(t, drain(t, c))
	for i := range int64(1000) {
		e := Entry{Offset: i, Byte: i, MaxTimestamp: i, Count: 1}
		require.NoError(t, m.Add(4, e))
		require.Equal(t, []Entry{e}, drain(t, c))
		if i < 500 {
			require.Empty(t, drain(t, late))
		} else {
			require.Equal(t, []Entry{e}, drain(t, late))
		}
	}
}

// TestReadersBesideTheWriter lets readers ask all questions while entries are added. Offset,
// byte position and time are equal in each entry, so an answer that mixes two entries shows.
func TestReadersBesideTheWriter(t *testing.T) {
	const partitions, entries = 200, 20_000
	m := NewMemory()
	done := make(chan struct{})
	var readers sync.WaitGroup
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 1))
		readers.Go(func() {
			c, next := m.Scan(7, 0), int64(0)
			for running := true; running; {
				select {
				case <-done:
					running = false // once more, over all entries
				default:
				}
				p := rng.Uint32N(partitions)
				last, ok, _ := m.Last(p)
				if ok {
					o := rng.Int64N(last.Offset + 1)
					e, found, _ := m.Find(p, o)
					assert.True(t, found)
					assert.Equal(t, Entry{o, o, o, 1, 1}, e)
					e, found, _ = m.FindTime(p, o)
					assert.True(t, found)
					assert.Equal(t, o, e.Offset)
					bytes, _ := m.BytesOf(p)
					assert.Greater(t, bytes, last.Offset)
				}
				for _, e := range drain(t, c) {
					assert.Equal(t, Entry{next, next, next, 1, 1}, e)
					next++
				}
			}
			assert.Equal(t, int64(entries/partitions), next)
		})
	}
	for i := range int64(entries) {
		o := i / partitions
		if !assert.NoError(t, m.Add(uint32(i%partitions), Entry{o, o, o, 1, 1})) {
			break
		}
	}
	close(done)
	readers.Wait()
	assert.Equal(t, entries, m.Len())
}

func TestAllocations(t *testing.T) {
	m := NewMemory()
	var i int64
	add := func() {
		for range maxChunkEntries {
			_ = m.Add(1, Entry{Offset: i, Byte: i, Count: 1})
			i++
		}
	}
	for range 10 {
		add()
	}
	// A chunk, its entries, the list of chunks and now and then its array.
	assert.LessOrEqual(t, testing.AllocsPerRun(100, add), 4.0, "for %d entries", maxChunkEntries)

	f := written(t, m)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _, _ = m.Find(1, 77) }))
	if !raceEnabled { // the race detector makes sync.Pool drop at random
		assert.Zero(t, testing.AllocsPerRun(100, func() { _, _, _ = f.Find(1, 77) }))
	}
}

// TestMemoryIsLean holds the sizes that the doc of Memory promises.
func TestMemoryIsLean(t *testing.T) {
	for _, tc := range []struct {
		name                string
		partitions, entries int
		most                float64 // bytes an entry
	}{
		{"one partition", 1, 200_000, 24},
		{"wide and short", 10_000, 2, 120},
		{"wide", 10_000, 20, 55},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := heapBytes()
			m := NewMemory()
			for i := range int64(tc.entries) {
				for p := range tc.partitions {
					require.NoError(t, m.Add(uint32(p), Entry{Offset: i, Byte: i * 500, Count: 1, Bytes: 400}))
				}
			}
			each := float64(heapBytes()-before) / float64(tc.partitions*tc.entries)
			t.Logf("%.1f bytes an entry", each)
			assert.LessOrEqual(t, each, tc.most)
			runtime.KeepAlive(m)
		})
	}
}

func heapBytes() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
