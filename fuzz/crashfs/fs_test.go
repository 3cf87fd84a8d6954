package crashfs_test

import (
	iofs "io/fs"
	"strings"
	gosync "sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRefusals are operations that a disk in good health refuses.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(*crashfs.FS) error
		kind crashfs.OpKind
		path string
		err  error
	}{
		{"open nothing", func(fs *crashfs.FS) error { _, err := fs.Open("x"); return err }, crashfs.OpOpen, "/x", iofs.ErrNotExist},
		{"open below nothing", func(fs *crashfs.FS) error { _, err := fs.Open("x/y"); return err }, crashfs.OpOpen, "/x/y", iofs.ErrNotExist},
		{"open below a file", func(fs *crashfs.FS) error { _, err := fs.Open("f/y"); return err }, crashfs.OpOpen, "/f/y", syscall.ENOTDIR},
		{"create below nothing", func(fs *crashfs.FS) error { _, err := fs.Create("x/y", ""); return err }, crashfs.OpCreate, "/x/y", iofs.ErrNotExist},
		{"create over a directory", func(fs *crashfs.FS) error { _, err := fs.Create("d", ""); return err }, crashfs.OpCreate, "/d", syscall.EISDIR},
		{"create the root", func(fs *crashfs.FS) error { _, err := fs.Create("", ""); return err }, crashfs.OpCreate, "/", syscall.EISDIR},
		{"write a directory", func(fs *crashfs.FS) error { _, err := fs.OpenReadWrite("d", ""); return err }, crashfs.OpOpen, "/d", syscall.EISDIR},
		{"link nothing", func(fs *crashfs.FS) error { return fs.Link("x", "y") }, crashfs.OpLink, "/x", iofs.ErrNotExist},
		{"link over a file", func(fs *crashfs.FS) error { return fs.Link("f", "g") }, crashfs.OpLink, "/g", iofs.ErrExist},
		{"link a directory", func(fs *crashfs.FS) error { return fs.Link("d", "y") }, crashfs.OpLink, "/d", syscall.EPERM},
		{"remove nothing", func(fs *crashfs.FS) error { return fs.Remove("x") }, crashfs.OpRemove, "/x", iofs.ErrNotExist},
		{"remove a full directory", func(fs *crashfs.FS) error { return fs.Remove("d") }, crashfs.OpRemove, "/d", syscall.ENOTEMPTY},
		{"remove the root", func(fs *crashfs.FS) error { return fs.Remove("/") }, crashfs.OpRemove, "/", syscall.EINVAL},
		{"rename nothing", func(fs *crashfs.FS) error { return fs.Rename("x", "y") }, crashfs.OpRename, "/x", iofs.ErrNotExist},
		{"rename a file over a directory", func(fs *crashfs.FS) error { return fs.Rename("f", "d") }, crashfs.OpRename, "/f", syscall.EISDIR},
		{"rename a directory over a file", func(fs *crashfs.FS) error { return fs.Rename("d", "f") }, crashfs.OpRename, "/d", syscall.ENOTDIR},
		{"rename over a full directory", func(fs *crashfs.FS) error { return fs.Rename("e", "d") }, crashfs.OpRename, "/e", syscall.ENOTEMPTY},
		{"rename into itself", func(fs *crashfs.FS) error { return fs.Rename("d", "d/d") }, crashfs.OpRename, "/d", syscall.EINVAL},
		{"mkdir below a file", func(fs *crashfs.FS) error { return fs.MkdirAll("f/x", 0) }, crashfs.OpMkdir, "/f", syscall.ENOTDIR},
		{"list nothing", func(fs *crashfs.FS) error { _, err := fs.List("x"); return err }, crashfs.OpList, "/x", iofs.ErrNotExist},
		{"list a file", func(fs *crashfs.FS) error { _, err := fs.List("f"); return err }, crashfs.OpList, "/f", syscall.ENOTDIR},
		{"stat nothing", func(fs *crashfs.FS) error { _, err := fs.Stat("x"); return err }, crashfs.OpStat, "/x", iofs.ErrNotExist},
		{"usage of nothing", func(fs *crashfs.FS) error { _, err := fs.GetDiskUsage("x"); return err }, crashfs.OpDiskUsage, "/x", iofs.ErrNotExist},
		{"lock a directory", func(fs *crashfs.FS) error { _, err := fs.Lock("d"); return err }, crashfs.OpLock, "/d", syscall.EISDIR},
		{"lock below nothing", func(fs *crashfs.FS) error { _, err := fs.Lock("x/y"); return err }, crashfs.OpCreate, "/x/y", iofs.ErrNotExist},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := crashfs.New(crashfs.Options{})
			create(t, fs, "f", "F")
			create(t, fs, "g", "G")
			require.NoError(t, fs.MkdirAll("/d/sub", 0))
			require.NoError(t, fs.MkdirAll("e", 0))
			before := tree(t, fs)
			requirePathError(t, tc.do(fs), tc.kind, tc.path, tc.err)
			assert.Equal(t, before, tree(t, fs))
			assert.Empty(t, fs.OpenHandles())
		})
	}
}

