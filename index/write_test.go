package index

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWriteRefuses(t *testing.T) {
	m := NewMemory()
	require.NoError(t, m.Add(1, Entry{Byte: 500, Count: 1}))
	named := SegmentID{Name: "a.seg", EndByte: 501}
	for _, tc := range []struct {
		name    string
		segment SegmentID
		topics  []TopicBytes
		message string
	}{
		{"no name", SegmentID{EndByte: 501}, nil, "segment name of 0 bytes"},
		{"long name", SegmentID{Name: string(make([]byte, 256)), EndByte: 501}, nil, "segment name of 256 bytes"},
		{"topic twice", named, []TopicBytes{{Bytes: 1}, {Bytes: 2}}, "given twice"},
		{"negative bytes", named, []TopicBytes{{Bytes: -1}}, "of -1 bytes"},
		{"entry behind the end", SegmentID{Name: "a.seg", EndByte: 500}, nil, "partition 1: entry at byte 500, but the segment ends at 500"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := vfs.NewMem()
			require.ErrorContains(t, Write(fs, "i.idx", tc.segment, m, tc.topics...), tc.message)
			names, err := fs.List("")
			require.NoError(t, err)
			assert.Empty(t, names)
		})
	}
	require.NoError(t, Write(vfs.NewMem(), "i.idx", named, m))
}

// TestWriteErrors fails each operation in turn, with an older index and a longer leftover in
// place: afterwards path has the old file, or the new one.
func TestWriteErrors(t *testing.T) {
	m, topics := small(t)
	for i := int32(0); ; i++ {
		base := vfs.NewMem()
		require.NoError(t, Write(base, "i.idx", testSegment, NewMemory()))
		leftover, err := base.Create("i.idx.new", vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = leftover.Write(make([]byte, 1<<20))
		require.NoError(t, err)
		require.NoError(t, leftover.Close())

		err = Write(failing(base, i), "i.idx", testSegment, m, topics...)
		f, openErr := Open(base, "i.idx", testSegment)
		require.NoError(t, openErr, "operation %d", i)
		require.NoError(t, f.Verify())
		if err == nil {
			require.Equal(t, m.Len(), f.Len())
			require.Greater(t, i, int32(4))
			return
		}
		require.ErrorIs(t, err, errInjected, "operation %d", i)
		require.Zero(t, f.Len(), "operation %d", i)
		require.NoError(t, f.Close())
	}
}

// TestWriteCrash cuts the power right after Write: the file is whole or not there.
func TestWriteCrash(t *testing.T) {
	m, topics := small(t)
	there := 0
	for seed := range uint64(40) {
		fs := vfs.NewCrashableMem()
		require.NoError(t, Write(fs, "i.idx", testSegment, m, topics...))
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 0))})
		f, err := Open(crashed, "i.idx", testSegment)
		if err != nil {
			require.NotErrorIs(t, err, ErrCorrupt, "seed %d", seed)
			continue
		}
		there++
		require.NoError(t, f.Verify(), "seed %d", seed)
		require.Equal(t, m.Len(), f.Len())
		require.NoError(t, f.Close())
	}
	assert.NotZero(t, there)
	assert.Less(t, there, 40)
}
