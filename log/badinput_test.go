package log_test

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// opened returns a log with a topic "events" of two partitions that holds one record, to be closed
// by the test's cleanup.
func opened(t *testing.T, fs vfs.FS, o log.Options) (*log.Log, *log.Topic) {
	t.Helper()
	l := open(t, fs, "data", o)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 2})
	require.NoError(t, err)
	_, err = tp.Append(ctx, log.Record{Value: []byte("first")})
	require.NoError(t, err)
	return l, tp
}

func TestLimits(t *testing.T) {
	l, tp := opened(t, vfs.NewMem(), log.Options{MaxRecordBytes: 1000, MaxCommitBytes: 3000})
	var limit *log.LimitError

	_, err := tp.Append(ctx, log.Record{Value: make([]byte, 1000)})
	require.ErrorAs(t, err, &limit)
	require.ErrorIs(t, err, log.ErrLimit)
	require.Equal(t, "record", limit.What)
	require.Equal(t, int64(1000), limit.Limit)
	require.Greater(t, limit.Got, int64(1000))

	c := l.NewCommit()
	for range 4 {
		c.Append(tp, log.Record{Key: []byte("k"), Value: make([]byte, 900)})
	}
	_, err = c.Commit(ctx)
	require.ErrorAs(t, err, &limit)
	require.Equal(t, "commit", limit.What)

	_, err = l.NewCommit().Commit(ctx)
	require.ErrorIs(t, err, log.ErrEmpty)
	require.Equal(t, []string{"first"}, values(t, l, "events"), "nothing of it was stored")
}

func TestBadNamesAndPartitions(t *testing.T) {
	l, tp := opened(t, vfs.NewMem(), log.Options{})
	_, err := l.Topic("nowhere")
	var topic *log.TopicError
	require.ErrorAs(t, err, &topic)
	require.ErrorIs(t, err, log.ErrNoTopic)
	require.Equal(t, "nowhere", topic.Topic)

	for _, name := range []string{"", ".", "..", "a/b", "a b", "ä", "x\x00", strings.Repeat("x", 250), log.SystemPrefix + "mine"} {
		_, err := l.CreateTopic(ctx, name, log.TopicOptions{})
		var bad *log.NameError
		require.ErrorAs(t, err, &bad, name)
		require.ErrorIs(t, err, log.ErrName)
		require.NotEmpty(t, bad.Reason)
	}
	for _, i := range []int32{-1, 2, 1 << 30} {
		_, err := tp.Partition(i).Append(ctx, log.Record{})
		var partition *log.PartitionError
		require.ErrorAs(t, err, &partition)
		require.ErrorIs(t, err, log.ErrPartition)
		require.Equal(t, log.PartitionError{Topic: "events", Partition: i, Partitions: 2}, *partition)
		for _, err := range tp.Partition(i).Read(log.Oldest) {
			require.ErrorIs(t, err, log.ErrPartition)
		}
	}
	for _, n := range []int{-1, 1<<20 + 1} {
		_, err := l.CreateTopic(ctx, "many", log.TopicOptions{Partitions: n})
		require.ErrorIs(t, err, log.ErrOptions)
	}
	_, err = l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 3})
	var mismatch *log.MismatchError
	require.ErrorAs(t, err, &mismatch)
	require.ErrorIs(t, err, log.ErrMismatch)
	require.Equal(t, log.MismatchError{Name: "events", Field: "partitions", Have: "2", Want: "3"}, *mismatch)

	c := l.NewCommit()
	for _, info := range l.SystemTopics() {
		system, err := l.Topic(info.Name)
		require.NoError(t, err)
		c.Append(system, log.Record{})
		_, err = c.Commit(ctx)
		require.ErrorIs(t, err, log.ErrName)
	}

	_, err = tp.Partition(0).Get(-1)
	require.ErrorIs(t, err, log.ErrRange)
	_, err = tp.Partition(0).Get(5)
	require.ErrorIs(t, err, log.ErrRange)
	for _, err := range tp.Partition(0).Read(log.AtOffset(-4)) {
		require.ErrorIs(t, err, log.ErrOptions)
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []log.Options{
		{SegmentBytes: 100}, {MaxCommitBytes: -1}, {MaxRecordBytes: -1}, {Durability: 9}, {SegmentBytes: 1 << 20, MaxCommitBytes: 1 << 20},
	} {
		o.FS = vfs.NewMem()
		_, err := log.Open("data", o)
		require.ErrorIs(t, err, log.ErrOptions)
	}
	_, err := log.Open("data", log.Options{SegmentBytes: 1, Durability: 7})
	require.ErrorContains(t, err, "SegmentBytes")
	require.ErrorContains(t, err, "Durability")
	_, err = log.Open("", log.Options{})
	require.ErrorIs(t, err, log.ErrName)
}

