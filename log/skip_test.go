package log_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestSkipKeepsTheStart reads a topic from an offset, past a damaged frame that lies before the start of
// one of its partitions: what is below the start is not shown afterwards either.
func TestSkipKeepsTheStart(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{SegmentBytes: 64 << 10})
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 2})
	require.NoError(t, err)
	// Partition 0 has its first 20 offsets early, partition 1 all of its own behind them.
	for i := range 30 {
		_, err := tp.Partition(0).Append(ctx, log.Record{Value: fmt.Appendf(nil, "0/%d", i)})
		require.NoError(t, err)
	}
	for i := range 30 {
		_, err := tp.Partition(1).Append(ctx, log.Record{Value: fmt.Appendf(nil, "1/%d %05000d", i, i)})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	segs, err := filepathGlob(fs, "data/log", ".seg")
	require.NoError(t, err)
	b := get(t, fs, "data/log/"+segs[0])
	at := 512 + 8
	for ; string(b[at:at+5]) != "1/3 0"; at++ {
	}
	b[at+20] ^= 1 // partition 1, offset 3
	put(t, fs, "data/log/"+segs[0], b)

	l = open(t, fs, "data", log.Options{})
	tp, err = l.Topic("events")
	require.NoError(t, err)
	var damaged int
	seen := map[int32][]int64{}
	for r, err := range tp.Read(log.AtOffset(10)) {
		if err != nil {
			require.ErrorIs(t, err, log.ErrCorrupt)
			damaged++
			continue
		}
		seen[r.Partition] = append(seen[r.Partition], r.Offset)
	}
	require.Equal(t, 1, damaged)
	for p := range int32(2) {
		require.Len(t, seen[p], 20)
		require.Equal(t, int64(10), seen[p][0])
		require.Equal(t, int64(29), seen[p][19])
	}
	require.NoError(t, l.Close())
}
