package log_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/segment"
)

// fill appends n records of size bytes to topic, one a commit, and returns their values.
func fill(t testing.TB, l *log.Log, topic string, partitions, n, size int) []string {
	t.Helper()
	tp, err := l.CreateTopic(ctx, topic, log.TopicOptions{Partitions: partitions})
	require.NoError(t, err)
	var out []string
	for i := range n {
		v := fmt.Sprintf("%s %d %s", topic, i, strings.Repeat("x", size))
		_, err := tp.Append(ctx, log.Record{Key: fmt.Append(nil, i%13), Value: []byte(v)})
		require.NoError(t, err)
		out = append(out, v)
	}
	return out
}

// tree returns the names, sizes and times of all files below dir.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.Walk(dir, func(p string, i os.FileInfo, err error) error {
		if err == nil {
			out[p] = fmt.Sprint(i.Size(), i.ModTime(), i.Mode())
		}
		return err
	}))
	return out
}

func TestReadOnlyWritesNothing(t *testing.T) {
	dir := t.TempDir() + "/data"
	l := open(t, nil, dir, log.Options{SegmentBytes: 64 << 10})
	want := fill(t, l, "a", 3, 300, 700)
	require.NoError(t, l.Close())
	require.NoError(t, os.Remove(dir+"/LOCK"))
	require.NoError(t, os.WriteFile(dir+"/log/prepared-1.new", []byte("left behind"), 0o600))
	for _, d := range []string{dir + "/log", dir} {
		require.NoError(t, os.Chmod(d, 0o500))
		t.Cleanup(func() { _ = os.Chmod(d, 0o700) })
	}
	before := tree(t, dir)
	r := open(t, nil, dir, log.Options{ReadOnly: true})
	require.Equal(t, want, values(t, r, "a"))
	_, err := r.CreateTopic(ctx, "b", log.TopicOptions{})
	require.ErrorIs(t, err, log.ErrReadOnly)
	require.ErrorIs(t, r.DeleteTopic(ctx, "a"), log.ErrReadOnly)
	require.ErrorIs(t, r.Sync(ctx), log.ErrReadOnly)
	tp, err := r.Topic("a")
	require.NoError(t, err)
	_, err = tp.Append(ctx, log.Record{Value: []byte("no")})
	require.ErrorIs(t, err, log.ErrReadOnly)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	require.Equal(t, before, tree(t, dir))

	_, err = log.Open(dir+"/none", log.Options{ReadOnly: true})
	require.ErrorIs(t, err, log.ErrNoLog)
	_, err = log.Open(t.TempDir(), log.Options{ReadOnly: true})
	require.ErrorIs(t, err, log.ErrNoLog)
}

func TestReadOnlyBesideWriter(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"mem": vfs.NewMem(), "os": nil} {
		t.Run(name, func(t *testing.T) {
			dir := "data"
			if fs == nil {
				dir = t.TempDir()
			}
			l := open(t, fs, dir, log.Options{SegmentBytes: 64 << 10})
			want := fill(t, l, "a", 2, 5, 10)
			r := open(t, fs, dir, log.Options{ReadOnly: true, SegmentBytes: 64 << 10})
			follow, stop := context.WithTimeout(ctx, 20*time.Second)
			defer stop()
			got := make(chan string, 10000)
			done := make(chan error, 1)
			go func() {
				tp, err := r.Topic("a")
				if err != nil {
					done <- err
					return
				}
				for rec, err := range tp.Follow(follow, log.Oldest) {
					if err != nil {
						done <- err
						return
					}
					got <- string(rec.Value)
				}
			}()
			// Rolls over several segments, then rests: the last commit is shown by the idle mark.
			want = append(want, fill(t, l, "a", 2, 400, 900)...)
			acked := time.Now()
			for i := range want {
				require.Equal(t, want[i], <-got)
			}
			assert.Less(t, time.Since(acked), 2*time.Second)
			require.Greater(t, r.Metrics().Segments, int64(3))

			// A new topic is seen, and a deleted one gone.
			other := fill(t, l, "b", 1, 3, 10)
			require.Eventually(t, func() bool {
				tp, err := r.Topic("b")
				return err == nil && tp.Partition(0).Next() == 3
			}, 5*time.Second, time.Millisecond)
			require.Equal(t, other, values(t, r, "b"))
			require.NoError(t, l.DeleteTopic(ctx, "b"))
			require.Eventually(t, func() bool {
				_, err := r.Topic("b")
				return errors.Is(err, log.ErrNoTopic)
			}, 5*time.Second, time.Millisecond)
			require.Eventually(t, func() bool { return l.Position() == r.Position() }, 5*time.Second, time.Millisecond)

			// The next opening of the writer is followed as well.
			require.NoError(t, l.Close())
			l = open(t, fs, dir, log.Options{SegmentBytes: 64 << 10})
			for _, v := range fill(t, l, "a", 2, 100, 900) {
				require.Equal(t, v, <-got)
			}
			require.NoError(t, r.Close())
			require.ErrorIs(t, <-done, log.ErrClosed)
			require.NoError(t, l.Close())
		})
	}
}

