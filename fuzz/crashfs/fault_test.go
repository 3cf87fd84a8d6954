package crashfs_test

import (
	"errors"
	"io"
	iofs "io/fs"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requirePathError checks kind, path and cause of an error.
func requirePathError(t testing.TB, err error, kind crashfs.OpKind, path string, cause error) {
	t.Helper()
	var pe *iofs.PathError
	require.ErrorAs(t, err, &pe)
	assert.Equal(t, kind.String(), pe.Op)
	assert.Equal(t, path, pe.Path)
	require.ErrorIs(t, err, cause)
}

// TestFaultOnEveryKind fails one operation of each kind, before and after its effect.
func TestFaultOnEveryKind(t *testing.T) {
	open := func(t *testing.T, fs *crashfs.FS) vfs.File {
		f, err := fs.OpenReadWrite("f", vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		return f
	}
	exists := func(name string) func(*crashfs.FS) bool {
		return func(fs *crashfs.FS) bool { _, err := fs.Stat(name); return err == nil }
	}
	missing := func(name string) func(*crashfs.FS) bool {
		return func(fs *crashfs.FS) bool { _, err := fs.Stat(name); return errors.Is(err, iofs.ErrNotExist) }
	}
	onFile := func(do func(vfs.File) error) func(*testing.T, *crashfs.FS) error {
		return func(t *testing.T, fs *crashfs.FS) error {
			f := open(t, fs)
			defer func() { require.NoError(t, f.Close()) }()
			return do(f)
		}
	}
	for _, tc := range []struct {
		kind crashfs.OpKind
		path string
		do   func(*testing.T, *crashfs.FS) error
		done func(*crashfs.FS) bool // nil: there is no effect to see
	}{
		{crashfs.OpCreate, "/n", func(_ *testing.T, fs *crashfs.FS) error { _, err := fs.Create("n", ""); return err }, exists("n")},
		{crashfs.OpMkdir, "/n", func(_ *testing.T, fs *crashfs.FS) error { return fs.MkdirAll("n", 0) }, exists("n")},
		{crashfs.OpLink, "/f", func(_ *testing.T, fs *crashfs.FS) error { return fs.Link("f", "n") }, exists("n")},
		{crashfs.OpRemove, "/f", func(_ *testing.T, fs *crashfs.FS) error { return fs.Remove("f") }, missing("f")},
		{crashfs.OpRename, "/f", func(_ *testing.T, fs *crashfs.FS) error { return fs.Rename("f", "n") }, exists("n")},
		{crashfs.OpWrite, "/f", onFile(func(f vfs.File) error {
			n, err := f.WriteAt([]byte("xyz"), 10)
			if n != 0 {
				return errors.New("a write that failed reported bytes")
			}
			return err
		}), func(fs *crashfs.FS) bool { data, _ := fs.ReadFile("f"); return len(data) == 13 }},
		{crashfs.OpPreallocate, "/f", onFile(func(f vfs.File) error { return f.Preallocate(0, 100) }),
			func(fs *crashfs.FS) bool { return fs.Used() == 100 }},
		{crashfs.OpSync, "/f", onFile(vfs.File.Sync), func(fs *crashfs.FS) bool { return len(fs.Snapshot().Unsynced()) == 0 }},
		{crashfs.OpSyncData, "/f", onFile(vfs.File.SyncData), func(fs *crashfs.FS) bool { return len(fs.Snapshot().Unsynced()) == 0 }},
		{crashfs.OpSyncTo, "/f", onFile(func(f vfs.File) error { _, err := f.SyncTo(1); return err }), nil},
		{crashfs.OpSyncDir, "/", func(t *testing.T, fs *crashfs.FS) error { return sync(t, fs, "/") }, nil},
		{crashfs.OpOpen, "/f", func(_ *testing.T, fs *crashfs.FS) error { _, err := fs.Open("f"); return err }, nil},
		{crashfs.OpOpenDir, "/", func(_ *testing.T, fs *crashfs.FS) error { _, err := fs.OpenDir("/"); return err }, nil},
		{crashfs.OpRead, "/f", onFile(func(f vfs.File) error { _, err := f.ReadAt(make([]byte, 1), 0); return err }), nil},
		{crashfs.OpList, "/", func(_ *testing.T, fs *crashfs.FS) error { _, err := fs.List("/"); return err }, nil},
		{crashfs.OpStat, "/f", func(_ *testing.T, fs *crashfs.FS) error { _, err := fs.Stat("f"); return err }, nil},
		{crashfs.OpDiskUsage, "/", func(_ *testing.T, fs *crashfs.FS) error { _, err := fs.GetDiskUsage("/"); return err }, nil},
		{crashfs.OpLock, "/f", func(_ *testing.T, fs *crashfs.FS) error { _, err := fs.Lock("f"); return err }, nil},
		{crashfs.OpUnlock, "/g", func(t *testing.T, fs *crashfs.FS) error {
			l, err := fs.Lock("g")
			require.NoError(t, err)
			return l.Close()
		}, nil},
		{crashfs.OpClose, "/f", func(t *testing.T, fs *crashfs.FS) error {
			f, err := fs.Open("f")
			require.NoError(t, err)
			return f.Close()
		}, nil},
	} {
		for _, after := range []bool{false, true} {
			name := tc.kind.String() + " before"
			if after {
				name = tc.kind.String() + " after"
			}
			t.Run(name, func(t *testing.T) {
				fs := crashfs.New(crashfs.Options{})
				durable(t, fs, "f", "")
				create(t, fs, "g", "")
				require.NoError(t, sync(t, fs, "/"))
				if tc.kind == crashfs.OpSync || tc.kind == crashfs.OpSyncData {
					writeAt(t, fs, "f", 0, "dirty")
				}
				if tc.kind == crashfs.OpRead {
					writeAt(t, fs, "f", 0, "readable")
				}
				in := fs.Inject(crashfs.Fault{Match: crashfs.On(tc.kind), After: after, Err: syscall.EACCES})
				requirePathError(t, tc.do(t, fs), tc.kind, tc.path, syscall.EACCES)
				assert.Equal(t, 1, in.Fired())
				assert.Empty(t, fs.OpenHandles(), "a failed open leaks nothing")
				fs.Heal()
				if tc.done != nil {
					assert.Equal(t, after, tc.done(fs))
				}
				// The fault was for once, so that a second try ends like any other.
				_, err := fs.List("/")
				require.NoError(t, err)
			})
		}
	}
}

func TestFaultAtNthOperation(t *testing.T) {
	run := func(fs *crashfs.FS) (failed []int) {
		for i := range 6 {
			if err := fs.MkdirAll("d"+string(rune('0'+i)), 0); err != nil {
				failed = append(failed, i)
			}
		}
		return failed
	}
	for _, tc := range []struct {
		name   string
		fault  crashfs.Fault
		failed []int
		fired  int
	}{
		{"zero value is the first", crashfs.Fault{}, []int{0}, 1},
		{"third", crashfs.Fault{At: 3}, []int{2}, 1},
		{"from the third on", crashfs.Fault{At: 3, Sticky: true}, []int{2, 3, 4, 5}, 4},
		{"beyond the end", crashfs.Fault{At: 7}, nil, 0},
		{"by path", crashfs.Fault{Match: crashfs.OnPath("d[34]"), At: 2}, []int{4}, 1},
		{"by path and kind", crashfs.Fault{Match: crashfs.OnPath("d*", crashfs.OpWrite)}, nil, 0},
		{"mutating", crashfs.Fault{Match: crashfs.Mutating, At: 2}, []int{1}, 1},
		{"by number", crashfs.Fault{Match: func(op crashfs.Op) bool { return op.N == 5 }}, []int{4}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := crashfs.New(crashfs.Options{})
			in := fs.Inject(tc.fault)
			assert.Equal(t, tc.failed, run(fs))
			assert.Equal(t, tc.fired, in.Fired())
			in.Remove()
			in.Remove()
			assert.NoError(t, fs.MkdirAll("healed", 0))
		})
	}
}

func TestFaultsTogether(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	first := fs.Inject(crashfs.Fault{At: 2, Err: syscall.ENOSPC})
	second := fs.Inject(crashfs.Fault{At: 2, Sticky: true, Err: syscall.EMFILE})
	require.NoError(t, fs.MkdirAll("1", 0))
	require.ErrorIs(t, fs.MkdirAll("2", 0), syscall.ENOSPC)
	require.ErrorIs(t, fs.MkdirAll("3", 0), syscall.EMFILE)
	assert.Equal(t, 3, first.Matched())
	assert.Equal(t, []int{1, 1}, []int{first.Fired(), second.Fired()})
}

func TestShortWritesAndReads(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bytes int
		err   error
		want  int
	}{
		{"some, with an error", 2, syscall.EIO, 2},
		{"some, without", 2, nil, 2},
		{"none", 0, syscall.ENOSPC, 0},
		{"negative", -1, nil, 0},
		{"more than asked for", 9, nil, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := crashfs.New(crashfs.Options{})
			f, err := fs.Create("f", "")
			require.NoError(t, err)
			fs.Inject(crashfs.Fault{Short: true, Bytes: tc.bytes, Err: tc.err})
			n, err := f.Write([]byte("abcd"))
			assert.Equal(t, tc.want, n)
			require.ErrorIs(t, err, tc.err)
			n, err = f.Write([]byte("EF"))
			require.NoError(t, err)
			assert.Equal(t, 2, n)
			data, err := fs.ReadFile("f")
			require.NoError(t, err)
			assert.Equal(t, "abcd"[:tc.want]+"EF", string(data), "the next write goes where this one ended")

			fs.Inject(crashfs.Fault{Match: crashfs.On(crashfs.OpRead), Short: true, Bytes: 1, Err: tc.err})
			buf := make([]byte, 2)
			n, err = f.ReadAt(buf, 0)
			assert.Equal(t, 1, n)
			require.ErrorIs(t, err, tc.err)
			n, err = f.ReadAt(buf, 0)
			require.NoError(t, err)
			assert.Equal(t, 2, n)
			require.NoError(t, f.Close())
		})
	}
}