func TestMustExist(t *testing.T) {
	dir := t.TempDir()
	_, err := log.Open(filepath.Join(dir, "a"), log.Options{MustExist: true})
	require.ErrorIs(t, err, log.ErrNoLog)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "nothing was made")
	l := open(t, nil, filepath.Join(dir, "a"), log.Options{})
	require.NoError(t, l.Close())
	l = open(t, nil, filepath.Join(dir, "a"), log.Options{MustExist: true})
	require.NoError(t, l.Close())
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l := open(t, nil, dir, log.Options{})
	require.NoError(t, l.Close())
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		require.NoError(t, err)
		switch {
		case info.IsDir():
			require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), path)
		case filepath.Base(path) != "LOCK": // empty, and made by the file system's Lock
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), path)
		}
		return nil
	}))
}

// TestSecondWriter opens a directory that is open already: by the same path, by another spelling, by a
// symlink, and from another process.
func TestSecondWriter(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("STRATA_SECOND_WRITER") != "" {
		_, err := log.Open(os.Getenv("STRATA_SECOND_WRITER"), log.Options{})
		if errors.Is(err, log.ErrLocked) {
			os.Exit(17)
		}
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	l := open(t, nil, data, log.Options{})
	require.NoError(t, os.Symlink(data, filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "self")))
	for _, path := range []string{data, data + "/", filepath.Join(dir, "x/../data"), filepath.Join(dir, "link"), dir + "/self/self/./data"} {
		_, err := log.Open(path, log.Options{})
		require.ErrorIs(t, err, log.ErrLocked, path)
	}
	if runtime.GOOS != "windows" {
		moved := filepath.Join(dir, "moved")
		require.NoError(t, os.Rename(data, moved))
		_, err := log.Open(moved, log.Options{})
		require.ErrorIs(t, err, log.ErrLocked, "a directory that was renamed while it is open")
		require.NoError(t, os.Rename(moved, data))
	}
	child := exec.Command(os.Args[0], "-test.run=^TestSecondWriter$")
	child.Env = append(os.Environ(), "STRATA_SECOND_WRITER="+data)
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", out)
	require.Equal(t, 17, exit.ExitCode(), "%s", out)
	require.NoError(t, l.Close())
	l = open(t, nil, filepath.Join(dir, "link"), log.Options{})
	require.NoError(t, l.Close())
}

// TestNoSpace fills the file system: commits are refused, reads and deletions go on, and when there is
// room again so do commits.
func TestNoSpace(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	l, tp := opened(t, fs, log.Options{SegmentBytes: 256 << 10})
	fs.SetSpace(fs.Used() + 700<<10)
	stored := 1
	var err error
	for range 1000 {
		if _, err = tp.Append(ctx, log.Record{Value: make([]byte, 4000)}); err != nil {
			break
		}
		stored++
	}
	require.ErrorIs(t, err, log.ErrNoSpace)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotErrorIs(t, err, log.ErrFailed)
	require.Positive(t, l.Metrics().NoSpace)
	require.Greater(t, stored, 50)
	require.Len(t, values(t, l, "events"), stored)
	for range 5 {
		_, err = tp.Append(ctx, log.Record{Value: make([]byte, 4000)})
		require.ErrorIs(t, err, log.ErrNoSpace)
	}
	for err = nil; err == nil; {
		_, err = tp.Append(ctx, log.Record{Value: []byte("small ones fit for longer")})
	}
	_, err = l.CreateTopic(ctx, "more", log.TopicOptions{})
	require.ErrorIs(t, err, log.ErrNoSpace)
	require.NoError(t, l.DeleteTopic(ctx, "events"), "deletions have room kept for them")

	fs.SetSpace(fs.Used() + 10<<20)
	tp, err = l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	for range 100 {
		_, err = tp.Append(ctx, log.Record{Value: make([]byte, 4000)})
		require.NoError(t, err)
	}
	require.Len(t, values(t, l, "events"), 100)
}

