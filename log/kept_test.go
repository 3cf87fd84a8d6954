package log_test

import (
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/log"
)

const keptPath = "data/log/00000000000000000000-000000"

// keptLog makes a log whose last segment has 400 KiB and a kept index, and returns its values.
func keptLog(t *testing.T, fs vfs.FS) []string {
	l := open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
	want := fill(t, l, "events", 1, 400, 1000)
	require.NoError(t, l.Close())
	return want
}

// TestKeptIndexNotRead opens a log whose last segment is damaged in its middle, which is not read: it is told
// when that is read, and by Verify, and all else is there and goes on.
func TestKeptIndexNotRead(t *testing.T) {
	fs := vfs.NewMem()
	want := keptLog(t, fs)
	flip(t, fs, keptPath+".seg", 100<<10)
	require.NotEmpty(t, verify(t, fs, "data").Findings)

	l := open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
	got, damage := intact(t, l, "events")
	require.NotEmpty(t, damage)
	require.ErrorIs(t, damage[0], log.ErrCorrupt)
	require.Len(t, got, len(want)-1)
	topic, err := l.Topic("events")
	require.NoError(t, err)
	r, err := topic.Append(ctx, log.Record{Value: []byte("behind")})
	require.NoError(t, err)
	require.EqualValues(t, len(want), r.Offset)
	require.NoError(t, l.Close())

	// Without the index all of it is read, and the damage is refused, as it always was.
	require.NoError(t, fs.Remove(keptPath+".idx"))
	_, err = log.Open("data", log.Options{FS: fs})
	require.ErrorIs(t, err, log.ErrCorrupt)
}

// TestKeptIndexIsWitness has a segment that is shorter than its kept index refused, found and repaired.
func TestKeptIndexIsWitness(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"cut short":                 func(b []byte) []byte { return b[:200<<10] },
		"cut before its index ends": func(b []byte) []byte { return b[:400<<10] },
		"zeroed to its end":         func(b []byte) []byte { clear(b[300<<10:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			want := keptLog(t, fs)
			// More is appended, and acknowledged, of which the index does not tell.
			l := open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
			topic, err := l.Topic("events")
			require.NoError(t, err)
			var last log.Result
			for range 10 {
				last, err = topic.Append(ctx, log.Record{Value: []byte("later")})
				require.NoError(t, err)
			}
			require.NoError(t, l.Close())
			put(t, fs, keptPath+".seg", change(get(t, fs, keptPath+".seg")))
			before := dump(t, fs)
			_, err = log.Open("data", log.Options{FS: fs})
			var c *log.CorruptError
			require.ErrorAs(t, err, &c)
			require.Equal(t, "00000000000000000000-000000.seg", c.File)
			require.Equal(t, before, dump(t, fs), "nothing was changed")

			findings := verify(t, fs, "data").Findings
			require.Len(t, findings, 1)
			require.Equal(t, "end", findings[0].Check)
			require.Equal(t, c.File, findings[0].File)

			_, err = log.Repair(ctx, "data", log.RepairOptions{FS: fs})
			require.NoError(t, err)
			require.Empty(t, verify(t, fs, "data").Findings)
			l = open(t, fs, "data", log.Options{})
			got, _ := intact(t, l, "events")
			require.Equal(t, want[:len(got)], got)
			topic, err = l.Topic("events")
			require.NoError(t, err)
			r, err := topic.Append(ctx, log.Record{Value: []byte("behind")})
			require.NoError(t, err)
			require.GreaterOrEqual(t, r.Offset, int64(len(want)+10), "no offset is given again")
			require.Greater(t, r.Position, last.Position)
			require.NoError(t, l.Close())
		})
	}
}