// TestSyncModes writes "new" over a durable "old", has the sync go wrong, and looks at
// what can be read, what a power cut leaves, and what an honest sync then changes.
func TestSyncModes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault crashfs.Fault
		err   error // of the faulty sync
		// What is seen after it, what the disk has after it, the same after one more
		// sync, and what is seen after eviction.
		seen, disk, synced, evicted string
	}{
		{"honest", crashfs.Fault{At: 99}, nil, "new", "new", "new", "new"},
		{"error", crashfs.Fault{Match: crashfs.On(crashfs.OpSync)}, syscall.EIO, "new", "old", "new", "new"},
		{"error after the effect", crashfs.Fault{Match: crashfs.On(crashfs.OpSync), After: true}, syscall.EIO, "new", "new", "new", "new"},
		{"drop", crashfs.Fault{Sync: crashfs.Drop}, syscall.EIO, "new", "old", "old", "old"},
		{"drop with another error", crashfs.Fault{Sync: crashfs.Drop, Err: syscall.ENOSPC}, syscall.ENOSPC, "new", "old", "old", "old"},
		{"revert", crashfs.Fault{Sync: crashfs.Revert}, syscall.EIO, "old", "old", "old", "old"},
		{"lie", crashfs.Fault{Sync: crashfs.Lie}, nil, "new", "old", "new", "new"},
	} {
		t.Run("file/"+tc.name, func(t *testing.T) {
			fs := crashfs.New(crashfs.Options{})
			durable(t, fs, "f", "old")
			writeAt(t, fs, "f", 0, "new")
			fs.Inject(tc.fault)
			err := sync(t, fs, "f")
			require.ErrorIs(t, err, tc.err)
			assert.Equal(t, files{"/f": tc.seen}, tree(t, fs))
			assert.Equal(t, files{"/f": tc.disk}, image(t, fs, crashfs.Cut{}))
			require.NoError(t, sync(t, fs, "f"))
			assert.Equal(t, files{"/f": tc.synced}, image(t, fs, crashfs.Cut{}))
			assert.Equal(t, files{"/f": tc.synced}, image(t, fs, crashfs.Cut{Policy: crashfs.All}))
			killed := fs.Kill()
			assert.Equal(t, files{"/f": tc.seen}, tree(t, killed), "the cache outlives the process")
			killed.Evict()
			assert.Equal(t, files{"/f": tc.evicted}, tree(t, killed))
		})
		t.Run("directory/"+tc.name, func(t *testing.T) {
			fs := crashfs.New(crashfs.Options{})
			durable(t, fs, "old", "")
			require.NoError(t, fs.Rename("old", "new"))
			if tc.fault.Match != nil {
				tc.fault.Match = crashfs.On(crashfs.OpSyncDir)
			}
			fs.Inject(tc.fault)
			require.ErrorIs(t, sync(t, fs, "/"), tc.err)
			assert.Equal(t, files{"/" + tc.seen: ""}, tree(t, fs))
			assert.Equal(t, files{"/" + tc.disk: ""}, image(t, fs, crashfs.Cut{}))
			require.NoError(t, sync(t, fs, "/"))
			assert.Equal(t, files{"/" + tc.synced: ""}, image(t, fs, crashfs.Cut{}))
			killed := fs.Kill()
			assert.Equal(t, files{"/" + tc.seen: ""}, tree(t, killed))
			killed.Evict()
			assert.Equal(t, files{"/" + tc.evicted: ""}, tree(t, killed))
		})
	}
}

