package log_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestManyPartitions opens a log with 10,000 partitions, appends to each, reads each, and opens it
// again.
func TestManyPartitions(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 2000
	}
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
	tp, err := l.CreateTopic(ctx, "wide", log.TopicOptions{Partitions: n})
	require.NoError(t, err)
	for round := range 2 {
		for from := 0; from < n; from += 500 {
			c := l.NewCommit()
			for i := from; i < from+500; i++ {
				c.AppendTo(tp.Partition(int32(i)), log.Record{Value: fmt.Appendf(nil, "%d/%d", i, round)})
			}
			_, err := c.Commit(ctx)
			require.NoError(t, err)
		}
		for i := range n {
			p := tp.Partition(int32(i))
			require.Equal(t, int64(round+1), p.Next())
			seen := 0
			for r, err := range p.Read(log.Oldest) {
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("%d/%d", i, seen), string(r.Value))
				seen++
			}
			require.Equal(t, round+1, seen)
		}
		require.NoError(t, l.Close())
		l = open(t, fs, "data", log.Options{SegmentBytes: 1 << 20})
		tp, err = l.Topic("wide")
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
}

// TestOpenAppendClose does that 1,000 times: the log stays at two segments, and opening is not slower
// than three times what it is for a log that was appended to once. The two are opened in turn, so that
// what else the machine does meets both.
func TestOpenAppendClose(t *testing.T) {
	appendTo := func(dir string, rounds int) {
		for i := range rounds {
			l := open(t, nil, dir, log.Options{})
			tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
			require.NoError(t, err)
			_, err = tp.Append(ctx, log.Record{Value: fmt.Append(nil, i)})
			require.NoError(t, err)
			require.NoError(t, l.Close())
		}
	}
	once, often := filepath.Join(t.TempDir(), "once"), filepath.Join(t.TempDir(), "often")
	appendTo(once, 1)
	require.Less(t, diskUsage(t, once), int64(1<<20), "a log with one record is small")
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	appendTo(often, rounds)
	l := open(t, nil, often, log.Options{})
	require.Len(t, values(t, l, "events"), rounds)
	require.LessOrEqual(t, l.Metrics().Segments, int64(2))
	require.NoError(t, l.Close())

	took := map[string][]time.Duration{}
	for range 101 {
		for _, dir := range []string{once, often} {
			start := time.Now()
			l := open(t, nil, dir, log.Options{})
			took[dir] = append(took[dir], time.Since(start))
			require.NoError(t, l.Close())
		}
	}
	median := func(dir string) time.Duration {
		slices.Sort(took[dir])
		return took[dir][len(took[dir])/2]
	}
	t.Logf("opening takes %v after one round, %v after %d", median(once), median(often), rounds)
	require.Less(t, median(often), 3*median(once), "opening became slower")
}

// diskUsage returns the size of the files below dir.
func diskUsage(t *testing.T, dir string) int64 {
	t.Helper()
	var bytes int64
	require.NoError(t, filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			bytes += allocated(info)
		}
		return err
	}))
	return bytes
}

// TestDurabilityMix checks that every level ends up synced by itself, and that acknowledged commits of
// each are read after a clean close.
func TestDurabilityMix(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{})
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	for _, d := range []log.Durability{log.Buffered, log.Written, log.Synced, log.Buffered, log.Written} {
		c := l.NewCommit()
		c.Durability(d)
		c.Append(tp, log.Record{Value: []byte(d.String())})
		_, err := c.Commit(ctx)
		require.NoError(t, err)
	}
	// Without another commit, the last ones become synced, and so visible, within the sync interval.
	seen := 0
	for r, err := range tp.Follow(ctx, log.Oldest) {
		require.NoError(t, err)
		require.Equal(t, int64(seen), r.Offset)
		if seen++; seen == 5 {
			break
		}
	}
	require.NoError(t, l.Close())
}
