package log_test

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

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
		"cut short":         func(b []byte) []byte { return b[:200<<10] },
		"cut by a byte":     func(b []byte) []byte { b = bytes.TrimRight(b, "\x00"); return b[:len(b)-1] },
		"zeroed to its end": func(b []byte) []byte { clear(b[300<<10:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			want := keptLog(t, fs)
			put(t, fs, keptPath+".seg", change(get(t, fs, keptPath+".seg")))
			before := dump(t, fs)
			_, err := log.Open("data", log.Options{FS: fs})
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
			l := open(t, fs, "data", log.Options{})
			got, _ := intact(t, l, "events")
			require.Equal(t, want[:len(got)], got)
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