func TestDroppedBytesWrittenAgain(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "f", "oldold")
	writeAt(t, fs, "f", 0, "newnew")
	fs.Inject(crashfs.Fault{Sync: crashfs.Drop})
	require.ErrorIs(t, sync(t, fs, "f"), syscall.EIO)
	writeAt(t, fs, "f", 0, "NEW")
	assert.Equal(t, files{"/f": "NEWnew"}, tree(t, fs))
	require.NoError(t, sync(t, fs, "f"))
	assert.Equal(t, files{"/f": "NEWold"}, image(t, fs, crashfs.Cut{Policy: crashfs.All}))
	writeAt(t, fs, "f", 3, "N")
	fs.Evict()
	assert.Equal(t, files{"/f": "NEWNld"}, tree(t, fs), "dirty bytes are not evicted")
	assert.Equal(t, files{"/f": "NEWold"}, image(t, fs, crashfs.Cut{}))
	writeAt(t, fs, "f", 4, "EW")
	require.NoError(t, sync(t, fs, "f"))
	assert.Equal(t, files{"/f": "NEWNEW"}, image(t, fs, crashfs.Cut{}))
}

func TestSyncModeByPathAndNumber(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	fs.Inject(crashfs.Fault{Match: crashfs.OnPath("*.seg", crashfs.OpSync), At: 2, Sync: crashfs.Lie})
	for _, name := range []string{"a.seg", "b.idx", "c.seg", "d.seg"} {
		create(t, fs, name, "x")
		require.NoError(t, sync(t, fs, name))
	}
	require.NoError(t, sync(t, fs, "/"))
	assert.Equal(t, files{"/a.seg": "x", "/b.idx": "x", "/c.seg": "", "/d.seg": "x"}, image(t, fs, crashfs.Cut{}))
}

