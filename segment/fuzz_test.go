package segment_test

import (
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/segment"
)

// FuzzSegment recovers and scans damaged files: no panic, no endless loop, and whatever is accepted is
// a run of commits of the original.
func FuzzSegment(f *testing.F) {
	origin := born(f, vfs.NewMem())
	start := origin.at
	origin.commit(start, "a", "b")
	origin.endMark(segment.Idle)
	origin.commit(origin.at, "c", string(make([]byte, 700)))
	origin.endMark(segment.Closing)
	whole := origin.content()
	f.Add(uint32(0), []byte{}, uint32(len(whole)))
	f.Add(uint32(start), []byte{0xff}, uint32(len(whole)))
	f.Add(uint32(start+4), []byte{0xff, 0xff, 0xff, 0x7f}, uint32(len(whole)))
	f.Add(uint32(len(whole)-48), make([]byte, 48), uint32(len(whole)))
	f.Add(uint32(start+100), make([]byte, 512), uint32(start+300))
	f.Fuzz(func(t *testing.T, at uint32, damage []byte, length uint32) {
		b := append([]byte{}, whole...)
		if int(at) < len(b) {
			copy(b[at:], damage)
		}
		if int(length) < len(b) {
			b = b[:length]
		}
		seg := reopened(t, b)
		positions := map[uint64]int{40: 2, 42: 2}
		check := func(fr *segment.Frame) error {
			if fr.Kind == segment.Commit {
				require.Equal(t, positions[fr.Position], int(fr.Positions()))
			}
			return nil
		}
		end, err := seg.Recover(check)
		if err != nil {
			require.True(t, errors.Is(err, segment.ErrCorrupt) || errors.Is(err, segment.ErrFormat), "%v", err)
		} else {
			require.LessOrEqual(t, end.Position, uint64(44))
		}
		sc := seg.Scan(segment.HeadBytes, int64(len(b)))
		var fr segment.Frame
		for {
			err := sc.Next(&fr)
			if errors.Is(err, segment.ErrCorrupt) {
				err = sc.Resync()
				if err == nil {
					continue
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.NoError(t, check(&fr))
		}
	})
}

// FuzzManifest feeds the manifest decoder: what it accepts is written again as it was.
func FuzzManifest(f *testing.F) {
	fs := vfs.NewMem()
	require.NoError(f, fs.MkdirAll("log", 0o700))
	require.NoError(f, segment.WriteManifest(fs, "log", &segment.Manifest{LogID: testID, Number: 3, Segments: []segment.Ref{
		{LogID: testID, Name: segment.Name{Position: 0, Generation: 1}, EndPosition: 10, EndByte: 1000},
	}}))
	seed, err := segment.ReadFile(fs, "log/MANIFEST")
	require.NoError(f, err)
	f.Add(seed)
	f.Add([]byte("StrataMf"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewMem()
		require.NoError(t, fs.MkdirAll("log", 0o700))
		require.NoError(t, segment.WriteFile(fs, "log", segment.ManifestName, b))
		m, err := segment.ReadManifest(fs, "log")
		if err != nil {
			require.True(t, errors.Is(err, segment.ErrCorrupt) || errors.Is(err, segment.ErrFormat), "%v", err)
			return
		}
		require.NoError(t, segment.WriteManifest(fs, "log", m))
		again, err := segment.ReadFile(fs, "log/MANIFEST")
		require.NoError(t, err)
		require.Len(t, again, len(b))
	})
}
