package bench_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// grown makes a log of at least this many segments of segmentBytes each, the last of them as full
// whatever their number, and returns its directory, closed, and a copy as a process leaves it that
// was killed.
func grown(tb testing.TB, segments int, segmentBytes int64) (clean, killed string, records int64) {
	tb.Helper()
	const size = 1 << 10
	clean, killed = filepath.Join(tb.TempDir(), "clean"), filepath.Join(tb.TempDir(), "killed")
	o := unsynced(log.Written)
	o.SegmentBytes = segmentBytes
	l, err := log.Open(clean, o)
	require.NoError(tb, err)
	t, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(tb, err)
	p := t.Partition(0)
	w := newWriter(l, p, size, 100)
	for l.Metrics().Segments < int64(segments) {
		require.NoError(tb, w.commit())
	}
	for range segmentBytes / 2 / (size * 100) {
		require.NoError(tb, w.commit())
	}
	// Two syncs with a commit between them, so that all but the last bytes are proven to be durable
	// whether or not the log has had the time to add its end mark.
	require.NoError(tb, l.Sync(ctx))
	require.NoError(tb, w.commit())
	require.NoError(tb, l.Sync(ctx))
	copyLog(tb, clean, killed)
	require.NoError(tb, l.Close())
	return clean, killed, int64(w.next)
}

// copyLog copies the directory of a log. Sealed segments, which nothing ever writes to, are linked.
func copyLog(tb testing.TB, from, to string) {
	tb.Helper()
	segments, err := filepath.Glob(filepath.Join(from, "log", "*.seg"))
	require.NoError(tb, err)
	slices.Sort(segments)
	require.NoError(tb, filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case slices.Contains(segments, path) && path != segments[len(segments)-1]:
			return os.Link(path, target)
		}
		return copyFile(path, target)
	}))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	if err := out.Sync(); err != nil { // or the opening would sync it
		_ = out.Close()
		return err
	}
	return out.Close()
}

// timeOpen opens a copy of the log in dir and returns how long that took and how much the heap grew.
func timeOpen(tb testing.TB, dir string, records int64) (took time.Duration, heap int64) {
	tb.Helper()
	at := filepath.Join(tb.TempDir(), "log")
	copyLog(tb, dir, at)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	l, err := log.Open(at, log.Options{})
	took = time.Since(began)
	require.NoError(tb, err)
	runtime.ReadMemStats(&after)
	t, err := l.Topic("events")
	require.NoError(tb, err)
	require.Equal(tb, records, t.Partition(0).Next(), "all of it is there")
	require.NoError(tb, l.Close())
	require.NoError(tb, os.RemoveAll(at))
	return took, int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// damageSealed flips a bit in the middle of a sealed segment.
func damageSealed(tb testing.TB, dir string) {
	tb.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "log", "*.seg"))
	require.NoError(tb, err)
	slices.Sort(segments)
	path := segments[len(segments)/2]
	b, err := os.ReadFile(path)
	require.NoError(tb, err)
	b[len(b)/2] ^= 1
	require.NoError(tb, os.Remove(path)) // it is a link
	require.NoError(tb, os.WriteFile(path, b, 0o600))
	report, err := log.Verify(ctx, dir, log.VerifyOptions{})
	require.NoError(tb, err)
	require.NotEmpty(tb, report.Findings)
}

// TestOpenCost holds opening to the size of the last segment: a log of many segments opens as fast as
// one of few, after Close and after a kill, and in little memory.
func TestOpenCost(t *testing.T) {
	segmentBytes, many := int64(32<<20), 33 // 1 GiB and 100 MiB
	if testing.Short() {
		segmentBytes = 4 << 20
	}
	smallClean, smallKilled, smallRecords := grown(t, 3, segmentBytes)
	bigClean, bigKilled, bigRecords := grown(t, many, segmentBytes)
	require.Greater(t, bigRecords, 8*smallRecords)
	bigDamaged := filepath.Join(t.TempDir(), "damaged")
	copyLog(t, bigClean, bigDamaged)
	damageSealed(t, bigDamaged)
	for _, tc := range []struct{ name, small, big string }{
		{"after Close", smallClean, bigClean}, {"after a kill", smallKilled, bigKilled},
		{"with a damaged sealed segment", smallClean, bigDamaged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// Other work on the machine can fall on one of the two: it is enough when one round shows it.
			var told string
			for range 4 {
				var small, big []time.Duration
				for range 5 {
					took, _ := timeOpen(t, tc.small, smallRecords)
					small = append(small, took)
					took, heap := timeOpen(t, tc.big, bigRecords)
					big = append(big, took)
					require.Less(t, heap, int64(64<<20))
				}
				slices.Sort(small)
				slices.Sort(big)
				told = fmt.Sprintf("median of small %v, of big %v", small[2], big[2])
				if big[2] <= small[2]*3/2+2*time.Millisecond {
					t.Log(told)
					return
				}
			}
			t.Fatal(told)
		})
	}
}

// BenchmarkOpen is W8, of a log of 1 GiB, and of 10 GiB when STRATA_BENCH_GIB=10 is set.
func BenchmarkOpen(b *testing.B) {
	segments := max(scaled(8), 2)
	if os.Getenv("STRATA_BENCH_GIB") == "10" {
		segments = 80
	}
	clean, killed, records := grown(b, segments, 128<<20)
	for _, tc := range []struct{ name, dir string }{{"after=close", clean}, {"after=kill", killed}} {
		b.Run(fmt.Sprintf("%s/records=%d", tc.name, records), func(b *testing.B) {
			var all []time.Duration
			most := int64(0)
			for b.Loop() {
				took, heap := timeOpen(b, tc.dir, records)
				all, most = append(all, took), max(most, heap)
			}
			latencies(b, all)
			b.ReportMetric(float64(most)/(1<<20), "heap-MiB")
		})
	}
}
