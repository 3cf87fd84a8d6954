package handles_test

import (
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/handles"
)

// TestCloseAll closes what was left open, once, and gives the lock back.
func TestCloseAll(t *testing.T) {
	below := vfs.NewMem()
	fs := handles.New(below, func(error) { t.Error("given up") })
	f, err := fs.Create("file", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	closed, err := fs.Create("closed", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	lock, err := fs.Lock("LOCK")
	require.NoError(t, err)
	_, err = below.Lock("LOCK")
	require.Error(t, err)
	fs.CloseAll()
	require.NoError(t, f.Close(), "Pebble closes late")
	require.NoError(t, lock.Close())
	again, err := below.Lock("LOCK")
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.Equal(t, vfs.FS(below), fs.Unwrap())
}

// TestOpenedBehindCloseAll closes what a call opens that was under way.
func TestOpenedBehindCloseAll(t *testing.T) {
	below := vfs.NewMem()
	fs := handles.New(below, func(error) { t.Error("given up") })
	fs.CloseAll()
	lock, err := fs.Lock("LOCK")
	require.NoError(t, err)
	again, err := below.Lock("LOCK")
	require.NoError(t, err, "it was given back at once")
	require.NoError(t, lock.Close())
	require.NoError(t, again.Close())
}

// TestDirectoryIsNotSynced says why, and never goes on.
func TestDirectoryIsNotSynced(t *testing.T) {
	below := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync {
			return syscall.EIO
		}
		return nil
	}))
	told := make(chan error, 2)
	fs := handles.New(below, func(err error) { told <- err })
	f, err := fs.Create("file", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.ErrorIs(t, f.Sync(), syscall.EIO, "a file's is an error like others")
	require.Empty(t, told)
	dir, err := fs.OpenDir("")
	require.NoError(t, err)
	go func() {
		told <- dir.Sync()
	}()
	require.ErrorIs(t, <-told, syscall.EIO)
	fs.CloseAll()
	require.Empty(t, told)
}