func TestHandleModes(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	create(t, fs, "f", "bytes")
	r, err := fs.Open("f")
	require.NoError(t, err)
	_, err = r.WriteAt([]byte("x"), 0)
	requirePathError(t, err, crashfs.OpWrite, "/f", syscall.EBADF)
	requirePathError(t, r.Preallocate(0, 1), crashfs.OpPreallocate, "/f", syscall.EBADF)
	require.NoError(t, r.Sync(), "a reader may sync")
	require.NoError(t, r.Prefetch(0, 1))
	assert.Equal(t, vfs.InvalidFd, r.Fd())
	require.NoError(t, r.Close())
	requirePathError(t, r.Close(), crashfs.OpClose, "/f", iofs.ErrClosed)
	_, err = r.Read(make([]byte, 1))
	requirePathError(t, err, crashfs.OpRead, "/f", iofs.ErrClosed)
	requirePathError(t, r.Sync(), crashfs.OpSync, "/f", iofs.ErrClosed)
	_, err = r.SyncTo(1)
	requirePathError(t, err, crashfs.OpSyncTo, "/f", iofs.ErrClosed)
	_, err = r.Stat()
	requirePathError(t, err, crashfs.OpStat, "/f", iofs.ErrClosed)

	w, err := fs.Create("w", "")
	require.NoError(t, err)
	p := []byte("abc")
	_, err = w.WriteAt(p, 2)
	require.NoError(t, err)
	assert.Equal(t, "abc", string(p), "WriteAt leaves its bytes alone")
	_, err = w.WriteAt(p, -1)
	requirePathError(t, err, crashfs.OpWrite, "/w", syscall.EINVAL)
	requirePathError(t, w.Preallocate(0, 0), crashfs.OpPreallocate, "/w", syscall.EINVAL)
	require.NoError(t, w.Close())

	d, err := fs.OpenDir("/")
	require.NoError(t, err)
	_, err = d.Read(make([]byte, 1))
	requirePathError(t, err, crashfs.OpRead, "/", syscall.EISDIR)
	info, err := d.Stat()
	require.NoError(t, err)
	assert.True(t, info.IsDir() && info.Mode().IsDir())
	require.NoError(t, d.Close())
}

