package osfs_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/osfs"
)

// TestFilesArePrivate checks the mode of new files, and that files that were there keep theirs.
func TestFilesArePrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIP: file modes mean nothing on Windows")
	}
	dir := t.TempDir()
	mode := func(name string) os.FileMode {
		info, err := os.Stat(name)
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	created, opened, old := filepath.Join(dir, "created"), filepath.Join(dir, "opened"), filepath.Join(dir, "old")
	f, err := osfs.Default.Create(created, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, os.FileMode(0o600), mode(created))
	f, err = osfs.Default.OpenReadWrite(opened, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, os.FileMode(0o600), mode(opened))

	require.NoError(t, os.WriteFile(old, nil, 0o640))
	require.NoError(t, os.Chmod(old, 0o640))
	f, err = osfs.Default.OpenReadWrite(old, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, os.FileMode(0o640), mode(old))
	_, err = osfs.Default.Create(filepath.Join(dir, "no", "such"), vfs.WriteCategoryUnspecified)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, vfs.Default, osfs.Default.Unwrap())
}