func TestReadOnlyShowsOnlySynced(t *testing.T) {
	fs := vfs.NewMem()
	clk := clock.NewManual(time.Unix(1e9, 0))
	l := open(t, fs, "data", log.Options{Durability: log.Written, SyncInterval: -1, Clock: clk})
	tp, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	for i := range 3 {
		_, err := tp.Append(ctx, log.Record{Value: fmt.Append(nil, i)})
		require.NoError(t, err)
	}
	r := open(t, fs, "data", log.Options{ReadOnly: true})
	rt, err := r.Topic("a")
	require.NoError(t, err)
	count := func(o log.ReadOptions) (n int) {
		for _, err := range rt.Read(log.Oldest, o) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	require.Equal(t, 0, count(log.ReadOptions{}))
	require.Equal(t, 3, count(log.ReadOptions{Unsynced: true}))
	for range rt.Partition(0).Read(log.Oldest) {
		t.Fatal("an unsynced record was shown")
	}
	require.NoError(t, l.Sync(ctx))
	_, err = tp.Append(ctx, log.Record{Value: []byte("3")}) // says in its head what is durable
	require.NoError(t, err)
	require.Eventually(t, func() bool { return rt.Partition(0).Next() == 3 }, 5*time.Second, time.Millisecond)
	require.Equal(t, 3, count(log.ReadOptions{}))
	require.Equal(t, 4, count(log.ReadOptions{Unsynced: true}))
	require.NoError(t, l.Close())
	require.Eventually(t, func() bool { return rt.Partition(0).Next() == 4 }, 5*time.Second, time.Millisecond)
	require.NoError(t, r.Close())
}

// TestReadOnlyChildWriter is also the writer that TestReadOnlyOtherProcess starts.
func TestReadOnlyChildWriter(t *testing.T) {
	dir := os.Getenv("STRATA_TEST_WRITER")
	if dir == "" {
		_, err := log.Open("", log.Options{ReadOnly: true})
		require.ErrorIs(t, err, log.ErrName)
		return
	}
	l := open(t, nil, dir, log.Options{})
	tp, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		_, err := tp.Append(ctx, log.Record{Value: in.Bytes()})
		require.NoError(t, err)
		fmt.Println("acked", in.Text())
	}
	require.NoError(t, l.Close())
}

func TestReadOnlyOtherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestReadOnlyChildWriter$")
	cmd.Env = append(os.Environ(), "STRATA_TEST_WRITER="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "ready", lines.Text())

	_, err = log.Open(dir, log.Options{})
	require.ErrorIs(t, err, log.ErrLocked)
	r := open(t, nil, dir, log.Options{ReadOnly: true})
	tp, err := r.Topic("a")
	require.NoError(t, err)
	var slowest time.Duration
	for i := range 10 {
		_, err := fmt.Fprintln(in, i)
		require.NoError(t, err)
		require.True(t, lines.Scan())
		require.Equal(t, fmt.Sprint("acked ", i), lines.Text())
		acked := time.Now()
		for range 2000 {
			if tp.Partition(0).Next() == int64(i+1) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		slowest = max(slowest, time.Since(acked))
		rec, err := tp.Partition(0).Get(int64(i))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), string(rec.Value))
	}
	t.Log("slowest from acknowledgement to sight:", slowest)
	assert.Less(t, slowest, time.Second) // 200 ms on a machine at rest

	// What a killed writer leaves is shown when its lock is gone.
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.NoError(t, r.Close())
	r = open(t, nil, dir, log.Options{ReadOnly: true})
	require.Len(t, values(t, r, "a"), 10)
	require.NoError(t, r.Close())
}

func TestReadOnlyUncleanEnd(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l := open(t, fs, "data", log.Options{Durability: log.Written, SyncInterval: -1})
	want := fill(t, l, "a", 1, 5, 10)
	killed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))})
	require.NoError(t, l.Close())
	r := open(t, killed, "data", log.Options{ReadOnly: true})
	got := values(t, r, "a")
	require.NoError(t, r.Close())
	require.Equal(t, want[:len(got)], got)
	l = open(t, killed, "data", log.Options{})
	require.Equal(t, got, values(t, l, "a"))
	require.NoError(t, l.Close())
}

var quiet = slog.New(slog.DiscardHandler)

// flip inverts one bit of a file.
func flip(t testing.TB, fs vfs.FS, path string, at int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// intact reads a topic past damage: its records, and what was told in between.
func intact(t testing.TB, l *log.Log, topic string) (got []string, damage []error) {
	t.Helper()
	tp, err := l.Topic(topic)
	require.NoError(t, err)
	for r, err := range tp.Read(log.Oldest) {
		if err != nil {
			damage = append(damage, err)
			require.Less(t, len(damage), 100, "the same damage again and again: %v", err)
			continue
		}
		got = append(got, string(r.Value))
	}
	return got, damage
}

func TestReadOnlyPastDamage(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{})
	want := fill(t, l, "a", 2, 6, 40)
	require.NoError(t, l.Close())
	name := segment.Name{}.String()
	path := fs.PathJoin("data", "log", name)
	info, err := fs.Stat(path)
	require.NoError(t, err)
	for at := int64(0); at < info.Size(); at++ {
		flip(t, fs, path, at)
		_, werr := log.Open("data", log.Options{FS: fs})
		require.ErrorIs(t, werr, log.ErrCorrupt, "byte %d", at)
		r, err := log.Open("data", log.Options{FS: fs, ReadOnly: true, Logger: quiet})
		if errors.Is(err, log.ErrFormat) {
			require.NoError(t, err)
		}
		require.NoError(t, err, "byte %d", at)
		if _, err := r.Topic("a"); err == nil {
			got, damage := intact(t, r, "a")
			require.GreaterOrEqual(t, len(got), len(want)-1, "byte %d", at)
			if len(got) < len(want) {
				require.Len(t, damage, 1, "byte %d", at)
				var c *log.CorruptError
				require.ErrorAs(t, damage[0], &c)
				require.Equal(t, name, c.File)
				require.LessOrEqual(t, c.Byte, at)
			}
			for _, v := range got {
				require.Contains(t, want, v)
			}
		}
		require.NoError(t, r.Close())
		flip(t, fs, path, at)
	}
}