func TestCreateReplacesAndReuseKeeps(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	create(t, fs, "f", "old bytes")
	old, err := fs.Open("f")
	require.NoError(t, err)
	create(t, fs, "f", "new")
	buf := make([]byte, 9)
	_, err = old.ReadAt(buf, 0)
	require.NoError(t, err)
	assert.Equal(t, "old bytes", string(buf))
	require.NoError(t, old.Close())

	f, err := fs.ReuseForWrite("f", "g", "")
	require.NoError(t, err)
	_, err = f.Write([]byte("N"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	assert.Equal(t, files{"/g": "New"}, tree(t, fs))
	_, err = fs.ReuseForWrite("f", "g", "")
	require.ErrorIs(t, err, iofs.ErrNotExist)
}

func TestStat(t *testing.T) {
	at := time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)
	fs := crashfs.New(crashfs.Options{Now: func() time.Time { return at }})
	create(t, fs, "f", "12345")
	at = at.Add(time.Hour)
	writeAt(t, fs, "f", 9, "x")
	info, err := fs.Stat("./f")
	require.NoError(t, err)
	assert.Equal(t, "f", info.Name())
	assert.EqualValues(t, 10, info.Size())
	assert.Equal(t, at, info.ModTime())
	assert.False(t, info.IsDir())
	assert.True(t, info.Mode().IsRegular())
	assert.Equal(t, vfs.DeviceID{}, info.DeviceID())
	assert.Nil(t, info.Sys())
}

func TestWriteScramblesOnlyInRaceBuilds(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	f, err := fs.Create("f", "")
	require.NoError(t, err)
	p := []byte("abc")
	_, err = f.Write(p)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	assert.Equal(t, files{"/f": "abc"}, tree(t, fs))
	assert.Equal(t, crashfs.RaceEnabled, string(p) != "abc")
}

func TestRemoveAll(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	for _, name := range []string{"d/a", "d/e/b", "d/e/c"} {
		require.NoError(t, fs.MkdirAll(fs.PathDir(name), 0))
		create(t, fs, name, "x")
	}
	create(t, fs, "keep", "")
	fs.Inject(crashfs.Fault{Match: crashfs.OnPath("b", crashfs.OpRemove)})
	requirePathError(t, fs.RemoveAll("d"), crashfs.OpRemove, "/d/e/b", syscall.EIO)
	assert.Equal(t, files{"/d/e/b": "x", "/keep": ""}, tree(t, fs))
	require.NoError(t, fs.RemoveAll("d"))
	require.NoError(t, fs.RemoveAll("d"))
	require.NoError(t, fs.RemoveAll("no/such"))
	assert.Equal(t, files{"/keep": ""}, tree(t, fs))
	require.NoError(t, fs.RemoveAll("/"))
	assert.Empty(t, tree(t, fs))
	assert.Zero(t, fs.Used())
}

func TestLock(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	a, err := fs.Lock("LOCK")
	require.NoError(t, err)
	_, err = fs.Lock("./x/../LOCK")
	requirePathError(t, err, crashfs.OpLock, "/LOCK", syscall.EAGAIN)
	names, err := fs.List("/")
	require.NoError(t, err)
	assert.Equal(t, []string{"LOCK"}, names)
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	b, err := fs.Lock("LOCK")
	require.NoError(t, err)
	require.NoError(t, a.Close(), "the first holder has nothing to release any more")
	_, err = fs.Lock("LOCK")
	require.ErrorIs(t, err, syscall.EAGAIN)

	// Who removes the file lets another one in.
	require.NoError(t, fs.Remove("LOCK"))
	c, err := fs.Lock("LOCK")
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.NoError(t, c.Close())

	create(t, fs, "full", "bytes")
	d, err := fs.Lock("full")
	require.NoError(t, err)
	assert.Equal(t, "", tree(t, fs)["/full"])
	require.NoError(t, d.Close())
	assert.Empty(t, fs.OpenHandles())
}

func TestKill(t *testing.T) {
	fs := crashfs.New(crashfs.Options{Space: 100, Descriptors: 7})
	durable(t, fs, "f", "old")
	writeAt(t, fs, "f", 0, "NEW")
	create(t, fs, "g", "unsynced")
	held, err := fs.Lock("LOCK")
	require.NoError(t, err)
	f, err := fs.OpenReadWrite("f", "")
	require.NoError(t, err)
	fs.Inject(crashfs.Fault{Sticky: true})

	next := fs.Kill()
	fs.Heal()
	_, err = fs.Open("f")
	requirePathError(t, err, crashfs.OpOpen, "/f", crashfs.ErrKilled)
	_, err = f.WriteAt([]byte("late"), 0)
	requirePathError(t, err, crashfs.OpWrite, "/f", crashfs.ErrKilled)
	requirePathError(t, f.Sync(), crashfs.OpSync, "/f", crashfs.ErrKilled)
	require.NoError(t, f.Close())
	require.NoError(t, held.Close())

	assert.Equal(t, files{"/f": "NEW", "/g": "unsynced", "/LOCK": ""}, tree(t, next))
	assert.Equal(t, files{"/f": "old"}, image(t, next, crashfs.Cut{}), "a kill makes nothing durable")
	assert.Empty(t, next.OpenHandles())
	l, err := next.Lock("LOCK")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	assert.EqualValues(t, 11, next.Used())
	require.NoError(t, sync(t, next, "f"))
	require.NoError(t, sync(t, next, "g"))
	require.NoError(t, sync(t, next, "/"))
	assert.Equal(t, tree(t, next), image(t, next, crashfs.Cut{}))

	// Two clones of one snapshot go different ways from the same unsynced writes on.
	for range 3 {
		writeAt(t, next, "f", 3, "1") // so that there is room behind the last in memory
	}
	snap := next.Snapshot()
	a, b := snap.Clone(), snap.Clone()
	writeAt(t, a, "f", 4, "a")
	writeAt(t, b, "f", 4, "b")
	assert.Equal(t, "NEW1a", image(t, a, crashfs.Cut{Policy: crashfs.All})["/f"])
	assert.Equal(t, "NEW1b", image(t, b, crashfs.Cut{Policy: crashfs.All})["/f"])
	unsynced := a.Snapshot().Unsynced()
	require.Len(t, unsynced, 4)
	assert.EqualValues(t, 4, unsynced[3].Offset, "what a clone does comes after what it was given")
	assert.Equal(t, "NEW1", tree(t, snap.Image(crashfs.Cut{Policy: crashfs.All}))["/f"])
}

func TestKillFromHook(t *testing.T) {
	for _, after := range []bool{false, true} {
		fs := crashfs.New(crashfs.Options{})
		var next *crashfs.FS
		fs.SetHook(func(op crashfs.Op) {
			if op.N == 2 && op.After == after {
				next = fs.Kill()
			}
		})
		require.NoError(t, fs.MkdirAll("1", 0))
		err := fs.MkdirAll("2", 0)
		if !after {
			require.ErrorIs(t, err, crashfs.ErrKilled)
		} else {
			require.NoError(t, err)
		}
		require.ErrorIs(t, fs.MkdirAll("3", 0), crashfs.ErrKilled)
		names, err := next.List("/")
		require.NoError(t, err)
		if after {
			assert.Equal(t, []string{"1", "2"}, names)
		} else {
			assert.Equal(t, []string{"1"}, names)
		}
	}
}

func TestHook(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	var ops []string
	var sizes []int
	fs.SetHook(func(op crashfs.Op) {
		when := "before "
		if op.After {
			when = "after "
		}
		ops = append(ops, when+op.String())
		sizes = append(sizes, len(fs.Snapshot().Unsynced()))
		_, err := fs.List("/")
		assert.NoError(t, err, "a hook may read")
	})
	create(t, fs, "f", "abc")
	require.NoError(t, sync(t, fs, "f"))
	create(t, fs, "f", "")
	require.Error(t, fs.Remove("nothing"))
	fs.SetHook(nil)
	require.NoError(t, fs.Remove("f"))
	assert.Equal(t, []string{
		"before 1 create /f", "after 1 create /f",
		"before 2 write /f [0, 3)", "after 2 write /f [0, 3)",
		"before 3 sync /f", "after 3 sync /f",
		"before 4 remove /f", "after 4 remove /f",
		"before 5 create /f", "after 5 create /f",
		"before 6 write /f [0, 0)", "after 6 write /f [0, 0)",
		"before 7 remove /nothing", "after 7 remove /nothing: remove /nothing: file does not exist",
	}, ops)
	assert.Equal(t, []int{0, 1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 3, 3, 3}, sizes)
	assert.EqualValues(t, 8, fs.Ops())
}

// TestGate hangs a sync and shows that nothing else hangs with it.
func TestGate(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "f", "")
	writeAt(t, fs, "f", 0, "data")
	entered, release := make(chan crashfs.Op), make(chan struct{})
	fs.SetGate(func(op crashfs.Op) { entered <- op; <-release })
	done := make(chan error)
	f, err := fs.Open("f")
	require.NoError(t, err)
	go func() { done <- f.Sync() }()
	assert.Equal(t, crashfs.Op{Kind: crashfs.OpSync, Path: "/f"}, <-entered)
	create(t, fs, "g", "meanwhile")
	assert.Equal(t, files{"/f": ""}, image(t, fs, crashfs.Cut{}))
	close(release)
	require.NoError(t, <-done)
	fs.SetGate(nil)
	require.NoError(t, f.Close())
	assert.Equal(t, files{"/f": "data"}, image(t, fs, crashfs.Cut{}))
}

