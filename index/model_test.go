package index

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model answers by looking at every entry. It is a Reader too.
type model map[uint32][]Entry // MaxTimestamp is the running maximum

func (m model) add(partition uint32, e Entry) {
	if run := m[partition]; len(run) > 0 {
		e.MaxTimestamp = max(e.MaxTimestamp, run[len(run)-1].MaxTimestamp)
	}
	m[partition] = append(m[partition], e)
}

func (m model) first(partition uint32, reached func(Entry) bool) (Entry, bool, error) {
	for _, e := range m[partition] {
		if reached(e) {
			return e, true, nil
		}
	}
	return Entry{}, false, nil
}

func (m model) Find(partition uint32, offset int64) (Entry, bool, error) {
	return m.first(partition, func(e Entry) bool { return e.Offset+int64(e.Count) > offset })
}

func (m model) FindTime(partition uint32, ms int64) (Entry, bool, error) {
	return m.first(partition, func(e Entry) bool { return e.MaxTimestamp >= ms })
}

func (m model) Last(partition uint32) (Entry, bool, error) {
	if run := m[partition]; len(run) > 0 {
		return run[len(run)-1], true, nil
	}
	return Entry{}, false, nil
}

func (m model) Partitions() ([]uint32, error) {
	partitions := []uint32{}
	for p := range m {
		partitions = append(partitions, p)
	}
	slices.Sort(partitions)
	return partitions, nil
}

func (m model) BytesOf(partition uint32) (sum int64, _ error) {
	for _, e := range m[partition] {
		sum += int64(e.Bytes)
	}
	return sum, nil
}

func (m model) Len() (n int) {
	for _, run := range m {
		n += len(run)
	}
	return n
}

// from returns the entries of a partition that end behind offset.
func (m model) from(partition uint32, offset int64) []Entry {
	var entries []Entry
	for _, e := range m[partition] {
		if e.Offset+int64(e.Count) > offset {
			entries = append(entries, e)
		}
	}
	return entries
}

// drain takes all entries a cursor has now.
func drain(t require.TestingT, c Cursor) (entries []Entry) {
	for {
		e, ok, err := c.Next()
		require.NoError(t, err)
		if !ok {
			return entries
		}
		entries = append(entries, e)
	}
}

// checkReader is the conformance suite: r must answer as the model does, about every partition in
// want and some that it has not, at the edges of every entry and at the ends of the range.
func checkReader(t require.TestingT, want model, r Reader) {
	require.Equal(t, want.Len(), r.Len())
	partitions, _ := want.Partitions()
	got, err := r.Partitions()
	require.NoError(t, err)
	require.Equal(t, partitions, append([]uint32{}, got...))

	asked := append([]uint32{0, 1, 77, math.MaxUint32}, partitions...)
	for _, p := range partitions {
		asked = append(asked, p-1, p+1)
	}
	for _, p := range asked {
		checkPartition(t, want, r, p)
	}

	entries := model{}
	last := int64(-1)
	require.NoError(t, r.Entries(func(p uint32, e Entry) bool {
		require.GreaterOrEqual(t, int64(p), last)
		last = int64(p)
		entries[p] = append(entries[p], e)
		return true
	}))
	require.Equal(t, want, entries)
	calls := 0
	require.NoError(t, r.Entries(func(uint32, Entry) bool { calls++; return false }))
	require.Equal(t, min(1, want.Len()), calls)
}

func checkPartition(t require.TestingT, want model, r Reader, p uint32) {
	same := func(question string, value int64, wantE Entry, wantOK bool, e Entry, ok bool, err error) {
		// Comparing by == first spares most of the time that require takes.
		if err != nil || ok != wantOK || e != wantE {
			require.NoError(t, err, "%s(%d, %d)", question, p, value)
			require.Equal(t, wantE, e, "%s(%d, %d)", question, p, value)
			require.Equal(t, wantOK, ok, "%s(%d, %d)", question, p, value)
		}
	}
	offsets, times := []int64{0, math.MaxInt64}, []int64{math.MinInt64, 0, math.MaxInt64}
	run := want[p]
	for i := 0; i < len(run); i += 1 + len(run)/50 {
		e := run[i]
		offsets = append(offsets, e.Offset-1, e.Offset, e.Offset+1, e.End()-1, e.End())
		times = append(times, e.MaxTimestamp-1, e.MaxTimestamp, e.MaxTimestamp+1)
	}
	for _, o := range offsets {
		wantE, wantOK, _ := want.Find(p, o)
		e, ok, err := r.Find(p, o)
		same("Find", o, wantE, wantOK, e, ok, err)
	}
	for _, ms := range times {
		wantE, wantOK, _ := want.FindTime(p, ms)
		e, ok, err := r.FindTime(p, ms)
		same("FindTime", ms, wantE, wantOK, e, ok, err)
	}
	wantE, wantOK, _ := want.Last(p)
	e, ok, err := r.Last(p)
	same("Last", 0, wantE, wantOK, e, ok, err)

	wantBytes, _ := want.BytesOf(p)
	gotBytes, err := r.BytesOf(p)
	require.NoError(t, err)
	require.Equal(t, wantBytes, gotBytes, "partition %d", p)
	for _, from := range offsets[:min(len(offsets), 5)] {
		require.Equal(t, want.from(p, from), drain(t, r.Scan(p, from)), "partition %d from %d", p, from)
	}
}

