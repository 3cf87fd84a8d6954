package osfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
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

// TestMap reads a file through its mapping, which follows what is written, and past the end of a file that was
// cut short: a fault that can be caught.
func TestMap(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := osfs.Default.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, 3<<16), 0)
	require.NoError(t, err)
	m := f.(interface {
		Map(n int64) ([]byte, func() error, error)
		Populate(b []byte)
	})
	_, _, err = m.Map(0)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	b, unmap, err := m.Map(3 << 16)
	if errors.Is(err, errors.ErrUnsupported) {
		require.NotEqual(t, "linux", runtime.GOOS)
		m.Populate(nil)
		require.NoError(t, f.Close())
		return
	}
	require.NoError(t, err)
	m.Populate(b[100:70_000])
	m.Populate(nil)
	_, err = f.WriteAt([]byte("here"), 100_000)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "here", string(b[100_000:100_004]))
	require.NoError(t, os.Truncate(name, 1<<16))
	m.Populate(b) // which the system refuses
	func() {
		before := debug.SetPanicOnFault(true)
		defer debug.SetPanicOnFault(before)
		defer func() { require.NotNil(t, recover()) }()
		copy(make([]byte, 10), b[100_000:])
	}()
	require.NoError(t, unmap())
}