// TestDeletedTopic uses handles on a topic that was deleted, and commits that were half built: a typed
// error for each, nothing stored of the commit's other records, and the topic of the same name that was
// created since is left alone.
func TestDeletedTopic(t *testing.T) {
	l, old := opened(t, vfs.NewMem(), log.Options{})
	other, err := l.CreateTopic(ctx, "other", log.TopicOptions{})
	require.NoError(t, err)
	half := l.NewCommit()
	half.Append(other, log.Record{Value: []byte("with it")})
	half.Append(old, log.Record{Value: []byte("half built")})
	p := old.Partition(0)
	require.NoError(t, l.DeleteTopic(ctx, "events"))
	for _, again := range []bool{false, true} {
		if again {
			_, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 2})
			require.NoError(t, err)
		}
		refused := func(err error) {
			t.Helper()
			var topic *log.TopicError
			require.ErrorAs(t, err, &topic)
			require.ErrorIs(t, err, log.ErrNoTopic)
			require.Equal(t, "events", topic.Topic)
		}
		_, err := half.Commit(ctx)
		refused(err)
		_, err = half.CommitAsync(ctx).Wait(ctx)
		refused(err)
		fresh := l.NewCommit()
		fresh.Append(old, log.Record{Value: []byte("v")})
		_, err = fresh.Commit(ctx)
		refused(err)
		_, err = old.Append(ctx, log.Record{Value: []byte("v")})
		refused(err)
		_, err = p.Append(ctx, log.Record{Value: []byte("v")})
		refused(err)
		_, err = p.Get(0)
		refused(err)
		_, err = l.WaitBytes(ctx, 1, []log.PartitionOffset{{Partition: p}})
		refused(err)
		for _, read := range []iter.Seq2[log.Record, error]{p.Read(log.Oldest), old.Read(log.Oldest), p.Follow(ctx, log.Oldest), old.Follow(ctx, log.Oldest)} {
			n := 0
			for _, err := range read {
				refused(err)
				n++
			}
			require.Equal(t, 1, n, "the error is the last pair")
		}
		if again {
			require.Empty(t, values(t, l, "events"))
		}
		require.Empty(t, values(t, l, "other"))
	}
}

// TestReadOnlyFileSystem opens for writing what cannot be written.
func TestReadOnlyFileSystem(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	l := open(t, fs, "data", log.Options{})
	require.NoError(t, l.Close())
	fs.SetReadOnly(true)
	_, err := log.Open("data", log.Options{FS: fs})
	require.ErrorIs(t, err, syscall.EROFS)
	fs.SetReadOnly(false)
	denied := fs.Inject(crashfs.Fault{Match: crashfs.Mutating, Sticky: true, Err: syscall.EACCES})
	_, err = log.Open("data", log.Options{FS: fs})
	require.ErrorIs(t, err, syscall.EACCES)
	require.NotErrorIs(t, err, log.ErrCorrupt)
	denied.Remove()
	l = open(t, fs, "data", log.Options{})
	require.NoError(t, l.Close())
}

