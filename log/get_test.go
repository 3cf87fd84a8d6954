package log_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/osfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// eachFS runs a test on files that are read and on files that are mapped.
func eachFS(t *testing.T, test func(t *testing.T, fs vfs.FS, dir string)) {
	t.Run("read", func(t *testing.T) { test(t, vfs.NewMem(), "data") })
	t.Run("mapped", func(t *testing.T) { test(t, osfs.Default, filepath.Join(t.TempDir(), "data")) })
}

// variety appends commits of many shapes to topics "plain" and "packed" of three partitions each.
func variety(t *testing.T, l *log.Log) (topics []*log.Topic) {
	t.Helper()
	for name, codec := range map[string]record.Codec{"plain": record.None, "packed": record.Zstd} {
		tp, err := l.CreateTopic(ctx, name, log.TopicOptions{Partitions: 3, Compression: codec})
		require.NoError(t, err)
		topics = append(topics, tp)
	}
	n := 0
	for round := range 40 {
		c := l.NewCommit()
		for k := range 1 + round*7%23 {
			for i, tp := range topics {
				r := log.Record{Value: bytes.Repeat([]byte{byte(n)}, n*n%3000)}
				switch n % 5 {
				case 1:
					r.Key = fmt.Append(nil, "key ", n)
				case 2:
					r.Value = nil
				case 3:
					r.Headers = []log.Header{{Key: "a", Value: fmt.Append(nil, n)}, {Key: "b"}}
				}
				c.AppendTo(tp.Partition(int32(k+i)%3), r)
				n++
			}
		}
		_, err := c.Commit(ctx)
		require.NoError(t, err)
	}
	return topics
}

// TestGet holds point reads to what a loop shows, when a frame is met and when it is remembered, in sealed
// segments and in the active one. What Get returns is the caller's.
func TestGet(t *testing.T) {
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		l := open(t, fs, dir, log.Options{SegmentBytes: 256 << 10})
		var all []log.Record
		var at []*log.Partition
		for _, tp := range variety(t, l) {
			for i := range int32(3) {
				for r, err := range tp.Partition(i).Read(log.Oldest) {
					require.NoError(t, err)
					all, at = append(all, r.Clone()), append(at, tp.Partition(i))
				}
			}
		}
		require.Greater(t, l.Metrics().Segments, int64(2))
		var into log.Record
		var buf []byte
		for range 3 {
			for i := range all {
				r, err := at[i].Get(all[i].Offset)
				require.NoError(t, err)
				require.Equal(t, all[i], r)
				buf, err = at[i].GetInto(all[i].Offset, &into, buf)
				require.NoError(t, err)
				require.Equal(t, all[i], into)
				for j := range r.Value {
					r.Value[j] = 0xee
				}
			}
		}
		_, err := at[0].Get(at[0].Next())
		require.ErrorIs(t, err, log.ErrRange)
		require.NoError(t, l.Close())
		_, err = at[0].Get(0)
		require.ErrorIs(t, err, log.ErrClosed)
	})
}

// TestGetMany holds point reads of many offsets to what a loop shows, in orders that rise, fall and jump, and ends
// where it is told to.
func TestGetMany(t *testing.T) {
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		l := open(t, fs, dir, log.Options{SegmentBytes: 256 << 10})
		rng := rand.New(rand.NewPCG(1, 2))
		for _, tp := range variety(t, l) {
			p := tp.Partition(1)
			var all []log.Record
			var rising []int64
			for r, err := range p.Read(log.Oldest) {
				require.NoError(t, err)
				all, rising = append(all, r.Clone()), append(rising, r.Offset)
			}
			falling := slices.Clone(rising)
			slices.Reverse(falling)
			var some []int64
			for range 200 {
				some = append(some, rng.Int64N(p.Next()))
			}
			for range 3 { // met, remembered, mapped
				for _, offsets := range [][]int64{rising, falling, some, {7, 7, 8, 8, 3}, nil} {
					var got []int64
					require.NoError(t, p.GetMany(offsets, func(r *log.Record) bool {
						require.Equal(t, all[r.Offset], *r)
						got = append(got, r.Offset)
						inner := int64(-1) // somebody else's read inside of this one
						require.NoError(t, p.GetMany(offsets[:1], func(r *log.Record) bool { inner = r.Offset; return true }))
						require.Equal(t, offsets[0], inner)
						require.Equal(t, all[r.Offset], *r)
						return true
					}))
					require.Equal(t, offsets, got)
				}
			}
			n := 0
			require.NoError(t, p.GetMany(rising, func(*log.Record) bool { n++; return n < 4 }))
			require.Equal(t, 4, n)
			for _, wrong := range []int64{-1, p.Next()} {
				n = 0
				err := p.GetMany([]int64{3, wrong, 4}, func(*log.Record) bool { n++; return true })
				var outside *log.RangeError
				require.ErrorAs(t, err, &outside)
				require.Equal(t, []int64{1, wrong, p.Next()}, []int64{int64(n), outside.Offset, outside.Next})
			}
		}
		p, err := l.Topic("plain")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		require.ErrorIs(t, p.Partition(0).GetMany([]int64{0}, func(*log.Record) bool { return true }), log.ErrClosed)
	})
}