var testSegment = SegmentID{
	Name: "00000000000000000042-1.seg", EndByte: math.MaxInt64, EndPosition: 1 << 40,
	LogID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
}

// written writes m to a file system of its own and opens it.
func written(t require.TestingT, m *Memory, topics ...TopicBytes) *File {
	fs := vfs.NewMem()
	require.NoError(t, Write(fs, "i.idx", testSegment, m, topics...))
	f, err := Open(fs, "i.idx", testSegment)
	require.NoError(t, err)
	return f
}

// TestModel builds an index out of arbitrary runs, with gaps and wild timestamps, and compares
// both readers with the model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, m := model{}, NewMemory()
		partition := rapid.OneOf(rapid.Uint32Range(0, 3), rapid.Uint32())
		step := rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 1<<34))
		stamp := rapid.OneOf(rapid.Int64Range(-1, 20), rapid.Int64())
		var byt int64
		for range rapid.IntRange(0, 200).Draw(t, "entries") {
			p := partition.Draw(t, "partition")
			byt += step.Draw(t, "byte")
			e := Entry{
				Byte: byt, MaxTimestamp: stamp.Draw(t, "max"),
				Count: rapid.Int32Range(1, math.MaxInt32).Draw(t, "count"),
				Bytes: rapid.Int32Range(0, math.MaxInt32).Draw(t, "bytes"),
			}
			if last, ok, _ := want.Last(p); ok {
				e.Offset = last.End()
			}
			e.Offset += step.Draw(t, "gap")
			want.add(p, e)
			require.NoError(t, m.Add(p, e))
		}
		checkReader(t, want, m)
		f := written(t, m)
		checkReader(t, want, f)
		require.NoError(t, f.Verify())
		require.NoError(t, f.Close())
	})
}

// fill adds n entries to partitions chosen by choose, and returns the model of them.
func fill(t require.TestingT, m *Memory, n int, choose func(*rand.Rand) uint32) model {
	want, rng := model{}, rand.New(rand.NewPCG(7, 7))
	var byt int64 = 4096
	for i := range n {
		p := choose(rng)
		e := Entry{
			Byte: byt, MaxTimestamp: 1_700_000_000_000 + int64(i) - rng.Int64N(50),
			Count: 1 + rng.Int32N(10), Bytes: 80 + rng.Int32N(1000),
		}
		byt += int64(e.Bytes) + 56
		if last, ok, _ := want.Last(p); ok {
			e.Offset = last.End() + rng.Int64N(2)
		} else {
			e.Offset = rng.Int64N(1 << 20)
		}
		want.add(p, e)
		require.NoError(t, m.Add(p, e))
	}
	return want
}

// TestShapes covers trees of every height that a segment can have.
func TestShapes(t *testing.T) {
	for _, tc := range []struct {
		name    string
		entries int
		choose  func(*rand.Rand) uint32
		height  uint8
	}{
		{"empty", 0, nil, 0},
		{"one entry", 1, func(*rand.Rand) uint32 { return math.MaxUint32 }, 1},
		{"one partition", 3000, func(*rand.Rand) uint32 { return 9 }, 2},
		{"two leaves' worth of partitions", 150, func(r *rand.Rand) uint32 { return r.Uint32() }, 2},
		{"one long run among short ones", 5000, func(r *rand.Rand) uint32 { return max(20, r.Uint32N(40)) }, 2},
		{"many partitions", 5000, func(r *rand.Rand) uint32 { return r.Uint32N(3000) }, 2},
		{"one very long run", 100_000, func(r *rand.Rand) uint32 { return max(20, r.Uint32N(22)) }, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := NewMemory()
			want := fill(t, m, tc.entries, tc.choose)
			f := written(t, m)
			require.Equal(t, tc.height, f.head.height)
			checkReader(t, want, m)
			checkReader(t, want, f)
			require.NoError(t, f.Verify())
		})
	}
}
