package log_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/osfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/segment"
)

// numbered is the value of the i-th record.
func numbered(i, n int) []byte {
	return append(fmt.Appendf(nil, "%08d-", i), bytes.Repeat([]byte{'v'}, n)...)
}

// mapsTails skips a test where files are not mapped for writing.
func mapsTails(t *testing.T) {
	f, err := osfs.Default.OpenReadWrite(filepath.Join(t.TempDir(), "f"), vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	w, err := segment.MapTail(f, 0, 64<<10)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("SKIP: files of this system or file system are not mapped for writing")
	}
	require.NoError(t, err)
	require.NoError(t, w.Close())
}

// TestMappedTail writes small commits, which are copied into a mapping, between others that are not: synced ones,
// large ones, buffered ones, and over the ends of segments. Each is read at once, by this log and by another that
// reads beside it, and all of them when the log is opened again.
func TestMappedTail(t *testing.T) {
	mapsTails(t)
	dir := filepath.Join(t.TempDir(), "data")
	l := open(t, osfs.Default, dir, log.Options{SegmentBytes: 3 << 20, Durability: log.Written, SyncInterval: -1})
	topic, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	p := topic.Partition(0)
	total := 20_000
	if testing.Short() {
		total /= 4
	}
	sizes := make([]int, total)
	windows := map[int64]bool{}
	for i := range total {
		c := l.NewCommit()
		n := i % 300
		switch {
		case i%997 == 0:
			c.Durability(log.Synced)
		case i%501 == 0:
			n = 20 << 10
		case i%301 == 0:
			c.Durability(log.Buffered)
		}
		sizes[i] = n
		c.AppendTo(p, log.Record{Value: numbered(i, n)})
		_, err := c.Commit(ctx)
		require.NoError(t, err)
		if i%50 == 0 {
			windows[l.MappedTail()] = true
		}
		if i%301 != 0 && i%50 == 0 {
			for r, err := range p.Read(log.AtOffset(int64(i)), log.ReadOptions{Unsynced: true}) {
				require.NoError(t, err)
				require.Equal(t, numbered(i, n), r.Value)
			}
		}
	}
	delete(windows, -1)
	require.GreaterOrEqual(t, len(windows), 2)
	require.NoError(t, l.Sync(ctx))
	all := func(l *log.Log, least int) {
		topic, err := l.Topic("events")
		require.NoError(t, err)
		i := 0
		for r, err := range topic.Partition(0).Read(log.Oldest) {
			require.NoError(t, err)
			require.Equal(t, numbered(i, sizes[i]), r.Value)
			i++
		}
		require.GreaterOrEqual(t, i, least)
	}
	all(l, total)
	reader := open(t, osfs.Default, dir, log.Options{ReadOnly: true})
	all(reader, total/2) // it sees what later frames or an end mark prove to be synced
	require.NoError(t, reader.Close())
	require.NoError(t, l.Close())
	l = open(t, osfs.Default, dir, log.Options{})
	all(l, total)
	require.NoError(t, l.Close())
	report, err := log.Verify(ctx, dir, log.VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, report.Findings)
}

// TestMappedTailOfManyWriters has the mapping passed from one writer to the next, beside one who syncs.
func TestMappedTailOfManyWriters(t *testing.T) {
	l := open(t, osfs.Default, filepath.Join(t.TempDir(), "data"), log.Options{SegmentBytes: 1 << 20, Durability: log.Written, SyncInterval: -1})
	defer func() { require.NoError(t, l.Close()) }()
	topic, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 4})
	require.NoError(t, err)
	rounds := 4_000
	if testing.Short() {
		rounds /= 4
	}
	var wg sync.WaitGroup
	for w := range int32(4) {
		wg.Go(func() {
			for i := range rounds {
				if _, err := topic.Partition(w).Append(ctx, log.Record{Value: numbered(i, 100)}); !assert.NoError(t, err) {
					return
				}
				if w == 0 && i%100 == 0 && !assert.NoError(t, l.Sync(ctx)) {
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, l.Sync(ctx))
	for w := range int32(4) {
		i := 0
		for r, err := range topic.Partition(w).Read(log.Oldest) {
			require.NoError(t, err)
			require.Equal(t, numbered(i, 100), r.Value)
			i++
		}
		require.Equal(t, rounds, i)
	}
}

// TestMappedTailCutShort cuts the file short under the mapping: the store is a memory fault, after which the log goes on
// by writing.
func TestMappedTailCutShort(t *testing.T) {
	mapsTails(t)
	l := open(t, osfs.Default, filepath.Join(t.TempDir(), "data"), log.Options{Durability: log.Written, SyncInterval: -1})
	topic, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	p := topic.Partition(0)
	i := 0
	for ; l.MappedTail() < 0; i++ {
		_, err := p.Append(ctx, log.Record{Value: numbered(i, 100)})
		require.NoError(t, err)
		require.Less(t, i, 10_000)
	}
	segs, err := filepathGlob(osfs.Default, filepath.Join(l.Dir(), "log"), ".seg")
	require.NoError(t, err)
	require.Len(t, segs, 1)
	require.NoError(t, os.Truncate(filepath.Join(l.Dir(), "log", segs[0]), 4<<10))
	for range 100 {
		_, err := p.Append(context.Background(), log.Record{Value: numbered(i, 100)})
		require.NoError(t, err)
		for r, err := range p.Read(log.AtOffset(int64(i)), log.ReadOptions{Unsynced: true}) {
			require.NoError(t, err)
			require.Equal(t, numbered(i, 100), r.Value)
		}
		i++
	}
	require.Negative(t, l.MappedTail())
	require.NoError(t, l.Close())
}