// TestGetConcurrently reads at random while the log is appended to, and then while it is closed.
func TestGetConcurrently(t *testing.T) {
	l := open(t, osfs.Default, filepath.Join(t.TempDir(), "data"), log.Options{SegmentBytes: 256 << 10, Durability: log.Written})
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	p := tp.Partition(0)
	var g sync.WaitGroup
	for reader := range int64(3) {
		g.Go(func() {
			for i := reader; ; i += 7 {
				next := p.Next()
				if next == 0 {
					continue
				}
				r, err := p.Get(i % next)
				if err != nil {
					require.ErrorIs(t, err, log.ErrClosed)
					return
				}
				require.Equal(t, fmt.Sprint(i%next), string(r.Value[:len(r.Value)-900]))
			}
		})
	}
	n := 0
	for range 60 {
		c := l.NewCommit()
		for range 20 {
			c.AppendTo(p, log.Record{Value: append(fmt.Append(nil, n), make([]byte, 900)...)})
			n++
		}
		_, err := c.Commit(ctx)
		require.NoError(t, err)
	}
	require.NoError(t, l.Sync(ctx))
	require.NoError(t, l.Close())
	g.Wait()
}

// twenty appends a commit of twenty records of 1,000 bytes a hundred times, and returns the first segment's
// path.
func twenty(t *testing.T, l *log.Log, fs vfs.FS) (*log.Partition, string) {
	t.Helper()
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	p := tp.Partition(0)
	for i := range 100 {
		c := l.NewCommit()
		for range 20 {
			c.AppendTo(p, log.Record{Value: bytes.Repeat([]byte{byte(i + 1)}, 1000)})
		}
		_, err := c.Commit(ctx)
		require.NoError(t, err)
	}
	segs, err := filepathGlob(fs, fs.PathJoin(l.Dir(), "log"), ".seg")
	require.NoError(t, err)
	return p, fs.PathJoin(l.Dir(), "log", segs[0])
}

// TestGetOfDamage damages a record after its frame was checked: it is never returned. The others of its frame
// are, until that is noticed.
func TestGetOfDamage(t *testing.T) {
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		l := open(t, fs, dir, log.Options{SegmentBytes: 1 << 20})
		defer func() { require.NoError(t, l.Close()) }()
		p, path := twenty(t, l, fs)
		for range 40 { // until it is mapped
			_, err := p.Get(45)
			require.NoError(t, err)
		}
		// Offset 50 is the eleventh record of the third commit; all its bytes are 3.
		b := get(t, fs, path)
		first := bytes.Index(b, bytes.Repeat([]byte{3}, 1000))
		require.Positive(t, first)
		at := int64(first + 10*1008 + 500)
		require.Equal(t, byte(3), b[at])
		poke(t, fs, path, at, 9)
		for _, offset := range []int64{45, 59} {
			r, err := p.Get(offset)
			require.NoError(t, err)
			require.Equal(t, bytes.Repeat([]byte{3}, 1000), r.Value)
		}
		var damage *log.CorruptError
		for _, offset := range []int64{50, 50, 45} {
			_, err := p.Get(offset)
			require.ErrorAs(t, err, &damage)
			require.Equal(t, "body", damage.Check)
		}
		var got []int64
		err := p.GetMany([]int64{5, 70, 50, 90}, func(r *log.Record) bool { got = append(got, r.Offset); return true })
		require.ErrorAs(t, err, &damage)
		require.Equal(t, []int64{5, 70}, got)
		poke(t, fs, path, at, 3)
		_, err = p.Get(50)
		require.NoError(t, err)
	})
}

func poke(t *testing.T, fs vfs.FS, path string, at int64, c byte) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{c}, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// TestGetOfFileCutShort cuts a mapped file short under its readers: what was there is a memory fault, which
// must come out as an error, as if the file were read.
func TestGetOfFileCutShort(t *testing.T) {
	l := open(t, osfs.Default, filepath.Join(t.TempDir(), "data"), log.Options{SegmentBytes: 1 << 20})
	defer func() { require.NoError(t, l.Close()) }()
	p, path := twenty(t, l, osfs.Default)
	for i := range int64(900) {
		_, err := p.Get(i)
		require.NoError(t, err)
	}
	if runtime.GOOS == "linux" {
		require.Positive(t, l.MappedFiles())
	}
	require.NoError(t, os.Truncate(path, 16<<10))
	_, err := p.Get(2)
	require.NoError(t, err)
	for range 3 {
		_, err = p.Get(700)
		require.ErrorIs(t, err, log.ErrCorrupt)
	}
}

