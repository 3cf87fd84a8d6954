package log

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// checkedFrame returns what is remembered of a frame with n records from an offset on.
func checkedFrame(t *testing.T, partition uint32, offset int64, n int) []segment.Checked {
	t.Helper()
	b := make([]byte, segment.FrameHeadBytes+segment.EntryHeadBytes)
	b[segment.FrameHeadBytes] = byte(partition)
	var builder record.Builder
	builder.Reset()
	for range n {
		builder.Append(&record.Record{Value: []byte("value")}, 0)
	}
	batch, err := builder.Finish(nil, record.None, false)
	require.NoError(t, err)
	record.PutBaseOffset(batch, offset)
	b = append(b, batch...)
	f := segment.Frame{FrameHead: segment.FrameHead{Kind: segment.Commit, Length: uint32(len(b))}, Bytes: b}
	return f.Checked(nil)
}

// TestRemembered finds what was added in any order, forgets, and thins out all of it in eight turns.
func TestRemembered(t *testing.T) {
	var m remembered
	var y memory
	const batches = 64
	for i := range int64(batches) {
		offset := 10 * (i * 37 % batches)
		y.remember(&m, checkedFrame(t, uint32(i*37%2), offset, 10))
	}
	bytes := y.bytes.Load()
	found := func() (n int) {
		for offset := range int64(10 * batches) {
			for partition := range uint32(3) {
				if spot, ok := m.find(partition, offset); ok {
					require.Equal(t, int64(partition), offset/10%2)
					require.Positive(t, spot.Length)
					n++
				}
			}
		}
		return n
	}
	require.Equal(t, 10*batches, found())
	y.remember(&m, checkedFrame(t, 0, 0, 10)) // known
	require.Equal(t, bytes, y.bytes.Load())
	y.forget(&m, 1, 15)
	y.forget(&m, 2, 15)
	require.Equal(t, 10*batches-10, found())
	require.Less(t, y.bytes.Load(), bytes)
	for turn := range 40 {
		y.bytes.Add(-m.thin(turn))
	}
	require.Zero(t, found())
	require.Zero(t, y.bytes.Load())
}

// TestRememberedPlace finds batches of one length, of many, and at the ends of what offsets there are, as walking
// along them does.
func TestRememberedPlace(t *testing.T) {
	for _, offsets := range [][]int64{
		nil, {7}, {0, 100, 200, 300, 400}, {100, 200, 400, 500}, {3, 4, 90, 91, 92, 1000}, {0, 1, 2, 3},
		{0, 10, math.MaxInt64 - 20, math.MaxInt64 - 10}, {math.MaxInt64 - 3, math.MaxInt64 - 2, math.MaxInt64 - 1},
	} {
		r := rememberedRun{offsets: offsets}
		wanted := []int64{0, 1, math.MaxInt64 / 2, math.MaxInt64 - 15, math.MaxInt64}
		for offset := range int64(1100) {
			wanted = append(wanted, offset, math.MaxInt64-offset)
		}
		for _, offset := range wanted {
			want := -1
			for i, o := range offsets {
				if o <= offset {
					want = i
				}
			}
			require.Equal(t, want, r.place(offset), "%d in %v", offset, offsets)
		}
	}
}

// TestRememberedIsBounded adds more than is kept.
func TestRememberedIsBounded(t *testing.T) {
	var segments [3]remembered
	var y memory
	c := checkedFrame(t, 0, 0, 10)
	y.remember(&segments[0], c)
	y.bytes.Store(rememberedBytes) // as if others had
	for i := range int64(300) {
		y.remember(&segments[i%3], checkedFrame(t, 0, 10*i+10, 10))
		require.LessOrEqual(t, y.bytes.Load(), int64(rememberedBytes))
	}
	n := 0
	for i := range segments {
		if r := segments[i].runs[0]; r != nil {
			n += len(r.batches)
		}
	}
	require.Less(t, n, 30)
}