func TestBudgetOfSpace(t *testing.T) {
	fs := crashfs.New(crashfs.Options{Space: 10})
	f, err := fs.Create("f", "")
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("123456"), 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("abcdef"), 0)
	require.NoError(t, err, "writing over what is there takes nothing")
	require.NoError(t, f.Preallocate(4, 4))
	assert.EqualValues(t, 8, fs.Used())
	info, err := f.Stat()
	require.NoError(t, err)
	assert.EqualValues(t, 6, info.Size(), "preallocation keeps the size")
	requirePathError(t, f.Preallocate(8, 3), crashfs.OpPreallocate, "/f", syscall.ENOSPC)
	n, err := f.WriteAt([]byte("ghijkl"), 6)
	assert.Equal(t, 4, n, "what fits is written")
	requirePathError(t, err, crashfs.OpWrite, "/f", syscall.ENOSPC)
	assert.Equal(t, files{"/f": "abcdefghij"}, tree(t, fs))
	_, err = fs.Create("g", "")
	requirePathError(t, err, crashfs.OpCreate, "/g", syscall.ENOSPC)
	requirePathError(t, fs.MkdirAll("d", 0), crashfs.OpMkdir, "/d", syscall.ENOSPC)
	usage, err := fs.GetDiskUsage("/")
	require.NoError(t, err)
	assert.Equal(t, vfs.DiskUsage{TotalBytes: 10, UsedBytes: 10}, usage)
	_, err = f.WriteAt([]byte("XX"), 0)
	require.NoError(t, err)

	require.NoError(t, fs.Remove("f"))
	assert.EqualValues(t, 10, fs.Used(), "it is still open")
	require.NoError(t, f.Close())
	assert.Zero(t, fs.Used())
	create(t, fs, "g", "0123456789")
	require.NoError(t, fs.Link("g", "h"))
	require.NoError(t, fs.Remove("g"))
	assert.EqualValues(t, 10, fs.Used(), "it has another name")
	fs.SetSpace(20)
	create(t, fs, "i", "01234")
	require.NoError(t, fs.Rename("i", "h"))
	assert.EqualValues(t, 5, fs.Used(), "what was replaced is free")
	fs.SetSpace(0)
	usage, err = fs.GetDiskUsage("/")
	require.NoError(t, err)
	assert.Equal(t, vfs.DiskUsage{TotalBytes: 1 << 40, UsedBytes: 5, AvailBytes: 1<<40 - 5}, usage)
	assert.EqualValues(t, 5, fs.Snapshot().Image(crashfs.Cut{Policy: crashfs.All}).Used())
	assert.Zero(t, fs.Snapshot().Image(crashfs.Cut{}).Used())
}

