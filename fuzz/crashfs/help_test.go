package crashfs_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stretchr/testify/require"
)

// create makes a file with the given bytes, unsynced.
func create(t testing.TB, fs vfs.FS, name, data string) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write([]byte(data))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// writeAt writes into a file that may exist, unsynced.
func writeAt(t testing.TB, fs vfs.FS, name string, off int64, data string) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(data), off)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// sync syncs a file or a directory and returns what that said.
func sync(t testing.TB, fs vfs.FS, name string) error {
	t.Helper()
	f, err := fs.Open(name)
	require.NoError(t, err)
	err = f.Sync()
	require.NoError(t, f.Close())
	return err
}

// durable makes a file that is synced with its name.
func durable(t testing.TB, fs vfs.FS, name, data string) {
	t.Helper()
	create(t, fs, name, data)
	require.NoError(t, sync(t, fs, name))
	require.NoError(t, sync(t, fs, fs.PathDir(name)))
}

// tree returns all files of a file system and their bytes.
func tree(t testing.TB, fs *crashfs.FS) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range fs.Files() {
		data, err := fs.ReadFile(name)
		require.NoError(t, err)
		files[name] = string(data)
	}
	return files
}

func image(t testing.TB, fs *crashfs.FS, c crashfs.Cut) map[string]string {
	t.Helper()
	return tree(t, fs.Snapshot().Image(c))
}

func fill(b byte, n int) string { return strings.Repeat(string(b), n) }

// isOf reports whether all bytes of s are b.
func isOf(s string, b byte) bool { return len(bytes.Trim([]byte(s), string(b))) == 0 }

type files = map[string]string
