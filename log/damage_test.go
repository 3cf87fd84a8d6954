package log_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// manySegments makes a log of some segments: record i of partition events/0 has the timestamp i seconds
// and 4000 bytes. It returns the names of the segments.
func manySegments(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	l := open(t, fs, "data", log.Options{SegmentBytes: 64 << 10})
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	for i := range 60 {
		_, err := tp.Append(ctx, log.Record{Timestamp: time.Unix(int64(i), 0), Value: make([]byte, 4000)})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	segs, err := filepathGlob(fs, "data/log", ".seg")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(segs), 4)
	return segs
}

// TestReadFromDamage begins reading at the offset, the position and the time of a record that is damaged:
// that is told, and what lies behind it is shown.
func TestReadFromDamage(t *testing.T) {
	fs := vfs.NewMem()
	segs := manySegments(t, fs)
	flip(t, fs, "data/log/"+segs[1], 30_000)
	l := open(t, fs, "data", log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	tp, err := l.Topic("events")
	require.NoError(t, err)

	read := func(start log.Start) (offsets []int64, damaged int) {
		for r, err := range tp.Partition(0).Read(start) {
			if errors.Is(err, log.ErrCorrupt) {
				damaged++
				continue
			}
			require.NoError(t, err)
			offsets = append(offsets, r.Offset)
		}
		return offsets, damaged
	}
	all, damaged := read(log.Oldest)
	require.Equal(t, 1, damaged)
	require.Len(t, all, 59)
	lost := int64(0)
	for lost < 59 && all[lost] == lost {
		lost++
	}
	starts := map[string]func(offset int64) log.Start{
		"offset":   log.AtOffset,
		"position": func(offset int64) log.Start { return log.AtPosition(uint64(offset) + 1) }, // 0 is the topic's creation
		"time":     func(offset int64) log.Start { return log.AtTime(time.Unix(offset, 0)) },
	}
	for name, start := range starts {
		for _, first := range []int64{0, lost - 1, lost, lost + 1} {
			offsets, damaged := read(start(first))
			want := first
			if first == lost {
				want++
			}
			require.Equal(t, want, offsets[0], "%s of %d", name, first)
			require.Equal(t, int64(59), offsets[len(offsets)-1])
			if first <= lost {
				require.Equal(t, 1, damaged, "%s of %d", name, first)
				require.Len(t, offsets, int(59-first))
			} else {
				require.Zero(t, damaged, "%s of %d", name, first)
				require.Len(t, offsets, int(60-first))
			}
		}
	}
}

// TestWaitBytesPastADamagedIndex counts bytes of a partition of which an index is damaged.
func TestWaitBytesPastADamagedIndex(t *testing.T) {
	fs := vfs.NewMem()
	segs := manySegments(t, fs)
	count := func() int64 {
		l := open(t, fs, "data", log.Options{})
		defer func() { require.NoError(t, l.Close()) }()
		tp, err := l.Topic("events")
		require.NoError(t, err)
		n, err := l.WaitBytes(ctx, 60*4000, []log.PartitionOffset{{Partition: tp.Partition(0)}})
		require.NoError(t, err)
		return n
	}
	want := count()
	idx := "data/log/" + segs[1][:len(segs[1])-len(".seg")] + ".idx"
	size := len(get(t, fs, idx))
	for _, at := range []int{0, size / 2, size - 1} {
		before := get(t, fs, idx)
		flip(t, fs, idx, int64(at))
		require.Equal(t, want, count(), "byte %d of %d", at, size)
		put(t, fs, idx, before)
	}
}

// TestIndexIsMadeAgain removes and damages the index of a sealed segment. Reading by a log that is open for
// writing puts back the same file, but not where the segment itself is damaged.
func TestIndexIsMadeAgain(t *testing.T) {
	fs := vfs.NewMem()
	segs := manySegments(t, fs)
	path := "data/log/" + segs[1][:len(segs[1])-len(".seg")] + ".idx"
	want := get(t, fs, path)
	rebuilt := 0
	read := func() (records int) {
		l := open(t, fs, "data", log.Options{
			Logger: quiet, Events: log.Events{IndexRebuilt: func(log.SegmentInfo) { rebuilt++ }},
		})
		defer func() { require.NoError(t, l.Close()) }()
		tp, err := l.Topic("events")
		require.NoError(t, err)
		for _, err := range tp.Partition(0).Read(log.Oldest) {
			if err == nil {
				records++
			}
		}
		return records
	}
	for i, damage := range []func(){
		func() { require.NoError(t, fs.Remove(path)) },
		func() { flip(t, fs, path, int64(len(want)-1)) },
		func() { put(t, fs, path, nil) },
	} {
		damage()
		require.Equal(t, 60, read())
		require.Equal(t, i+1, rebuilt)
		require.Equal(t, want, get(t, fs, path))
		require.Equal(t, 60, read())
		require.Equal(t, i+1, rebuilt, "it is used")
	}
	require.NoError(t, fs.Remove(path))
	flip(t, fs, "data/log/"+segs[1], 30_000)
	require.Equal(t, 59, read())
	_, err := fs.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}