func TestBudgetOfDescriptors(t *testing.T) {
	fs := crashfs.New(crashfs.Options{Descriptors: 2})
	create(t, fs, "f", "x")
	a, err := fs.Open("f")
	require.NoError(t, err)
	l, err := fs.Lock("LOCK")
	require.NoError(t, err)
	for _, tc := range []struct {
		kind crashfs.OpKind
		path string
		do   func() error
	}{
		{crashfs.OpOpen, "/f", func() error { _, err := fs.Open("f"); return err }},
		{crashfs.OpOpen, "/f", func() error { _, err := fs.OpenReadWrite("f", ""); return err }},
		{crashfs.OpOpenDir, "/", func() error { _, err := fs.OpenDir("/"); return err }},
		{crashfs.OpCreate, "/g", func() error { _, err := fs.Create("g", ""); return err }},
		{crashfs.OpCreate, "/f", func() error { _, err := fs.Create("f", ""); return err }},
		{crashfs.OpCreate, "/g", func() error { _, err := fs.OpenReadWrite("g", ""); return err }},
		{crashfs.OpCreate, "/L", func() error { _, err := fs.Lock("L"); return err }},
		{crashfs.OpList, "/", func() error { _, err := fs.List("/"); return err }},
	} {
		requirePathError(t, tc.do(), tc.kind, tc.path, syscall.EMFILE)
	}
	assert.Equal(t, files{"/f": "x", "/LOCK": ""}, tree(t, fs), "nothing was removed or made on the way")
	fs.SetDescriptors(3)
	create(t, fs, "g", "")
	require.NoError(t, a.Close())
	require.NoError(t, l.Close())
}

