package crashfs_test

import (
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stretchr/testify/require"
)

// treeOf lists any vfs.FS by its own interface.
func treeOf(t *testing.T, fs vfs.FS, dir string) files {
	t.Helper()
	all := files{}
	names, err := fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		p := fs.PathJoin(dir, name)
		info, err := fs.Stat(p)
		require.NoError(t, err)
		if info.IsDir() {
			for k, v := range treeOf(t, fs, p) {
				all[k] = v
			}
			continue
		}
		f, err := fs.Open(p)
		require.NoError(t, err)
		data, err := io.ReadAll(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.EqualValues(t, len(data), info.Size())
		all[p] = string(data)
	}
	return all
}

// digests replaces bytes by a short name for them, so that a failure can be read.
func digests(all files) files {
	short := files{}
	for name, data := range all {
		short[name] = fmt.Sprintf("%d bytes, %08x", len(data), crc32.ChecksumIEEE([]byte(data)))
	}
	return short
}

// step does one random operation and says what it did and whether it failed. Renames stay
// within their directory, where the two file systems agree on what a sync of it means.
func step(fs vfs.FS, same func(a, b string) bool, rng *rand.Rand) (did string, failed bool) {
	dir := []string{"/", "/d", "/d/e"}[rng.IntN(3)]
	a, b := fs.PathJoin(dir, string(rune('p'+rng.IntN(4)))), fs.PathJoin(dir, string(rune('p'+rng.IntN(4))))
	data := make([]byte, rng.IntN(6000))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	off := rng.Int64N(9000)
	var err error
	withFile := func(open func() (vfs.File, error), do func(vfs.File) error) {
		var f vfs.File
		if f, err = open(); err == nil {
			err = do(f)
			if closeErr := f.Close(); err == nil {
				err = closeErr
			}
		}
	}
	readWrite := func() (vfs.File, error) { return fs.OpenReadWrite(a, vfs.WriteCategoryUnspecified) }
	switch kind := rng.IntN(12); kind {
	case 0:
		did = "create " + a
		withFile(func() (vfs.File, error) { return fs.Create(a, vfs.WriteCategoryUnspecified) }, func(f vfs.File) error {
			_, err := f.Write(data)
			return err
		})
	case 1, 2, 3:
		did = fmt.Sprintf("write %s [%d, %d)", a, off, off+int64(len(data)))
		withFile(readWrite, func(f vfs.File) error { _, err := f.WriteAt(data, off); return err })
	case 4, 5, 6:
		did = "sync " + a
		withFile(func() (vfs.File, error) { return fs.Open(a) }, vfs.File.Sync)
	case 7, 8:
		did = "sync " + dir
		withFile(func() (vfs.File, error) { return fs.OpenDir(dir) }, vfs.File.Sync)
	case 9:
		did, err = "remove "+a, fs.Remove(a)
	case 10:
		did, err = "link "+a+" "+b, fs.Link(a, b)
	default:
		// A rename between two names of one file does nothing on POSIX and here; MemFS takes
		// the old name away.
		if same(a, b) {
			return "", false
		}
		did, err = "rename "+a+" "+b, fs.Rename(a, b)
	}
	return did, err != nil
}

// TestAgainstMemFS does the same random operations on this file system and on the one
// that comes with vfs. What can be read is always the same, and so is what is left
// when nothing unsynced is. When everything is, the other one brings names back
// whose removal was not synced; those must be in our image of what is durable.
func TestAgainstMemFS(t *testing.T) {
	seeds := uint64(80)
	if testing.Short() {
		seeds = 25
	}
	for seed := range seeds {
		ours, theirs := crashfs.New(crashfs.Options{}), vfs.NewCrashableMem()
		for _, fs := range []vfs.FS{ours, theirs} {
			require.NoError(t, fs.MkdirAll("/d/e", 0o755))
			require.NoError(t, sync(t, fs, "/"))
			require.NoError(t, sync(t, fs, "/d"))
		}
		var history []string
		for i := range uint64(60) {
			// Both do what was true of the names before either moved.
			before := ours.Snapshot().Clone()
			did, failed := step(ours, before.SameFile, rand.New(rand.NewPCG(seed, i)))
			_, theyFailed := step(theirs, before.SameFile, rand.New(rand.NewPCG(seed, i)))
			history = append(history, did)
			where := fmt.Sprintf("seed %d: %q", seed, history)
			require.Equal(t, theyFailed, failed, where)
			if i%6 != 5 {
				continue
			}
			require.Equal(t, digests(treeOf(t, theirs, "/")), digests(tree(t, ours)), where)
			require.Equal(t, digests(tree(t, ours)), digests(treeOf(t, ours, "/")), where)

			snap := ours.Snapshot()
			none := digests(tree(t, snap.Image(crashfs.Cut{})))
			all := digests(tree(t, snap.Image(crashfs.Cut{Policy: crashfs.All})))
			require.Equal(t, digests(treeOf(t, theirs.CrashClone(vfs.CrashCloneCfg{}), "/")), none, where)
			require.Equal(t, digests(tree(t, ours)), all, where)
			everything := digests(treeOf(t, theirs.CrashClone(vfs.CrashCloneCfg{
				UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0)),
			}), "/"))
			for name, data := range everything {
				if ourData, ok := all[name]; ok {
					require.Equal(t, data, ourData, where)
				} else {
					require.Contains(t, none, name, where)
				}
			}
			for name := range all {
				require.Contains(t, everything, name, where)
			}
		}
		require.True(t, slices.ContainsFunc(history, func(s string) bool { return s != "" }))
	}
}
