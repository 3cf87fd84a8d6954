package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRun runs the program and checks that it tells of every line and leaves nothing behind.
func TestRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	require.NoError(t, run(context.Background(), &out, packageLog))
	require.Contains(t, out.String(), "2000")
	require.Contains(t, out.String(), "equal byte for byte")
	require.Contains(t, out.String(), "clean")
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestCompareDiffers shows that the comparison can fail: on other bytes, on a line too few or too many, and
// on lines in another order.
func TestCompareDiffers(t *testing.T) {
	text := []byte("a b c key 1\na b c key 2\nshort\n")
	dir := filepath.Join(t.TempDir(), "log")
	places, err := write(context.Background(), dir, text)
	require.NoError(t, err)
	require.Len(t, places, 3)
	require.Equal(t, places[0].partition, places[1].partition)
	require.Equal(t, []int64{0, 1}, []int64{places[0].offset, places[1].offset})

	require.NoError(t, compare(dir, text, places))
	require.ErrorContains(t, compare(dir, bytes.Replace(text, []byte("2"), []byte("3"), 1), places), "differs")
	require.ErrorContains(t, compare(dir, append(text, "more\n"...), places), "differs")
	require.ErrorContains(t, compare(dir, text, places[:2]), "never given")
	require.ErrorContains(t, compare(dir, text, []place{places[1], places[0], places[2]}), "out of order")
	require.ErrorContains(t, compare(dir, text, append(places, place{0, 99})), "not read back")
}