func TestReadOnly(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "f", "x")
	f, err := fs.OpenReadWrite("f", "")
	require.NoError(t, err)
	fs.SetReadOnly(true)
	before := fs.Snapshot().Unsynced()
	for _, do := range []func() error{
		func() error { _, err := fs.Create("f", ""); return err },
		func() error { _, err := fs.Create("g", ""); return err },
		func() error { _, err := fs.OpenReadWrite("f", ""); return err },
		func() error { _, err := fs.OpenReadWrite("g", ""); return err },
		func() error { _, err := fs.Lock("LOCK"); return err },
		func() error { return fs.Remove("f") },
		func() error { return fs.Rename("f", "g") },
		func() error { return fs.Link("f", "g") },
		func() error { return fs.MkdirAll("d", 0) },
		func() error { _, err := f.WriteAt([]byte("y"), 0); return err },
		func() error { return f.Preallocate(0, 1) },
	} {
		require.ErrorIs(t, do(), syscall.EROFS)
	}
	assert.Equal(t, before, fs.Snapshot().Unsynced())
	require.NoError(t, f.Sync(), "there is nothing to sync")
	require.NoError(t, fs.MkdirAll("/", 0))
	fs.SetReadOnly(false)
	_, err = f.WriteAt([]byte("y"), 0)
	require.NoError(t, err)
	fs.SetReadOnly(true)
	requirePathError(t, f.Sync(), crashfs.OpSync, "/f", syscall.EROFS)
	require.NoError(t, f.Close())
	assert.Equal(t, files{"/f": "x"}, image(t, fs, crashfs.Cut{}))
}

func TestAccounting(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	create(t, fs, "f", "x")
	f, err := fs.Open("f")
	require.NoError(t, err)
	l, err := fs.Lock("LOCK")
	require.NoError(t, err)
	open := fs.OpenHandles()
	require.Len(t, open, 2)
	assert.Equal(t, "/LOCK", open[0].Path)
	assert.Equal(t, crashfs.OpLock, open[0].Kind)
	assert.Equal(t, "/f", open[1].Path)
	first, _, _ := strings.Cut(open[1].Stack, "\n")
	assert.Contains(t, first, "TestAccounting", "the innermost call is who opened it")
	require.NoError(t, f.Close())
	require.NoError(t, l.Close())
	assert.Empty(t, fs.OpenHandles())

	create(t, fs, "g", "")
	require.NoError(t, fs.Rename("f", "g"))
	create(t, fs, "g", "")
	require.NoError(t, fs.MkdirAll("d", 0))
	require.NoError(t, fs.Remove("d"))
	assert.Equal(t, []crashfs.Removal{
		{N: 6, Path: "/g", By: crashfs.OpRename},
		{N: 7, Path: "/g", By: crashfs.OpRemove},
		{N: 11, Path: "/d", Dir: true, By: crashfs.OpRemove},
	}, fs.Removed())
	counts := fs.Counts()
	assert.EqualValues(t, 4, counts[crashfs.OpCreate])
	assert.EqualValues(t, 2, counts[crashfs.OpRemove])
	assert.EqualValues(t, 1, counts[crashfs.OpLock])
	assert.NotContains(t, counts, crashfs.OpSync)
}

