package main

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// severalSegments makes a log whose first segments are sealed and have their index.
func severalSegments(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	l, err := log.Open(dir, log.Options{SegmentBytes: 64 << 10})
	require.NoError(t, err)
	topic, err := l.CreateTopic(t.Context(), "t", log.TopicOptions{})
	require.NoError(t, err)
	for i := range 20 {
		_, err := topic.Append(t.Context(), log.Record{Value: make([]byte, 1000*(i%9+1))})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	return dir
}

// TestDumpIndex checks that the entries of an index name the frames of its segment, and that a damaged
// index is marked and hides nothing else.
func TestDumpIndex(t *testing.T) {
	dir := severalSegments(t)
	out := do(t, "", "dump", dir, "--json")
	type place struct{ file, at, offset any }
	frames, batches := map[place]bool{}, map[place]bool{}
	for _, f := range ofKind(t, out, "frame") {
		frames[place{f["file"], f["byte"], nil}] = true
	}
	for _, b := range ofKind(t, out, "batch") {
		batches[place{b["file"], b["partition_number"], b["offset"]}] = true
	}
	entries := ofKind(t, out, "index")
	require.NotEmpty(t, entries)
	for _, e := range entries {
		require.True(t, frames[place{e["segment"], e["byte"], nil}], "%v", e)
		if e["partition_number"] != nil {
			require.True(t, batches[place{e["segment"], e["partition_number"], e["offset"]}], "%v", e)
		}
	}

	indexes, err := filepath.Glob(filepath.Join(dir, "log", "*.idx"))
	require.NoError(t, err)
	flip(t, indexes[0], 4096+100)
	r := try(t, "", "dump", dir, "--json")
	require.Equal(t, exitBad, r.status)
	damage := ofKind(t, r.out, "damage")
	require.Len(t, damage, 1)
	require.Equal(t, filepath.Base(indexes[0]), damage[0]["file"])
	require.Nil(t, damage[0]["position"])
	require.Equal(t, ofKind(t, out, "batch"), ofKind(t, r.out, "batch"))
}

// TestDumpOneSegment checks that a segment by itself is dumped as it is among the others: its neighbours
// tell where it ends.
func TestDumpOneSegment(t *testing.T) {
	dir := severalSegments(t)
	all := do(t, "", "dump", dir, "--json")
	segments := ofKind(t, all, "segment")
	require.Greater(t, len(segments), 1)
	for i, s := range segments {
		one := do(t, "", "dump", segmentFile(t, dir, i), "--json")
		require.Equal(t, s, ofKind(t, one, "segment")[0])
		var want []map[string]any
		for _, f := range ofKind(t, all, "frame") {
			if f["file"] == s["file"] {
				want = append(want, f)
			}
		}
		require.Equal(t, want, ofKind(t, one, "frame"))
	}
}

// TestDumpAnything checks that files that are no segments, or are cut short, are dumped as damage.
func TestDumpAnything(t *testing.T) {
	noise := make([]byte, 0, 4096)
	for len(noise) < 4000 {
		sum := sha256.Sum256(noise)
		noise = append(noise, sum[:]...)
	}
	whole, err := os.ReadFile(segmentFile(t, goldenLog(t), 0))
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		bytes   []byte
		damaged int
	}{
		"empty": {nil, 1}, "noise": {noise, 2}, "zeros": {make([]byte, 5000), 1}, "half a head": {whole[:300], 1},
		"half a catalog": {whole[:600], 1}, "head and catalog": {whole[:792], 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(dir, "log"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "log", "00000000000000000000-000000.seg"), tc.bytes, 0o600))
			r := try(t, "", "dump", dir, "--json", "--records")
			total := ofKind(t, r.out, "total")
			require.Len(t, total, 1, r.errors)
			require.EqualValues(t, tc.damaged, total[0]["damaged"], r.out)
			require.Equal(t, tc.damaged > 0, r.status == exitBad)
		})
	}
}