func TestSyncTo(t *testing.T) {
	for _, full := range []bool{false, true} {
		fs := crashfs.New(crashfs.Options{FullSyncTo: full})
		durable(t, fs, "f", "")
		writeAt(t, fs, "f", 0, "data")
		f, err := fs.Open("f")
		require.NoError(t, err)
		got, err := f.SyncTo(4)
		require.NoError(t, err)
		assert.Equal(t, full, got)
		require.NoError(t, f.Close())
		want := ""
		if full {
			want = "data"
		}
		assert.Equal(t, files{"/f": want}, image(t, fs, crashfs.Cut{}))
		dir, err := fs.OpenDir("/")
		require.NoError(t, err)
		got, err = dir.SyncTo(4)
		require.NoError(t, err)
		assert.False(t, got)
		require.NoError(t, dir.Close())
	}
}

func TestReadAtTheEnd(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	create(t, fs, "f", "abc")
	f, err := fs.Open("f")
	require.NoError(t, err)
	buf := make([]byte, 4)
	n, err := f.ReadAt(buf, 1)
	assert.Equal(t, 2, n)
	assert.Equal(t, io.EOF, err)
	n, err = f.ReadAt(buf, 3)
	assert.Zero(t, n)
	assert.Equal(t, io.EOF, err)
	n, err = f.Read(buf)
	assert.Equal(t, 3, n)
	require.NoError(t, err)
	_, err = f.Read(buf)
	assert.Equal(t, io.EOF, err)
	_, err = f.ReadAt(buf, -1)
	requirePathError(t, err, crashfs.OpRead, "/f", syscall.EINVAL)
	require.NoError(t, f.Close())
}