// TestKeptIndexDamaged opens logs whose kept index is of no use: their whole last segment is read.
func TestKeptIndexDamaged(t *testing.T) {
	other := vfs.NewMem()
	keptLog(t, other)
	for name, change := range map[string]func([]byte) []byte{
		"of another log": func([]byte) []byte { return get(t, other, keptPath+".idx") },
		"cut":            func(b []byte) []byte { return b[:len(b)-4096] },
		"empty":          func([]byte) []byte { return nil },
		"a leaf damaged": func(b []byte) []byte { b[5000] ^= 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			want := keptLog(t, fs)
			put(t, fs, keptPath+".idx", change(get(t, fs, keptPath+".idx")))
			l := open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
			require.Equal(t, want, values(t, l, "events"))
			require.NoError(t, l.Close())
			require.Empty(t, verify(t, fs, "data").Findings, "it was kept again")
		})
	}
}

// TestKeptIndexRarely writes the index again only when the segment has grown.
func TestKeptIndexRarely(t *testing.T) {
	fs := vfs.NewMem()
	want := keptLog(t, fs)
	before := get(t, fs, keptPath+".idx")
	for range 3 {
		l := open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
		topic, err := l.Topic("events")
		require.NoError(t, err)
		_, err = topic.Append(ctx, log.Record{Value: []byte("a")})
		require.NoError(t, err)
		want = append(want, "a")
		require.Equal(t, want, values(t, l, "events"))
		require.NoError(t, l.Close())
	}
	require.Equal(t, before, get(t, fs, keptPath+".idx"))
	l := open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
	fill(t, l, "more", 1, 100, 1000)
	require.NoError(t, l.Close())
	require.NotEqual(t, before, get(t, fs, keptPath+".idx"))
	require.Empty(t, verify(t, fs, "data").Findings)
}

// TestKeptIndexOfAnotherHistory opens a log with indexes that check, are of its last segment by name and log, and tell of
// other frames: all of the segment is read.
func TestKeptIndexOfAnotherHistory(t *testing.T) {
	const partition = 1
	for name, change := range map[string]func(*index.SegmentID, *index.Entry){
		"another end":      func(id *index.SegmentID, _ *index.Entry) { id.EndByte -= 48 },
		"another position": func(id *index.SegmentID, _ *index.Entry) { id.EndPosition++ },
		"another place":    func(_ *index.SegmentID, e *index.Entry) { e.Byte += 8 },
		"other offsets":    func(_ *index.SegmentID, e *index.Entry) { e.Offset += 1000 },
		"another length":   func(_ *index.SegmentID, e *index.Entry) { e.Bytes++ },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			want := keptLog(t, fs)
			f, err := index.Inspect(fs, keptPath+".idx")
			require.NoError(t, err)
			id, m := f.Segment(), index.NewMemory()
			last, _, err := f.Last(partition)
			require.NoError(t, err)
			changed := last
			change(&id, &changed)
			require.NoError(t, f.Entries(func(number uint32, e index.Entry) bool {
				if e.Byte >= id.EndByte {
					return true
				}
				if number == partition && e == last {
					e = changed
				}
				require.NoError(t, m.Add(number, e))
				return true
			}))
			require.NoError(t, f.Close())
			require.NoError(t, index.Write(fs, keptPath+".idx", id, m))
			l := open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
			require.Equal(t, want, values(t, l, "events"))
			topic, err := l.Topic("events")
			require.NoError(t, err)
			require.EqualValues(t, len(want), topic.Partition(0).Next())
			require.NoError(t, l.Close())
			require.Empty(t, verify(t, fs, "data").Findings, "it was kept again")
		})
	}
}

// TestKeptIndexNotWritten closes a log whose index cannot be kept, which harms nothing.
func TestKeptIndexNotWritten(t *testing.T) {
	mem := vfs.NewMem()
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".idx.new") {
			return errorfs.ErrInjected
		}
		return nil
	})
	want := keptLog(t, errorfs.Wrap(mem, inject))
	_, err := mem.Stat(keptPath + ".idx")
	require.ErrorIs(t, err, os.ErrNotExist)
	l := open(t, mem, "data", log.Options{})
	require.Equal(t, want, values(t, l, "events"))
	require.NoError(t, l.Close())
}
