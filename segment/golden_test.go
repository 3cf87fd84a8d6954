package segment_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/segment"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden writes a segment and a manifest and compares them with the files of version 1, which every
// later version must still read.
func TestGolden(t *testing.T) {
	fs := vfs.NewMem()
	f := born(t, fs)
	first := f.at
	f.commit(first, "a", "b")
	f.endMark(segment.Idle)
	f.commit(f.at, "c")
	f.endMark(segment.Recovered)
	f.endMark(segment.Closing)
	f.endMark(segment.Sealing)
	require.NoError(t, segment.WriteManifest(fs, "log", &segment.Manifest{LogID: testID, Number: 1, Segments: []segment.Ref{
		{LogID: testID, Name: segment.Name{Position: 40}, EndPosition: 43, EndByte: f.at},
	}}))
	for _, base := range []string{f.seg.Name().String(), segment.ManifestName} {
		got, err := segment.ReadFile(fs, "log/"+base)
		require.NoError(t, err)
		path := filepath.Join("testdata", "v1", base)
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, got, 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, got, base)
	}
	golden, err := os.ReadFile(filepath.Join("testdata", "v1", f.seg.Name().String()))
	require.NoError(t, err)
	var kinds []segment.Kind
	end, err := reopened(t, golden).Recover(func(f *segment.Frame) error {
		kinds = append(kinds, f.Kind)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []segment.Kind{segment.Commit, segment.Idle, segment.Commit, segment.Recovered, segment.Closing, segment.Sealing}, kinds)
	require.Equal(t, uint64(43), end.Position)
	require.Equal(t, int32(testEpoch+1), end.Epoch)
}