// TestBadSegments opens a directory of which a file is not what it should be: a typed error that names
// it, and no file changed.
func TestBadSegments(t *testing.T) {
	mem := vfs.NewMem()
	l := open(t, mem, "data", log.Options{SegmentBytes: 64 << 10})
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	for range 60 {
		_, err := tp.Append(ctx, log.Record{Value: make([]byte, 4000)})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	segs, err := filepathGlob(mem, "data/log", ".seg")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(segs), 3)
	first, middle, last := segs[0], segs[1], segs[len(segs)-1]
	random := make([]byte, 5000)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(random)

	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, fs *vfs.MemFS)
		open   error // what Open says; nil means that only reading finds it
		file   string
		check  string
	}{
		{"random last", func(t *testing.T, fs *vfs.MemFS) { put(t, fs, "data/log/"+last, random) }, log.ErrCorrupt, last, "magic"},
		{"empty last", func(t *testing.T, fs *vfs.MemFS) { put(t, fs, "data/log/"+last, nil) }, log.ErrCorrupt, last, "length"},
		{"missing last", func(t *testing.T, fs *vfs.MemFS) { require.NoError(t, fs.Remove("data/log/"+last)) }, log.ErrCorrupt, segs[len(segs)-2], "successor"},
		{"missing before the last", func(t *testing.T, fs *vfs.MemFS) {
			require.NoError(t, fs.Remove("data/log/"+segs[len(segs)-2]))
		}, log.ErrCorrupt, last, "predecessor"},
		{"all missing", func(t *testing.T, fs *vfs.MemFS) {
			for _, s := range segs {
				require.NoError(t, fs.Remove("data/log/"+s))
			}
		}, log.ErrCorrupt, "ID", "missing"},
		{"newer version", func(t *testing.T, fs *vfs.MemFS) {
			b := get(t, fs, "data/log/"+last)
			binary.LittleEndian.PutUint32(b[8:], 2)
			binary.LittleEndian.PutUint64(b[504:], xxhash.Sum64(b[:504]))
			put(t, fs, "data/log/"+last, b)
		}, log.ErrFormat, last, ""},
		{"random middle", func(t *testing.T, fs *vfs.MemFS) { put(t, fs, "data/log/"+middle, random) }, nil, middle, ""},
		{"empty middle", func(t *testing.T, fs *vfs.MemFS) { put(t, fs, "data/log/"+middle, nil) }, nil, middle, ""},
		{"missing middle", func(t *testing.T, fs *vfs.MemFS) { require.NoError(t, fs.Remove("data/log/"+middle)) }, nil, "", ""},
		{"missing first", func(t *testing.T, fs *vfs.MemFS) { require.NoError(t, fs.Remove("data/log/"+first)) }, log.ErrCorrupt, middle, "predecessor"},
		{"swapped", func(t *testing.T, fs *vfs.MemFS) {
			a, b := get(t, fs, "data/log/"+first), get(t, fs, "data/log/"+middle)
			put(t, fs, "data/log/"+first, b)
			put(t, fs, "data/log/"+middle, a)
		}, nil, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := vfs.NewMem()
			_, err := vfs.Clone(mem, fs, "data", "data")
			require.NoError(t, err)
			tc.damage(t, fs)
			before := dump(t, fs)
			l, err := log.Open("data", log.Options{FS: fs})
			if tc.open != nil {
				require.ErrorIs(t, err, tc.open)
				var c *log.CorruptError
				if errors.As(err, &c) {
					require.Equal(t, tc.file, c.File)
					require.Equal(t, tc.check, c.Check)
				}
				require.Equal(t, before, dump(t, fs), "nothing is changed")
				return
			}
			require.NoError(t, err)
			tp, err := l.Topic("events")
			require.NoError(t, err)
			damaged, intact := 0, 0
			for r, err := range tp.Read(log.Oldest) {
				if err == nil {
					intact++
					require.Len(t, r.Value, 4000)
					continue
				}
				require.ErrorIs(t, err, log.ErrCorrupt)
				damaged++
			}
			require.Positive(t, damaged)
			require.Less(t, intact, 60)
			require.NoError(t, l.Close())
		})
	}
}

func filepathGlob(fs vfs.FS, dir, ext string) ([]string, error) {
	names, err := fs.List(dir)
	var out []string
	for _, n := range names {
		if strings.HasSuffix(n, ext) {
			out = append(out, n)
		}
	}
	return sorted(out), err
}

func get(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	b := make([]byte, info.Size())
	if len(b) > 0 {
		_, err = f.ReadAt(b, 0)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	return b
}

func put(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(append([]byte(nil), b...))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// dump returns what the log's files hold.
func dump(t *testing.T, fs vfs.FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, dir := range []string{"data", "data/log"} {
		names, err := fs.List(dir)
		require.NoError(t, err)
		for _, n := range names {
			if path := dir + "/" + n; path != "data/log" && path != "data/state" {
				out[path] = string(get(t, fs, path))
			}
		}
	}
	return out
}

func TestCancelled(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	l, tp := opened(t, fs, log.Options{})
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := tp.Append(ended, log.Record{})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, log.ErrUnknown, "nothing was begun")

	// Another caller's sync hangs; ours is sequenced behind it, and its context ends.
	hang, hanging := make(chan struct{}), make(chan struct{}, 10)
	goOn := sync.OnceFunc(func() { close(hang) })
	defer goOn() // the log could not be closed after a failure
	fs.SetGate(func(op crashfs.Op) {
		hanging <- struct{}{}
		<-hang
	})
	first := make(chan error, 1)
	go func() {
		_, err := tp.Append(ctx, log.Record{Value: []byte("hung")})
		first <- err
	}()
	<-hanging
	waiting, cancel := context.WithCancel(ctx)
	second := make(chan error, 1)
	before := l.Metrics().Commits
	go func() {
		_, err := tp.Append(waiting, log.Record{Value: []byte("given up")})
		second <- err
	}()
	for l.Metrics().Commits == before {
	}
	cancel()
	err = <-second
	var unknown *log.UnknownError
	require.ErrorAs(t, err, &unknown)
	require.ErrorIs(t, err, log.ErrUnknown)
	require.ErrorIs(t, err, context.Canceled)
	require.Positive(t, l.Metrics().SyncAge)
	require.Equal(t, []string{"first"}, values(t, l, "events"), "reading goes on, and shows what is synced")
	goOn()
	require.NoError(t, <-first)
	require.NoError(t, l.Sync(ctx))
	require.Equal(t, []string{"first", "given up", "hung"}, sorted(values(t, l, "events")))
}
