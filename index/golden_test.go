package index

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata of a format version that has none yet")

// TestGolden reads the file of version 1, and writes it again to the same bytes.
func TestGolden(t *testing.T) {
	want, m := model{}, NewMemory()
	add := func(p uint32, e Entry) {
		want.add(p, e)
		require.NoError(t, m.Add(p, e))
	}
	for i := range int64(600) { // enough for two leaves
		add(1, Entry{Offset: 10 * i, Byte: 4096 + 500*i, MaxTimestamp: 1_700_000_000_000 + (i%7)*1000, Count: 9, Bytes: 400})
	}
	add(2, Entry{Offset: 1 << 40, Byte: 1 << 41, MaxTimestamp: -1, Count: math.MaxInt32, Bytes: math.MaxInt32})
	add(2, Entry{Offset: 1 << 42, Byte: 1 << 41, MaxTimestamp: math.MaxInt64, Count: 1})
	add(math.MaxUint32, Entry{MaxTimestamp: math.MinInt64, Count: 1, Bytes: 61})
	topics := []TopicBytes{{Topic: [16]byte{1}, Bytes: 240_000}, {Topic: [16]byte{2}, Bytes: math.MaxInt32}}

	path := filepath.Join("testdata", "v1", "00000000000000000042-1.idx")
	if *update {
		_, err := os.Stat(path)
		require.ErrorIs(t, err, os.ErrNotExist, "a golden file is never replaced")
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, Write(vfs.Default, path, testSegment, m, topics...))
	}
	f, err := Open(vfs.Default, path, testSegment)
	require.NoError(t, err)
	checkReader(t, want, f)
	require.NoError(t, f.Verify())
	got, err := f.TopicBytes()
	require.NoError(t, err)
	require.Equal(t, topics, got)
	require.NoError(t, f.Close())

	golden, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, golden, encoded(t, m, topics...))
}
