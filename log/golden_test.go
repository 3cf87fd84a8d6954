package log_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

var update = flag.Bool("update", false, "write the golden files anew")

const goldenDir = "testdata/v1"

// goldenLog writes a log with two segments, three topics, one of them deleted, every codec, headers, and
// records without keys or values. Nothing in it depends on chance or on the time of day.
func goldenLog(t *testing.T) vfs.FS {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{
		SegmentBytes: 64 << 10, SyncInterval: -1,
		Clock: clock.NewManual(time.UnixMilli(1_700_000_000_123)), Rand: rand.NewChaCha8([32]byte{1}),
	})
	for _, name := range []string{"plain", "zipped", "deleted"} {
		o := log.TopicOptions{Partitions: 2}
		if name == "zipped" {
			o.Compression, o.Partitioner = record.Zstd, log.FNV1a
		}
		tp, err := l.CreateTopic(ctx, name, o)
		require.NoError(t, err)
		for i := range 30 {
			c := l.NewCommit()
			c.Append(tp,
				log.Record{Key: fmt.Append(nil, i), Value: []byte(strings.Repeat(fmt.Sprint(name, i), 100))},
				log.Record{Timestamp: time.UnixMilli(1_600_000_000_000 + int64(i)), Headers: []log.Header{{Key: "h", Value: []byte("v")}, {Key: "h"}}},
			)
			_, err := c.Commit(ctx)
			require.NoError(t, err)
		}
	}
	require.NoError(t, l.DeleteTopic(ctx, "deleted"))
	require.NoError(t, l.Close())
	return fs
}

// goldenFiles copies testdata to a file system in memory.
func goldenFiles(t *testing.T) *vfs.MemFS {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("data/log", 0o700))
	for _, dir := range []string{"", "log"} {
		entries, err := os.ReadDir(filepath.Join(goldenDir, dir))
		require.NoError(t, err)
		for _, e := range entries {
			if !e.IsDir() {
				b, err := os.ReadFile(filepath.Join(goldenDir, dir, e.Name()))
				require.NoError(t, err)
				put(t, fs, filepath.ToSlash(filepath.Join("data", dir, e.Name())), b)
			}
		}
	}
	return fs
}

// TestGolden writes the log of version 1 byte for byte as it was written before, and reads what was
// written then, read-only and for appending.
func TestGolden(t *testing.T) {
	want := dump(t, goldenLog(t))
	delete(want, "data/LOCK")
	if *update {
		require.NoError(t, os.RemoveAll(goldenDir))
		for path, content := range want {
			path = filepath.Join(goldenDir, strings.TrimPrefix(path, "data/"))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		}
	}
	fs := goldenFiles(t)
	got := dump(t, fs)
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for path := range want {
		require.Equal(t, want[path], got[path], path)
	}
	for _, readOnly := range []bool{true, false} {
		l := open(t, fs, "data", log.Options{ReadOnly: readOnly})
		require.Len(t, l.Topics(), 2)
		for _, name := range []string{"plain", "zipped"} {
			tp, err := l.Topic(name)
			require.NoError(t, err)
			n := 0
			for r, err := range tp.Read(log.Oldest) {
				require.NoError(t, err)
				if r.Key != nil {
					require.Equal(t, strings.Repeat(name+string(r.Key), 100), string(r.Value))
					require.Equal(t, int64(1_700_000_000_123), r.Timestamp.UnixMilli())
				} else {
					require.Nil(t, r.Value)
					require.Len(t, r.Headers, 2)
				}
				n++
			}
			require.Equal(t, 60, n)
			if !readOnly {
				_, err := tp.Append(ctx, log.Record{})
				require.NoError(t, err)
			}
		}
		require.NoError(t, l.Close())
	}
}

// TestGoldenOfTheNextVersion is refused by an opening for writing, which changes nothing.
func TestGoldenOfTheNextVersion(t *testing.T) {
	fs := goldenFiles(t)
	segs, err := filepathGlob(fs, "data/log", ".seg")
	require.NoError(t, err)
	last := "data/log/" + segs[len(segs)-1]
	b := get(t, fs, last)
	binary.LittleEndian.PutUint32(b[8:], 2)
	binary.LittleEndian.PutUint64(b[504:], xxhash.Sum64(b[:504]))
	put(t, fs, last, b)
	before := dump(t, fs)
	_, err = log.Open("data", log.Options{FS: fs})
	require.ErrorIs(t, err, log.ErrFormat)
	after := dump(t, fs)
	delete(after, "data/LOCK")
	require.Equal(t, before, after)
}