// TestGetOfManyFiles reads from more files than may be mapped at once, in turn and by many at once: those that were not
// read for longest are unmapped, and every record comes out as it went in.
func TestGetOfManyFiles(t *testing.T) {
	l := open(t, osfs.Default, filepath.Join(t.TempDir(), "data"), log.Options{SegmentBytes: 64 << 10})
	defer func() { require.NoError(t, l.Close()) }()
	const most = 3
	l.SetMappable(most)
	p, _ := twenty(t, l, osfs.Default)
	segs, err := filepathGlob(osfs.Default, filepath.Join(l.Dir(), "log"), ".seg")
	require.NoError(t, err)
	require.Greater(t, len(segs), 3*most)
	var wg sync.WaitGroup
	for start := range int64(4) {
		wg.Go(func() {
			for round := range int64(60) {
				for offset := (start + round) % 20; offset < 2000; offset += 20 {
					r, err := p.Get(offset)
					if !assert.NoError(t, err) || !assert.Equal(t, bytes.Repeat([]byte{byte(offset/20 + 1)}, 1000), r.Value) {
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if runtime.GOOS == "linux" {
		require.Positive(t, l.MappedFiles())
		require.LessOrEqual(t, l.MappedFiles(), most+4, "each of four may be about to unmap one")
	}
}

// TestGetOfFileThatGrows reads what is appended behind the end of a mapping, which is made anew.
func TestGetOfFileThatGrows(t *testing.T) {
	l := open(t, osfs.Default, filepath.Join(t.TempDir(), "data"), log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	topic, err := l.CreateTopic(ctx, "grows", log.TopicOptions{})
	require.NoError(t, err)
	p := topic.Partition(0)
	for offset := range int64(600) {
		value := bytes.Repeat([]byte{byte(offset)}, 10<<10)
		_, err := p.Append(ctx, log.Record{Value: value})
		require.NoError(t, err)
		for _, at := range []int64{offset, offset / 2, offset / 2} {
			r, err := p.Get(at)
			require.NoError(t, err)
			require.Equal(t, byte(at), r.Value[len(r.Value)-1])
			require.Len(t, r.Value, 10<<10)
		}
	}
	segs, err := filepathGlob(osfs.Default, filepath.Join(l.Dir(), "log"), ".seg")
	require.NoError(t, err)
	if runtime.GOOS == "linux" {
		require.Positive(t, l.MappedFiles())
	}
	require.LessOrEqual(t, l.MappedFiles(), len(segs), "a mapping that was made anew counts once")
}

// TestGetOfFailingDisk: an error of reading is returned as it is, and nothing is forgotten by it.
func TestGetOfFailingDisk(t *testing.T) {
	errDisk := errors.New("disk")
	var failing atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind == errorfs.OpFileReadAt {
			return errDisk
		}
		return nil
	}))
	l := open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
	defer func() { require.NoError(t, l.Close()) }()
	p, _ := twenty(t, l, fs)
	_, err := p.Get(50)
	require.NoError(t, err)
	failing.Store(true)
	for _, offset := range []int64{50, 51, 700} {
		_, err = p.Get(offset)
		require.ErrorIs(t, err, errDisk)
	}
	failing.Store(false)
	for _, offset := range []int64{50, 51, 700} {
		r, err := p.Get(offset)
		require.NoError(t, err)
		require.Len(t, r.Value, 1000)
	}
}

// TestGetAllocates: a record of a frame that is remembered takes its own bytes and nothing else.
func TestGetAllocates(t *testing.T) {
	l := open(t, osfs.Default, filepath.Join(t.TempDir(), "data"), log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	p, _ := twenty(t, l, osfs.Default)
	for range 40 {
		_, err := p.Get(77)
		require.NoError(t, err)
	}
	before := l.Metrics().FramesRead
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		if _, err := p.Get(77); err != nil {
			panic(err)
		}
	}), 1.0)
	var r log.Record
	var buf []byte
	require.Zero(t, testing.AllocsPerRun(100, func() {
		var err error
		if buf, err = p.GetInto(77, &r, buf); err != nil || len(r.Value) != 1000 {
			panic(err)
		}
	}))
	require.Equal(t, before, l.Metrics().FramesRead)
}
