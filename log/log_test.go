package log_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratalog/strata/log"
)

// TestMain looks for goroutines that are left. Those of a Pebble that was given up cannot be ended.
func TestMain(m *testing.M) {
	const pebble = "github.com/cockroachdb/pebble/v2"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/stratalog/strata/internal/handles.(*file).Sync"),
		goleak.IgnoreAnyFunction("github.com/stratalog/strata/internal/handles.(*file).ReadAt"),
		goleak.IgnoreAnyFunction(pebble+".(*ConcurrencyLimitScheduler).periodicGranter"),
		goleak.IgnoreAnyFunction(pebble+".Open"),
		goleak.IgnoreAnyFunction(pebble+".(*DB).Close"),
		goleak.IgnoreAnyFunction(pebble+".(*DB).compact"),
		goleak.IgnoreAnyFunction(pebble+".(*DB).flush"),
		goleak.IgnoreAnyFunction(pebble+".(*DB).collectTableStats"),
		goleak.IgnoreAnyFunction(pebble+".(*cleanupManager).mainLoop"),
		goleak.IgnoreAnyFunction(pebble+".(*cleanupManager).Close"),
		goleak.IgnoreAnyFunction(pebble+"/record.(*LogWriter).flushLoop"),
		goleak.IgnoreAnyFunction(pebble+"/internal/genericcache.(*shard[...]).releaseLoop"),
	)
}

var ctx = context.Background()

func open(t testing.TB, fs vfs.FS, dir string, o log.Options) *log.Log {
	t.Helper()
	o.FS = fs
	l, err := log.Open(dir, o)
	require.NoError(t, err)
	return l
}

func values(t testing.TB, l *log.Log, topic string) []string {
	t.Helper()
	tp, err := l.Topic(topic)
	require.NoError(t, err)
	var out []string
	for r, err := range tp.Read(log.Oldest) {
		require.NoError(t, err)
		out = append(out, string(r.Value))
	}
	return out
}

func TestAppendReadReopen(t *testing.T) {
	for _, fs := range []vfs.FS{vfs.NewMem(), nil} {
		dir := "data"
		if fs == nil {
			dir = t.TempDir() + "/deep/er"
		}
		var want []string
		for round := range 5 {
			l := open(t, fs, dir, log.Options{SegmentBytes: 64 << 10})
			tp, err := l.CreateTopic(ctx, "orders", log.TopicOptions{Partitions: 3})
			require.NoError(t, err)
			for i := range 200 {
				v := fmt.Sprintf("%d-%d %0500d", round, i, i)
				_, err := tp.Append(ctx, log.Record{Key: []byte(fmt.Sprint(i % 7)), Value: []byte(v)})
				require.NoError(t, err)
				want = append(want, v)
			}
			require.Equal(t, want, values(t, l, "orders"))
			require.NoError(t, l.Close())
			require.NoError(t, l.Close())
		}
		l := open(t, fs, dir, log.Options{SegmentBytes: 64 << 10})
		require.Equal(t, want, values(t, l, "orders"))
		require.Greater(t, l.Metrics().Segments, int64(3))
		require.NoError(t, l.Close())
	}
}

// TestConcurrentCommits commits from 64 goroutines across three topics, at all levels of durability:
// each commit is whole, its records stand together, offsets and positions are dense, and the records of
// a key stand in the order in which its goroutine committed them.
func TestConcurrentCommits(t *testing.T) {
	const goroutines, each = 64, 50
	l := open(t, nil, t.TempDir(), log.Options{SegmentBytes: 256 << 10})
	var topics []*log.Topic
	for i := range 3 {
		tp, err := l.CreateTopic(ctx, fmt.Sprint("t", i), log.TopicOptions{Partitions: 2})
		require.NoError(t, err)
		topics = append(topics, tp)
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				c := l.NewCommit()
				c.Durability(log.Durability((g + i) % 3))
				for _, tp := range topics {
					c.Append(tp, log.Record{Key: fmt.Append(nil, g), Value: fmt.Appendf(nil, "%d/%d", g, i)})
				}
				r, err := c.Commit(ctx)
				if assert.NoError(t, err) && assert.Len(t, r.Batches(), 3) {
					for n := range 3 {
						_, _, position := r.Record(n)
						assert.Equal(t, r.Position+uint64(n), position)
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, l.Sync(ctx))

	next := map[string]int64{}  // offset, by topic and partition
	order := map[string]int{}   // commits seen, by topic and key
	whole := map[string][]int{} // positions, by commit
	position := uint64(0)
	for r, err := range l.Read(log.Oldest, log.ReadOptions{System: true}) {
		require.NoError(t, err)
		require.Equal(t, position, r.Position)
		position++
		if strings.HasPrefix(r.Topic, log.SystemPrefix) {
			continue
		}
		p := fmt.Sprint(r.Topic, "/", r.Partition)
		require.Equal(t, next[p], r.Offset)
		next[p]++
		key := fmt.Sprint(r.Topic, "/", string(r.Key))
		require.Equal(t, fmt.Sprintf("%s/%d", r.Key, order[key]), string(r.Value))
		order[key]++
		whole[string(r.Value)] = append(whole[string(r.Value)], int(r.Position))
	}
	require.Equal(t, l.Position(), position)
	require.Len(t, whole, goroutines*each)
	for commit, at := range whole {
		require.Equal(t, []int{at[0], at[0] + 1, at[0] + 2}, at, commit)
	}
	require.NoError(t, l.Close())
}