func TestPlanting(t *testing.T) {
	fs := crashfs.New(crashfs.Options{Space: 1})
	fs.WriteFile("d/e/f", []byte("planted"))
	fs.WriteFile("g", []byte("x"))
	want := files{"/d/e/f": "planted", "/g": "x"}
	assert.Equal(t, want, tree(t, fs))
	assert.Equal(t, want, image(t, fs, crashfs.Cut{}))
	fs.WriteFile("d/e/f", nil)
	fs.DeleteFile("g")
	fs.DeleteFile("g")
	assert.Equal(t, files{"/d/e/f": ""}, image(t, fs, crashfs.Cut{}))
	fs.DeleteFile("d")
	assert.Empty(t, image(t, fs, crashfs.Cut{}))
	assert.Zero(t, fs.Used())
	assert.Zero(t, fs.Ops())

	fs = crashfs.New(crashfs.Options{})
	create(t, fs, "f", "x")
	fs.SyncAll()
	assert.Equal(t, files{"/f": "x"}, image(t, fs, crashfs.Cut{}))
	_, err := fs.ReadFile("none")
	requirePathError(t, err, crashfs.OpRead, "/none", iofs.ErrNotExist)
}

// TestSweep makes and removes many files beside one whose removal is not durable.
func TestSweep(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "keep", "kept")
	require.NoError(t, fs.MkdirAll("d", 0))
	require.NoError(t, fs.Remove("keep"))
	for i := range 5000 {
		create(t, fs, "d/f", "x")
		require.NoError(t, fs.Remove("d/f"))
		if i%100 == 0 {
			require.NoError(t, sync(t, fs, "d"))
		}
	}
	assert.Equal(t, files{"/keep": "kept"}, image(t, fs, crashfs.Cut{}))
	assert.Empty(t, image(t, fs, crashfs.Cut{Policy: crashfs.All}))
	assert.Less(t, fs.Inodes(), 3000)
}

// TestConcurrentUse is for the race detector: writers, readers and a snapshot taker.
func TestConcurrentUse(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	var images atomic.Int64
	var wg gosync.WaitGroup
	fs.SetHook(func(op crashfs.Op) {
		if op.After && op.N%7 == 0 {
			snap := fs.Snapshot()
			wg.Go(func() {
				img := snap.Image(crashfs.Cut{Policy: crashfs.Subset, Seed: uint64(op.N)})
				img.WriteFile("a", []byte("changes nothing elsewhere"))
				images.Add(1)
			})
		}
	})
	for _, name := range []string{"a", "b", "c"} {
		wg.Go(func() {
			for i := range 50 {
				f, err := fs.OpenReadWrite(name, "")
				if !assert.NoError(t, err) {
					return
				}
				_, err = f.WriteAt([]byte(name), int64(i))
				assert.NoError(t, err)
				assert.NoError(t, f.SyncData())
				buf := make([]byte, 1)
				_, err = f.ReadAt(buf, int64(i))
				assert.NoError(t, err)
				assert.Equal(t, name, string(buf))
				assert.NoError(t, f.Close())
				_, err = fs.List("/")
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	assert.NotZero(t, images.Load())
	assert.Equal(t, files{"/a": fill('a', 50), "/b": fill('b', 50), "/c": fill('c', 50)}, tree(t, fs))
}

func TestNamesOfThings(t *testing.T) {
	assert.Equal(t, "syncdir", crashfs.OpSyncDir.String())
	assert.Equal(t, "close", crashfs.OpClose.String())
	assert.Equal(t, "op(200)", crashfs.OpKind(200).String())
	assert.Equal(t, "3 rename /a -> /b", crashfs.Op{N: 3, Kind: crashfs.OpRename, Path: "/a", To: "/b"}.String())
	assert.Equal(t, "subset seed=7 block=512 keep=0.5 missing=mixed early-unlinks",
		crashfs.Cut{Policy: crashfs.Subset, Seed: 7, Block: 512, Missing: crashfs.Mixed, EarlyUnlinks: true}.String())
	assert.Equal(t, "torn seed=0 ops=2 bytes=9 missing=garbage overwrites",
		crashfs.Cut{Policy: crashfs.Torn, Ops: 2, Bytes: 9, Missing: crashfs.Garbage, Overwrites: true}.String())
	assert.Equal(t, "drop", crashfs.Drop.String())
	fs := crashfs.New(crashfs.Options{})
	assert.Equal(t, "b", fs.PathBase("/a/b"))
	assert.Equal(t, "/a", fs.PathDir("/a/b"))
	assert.Equal(t, "a/b", fs.PathJoin("a", "b"))
	assert.Nil(t, fs.Unwrap())
}
