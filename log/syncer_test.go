package log_test

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestSyncedEarly: whatever the interval, 8 MiB are made durable although nobody asks, so that the end of
// a segment does not wait for all of it. A reader of what is synced sees them.
func TestSyncedEarly(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{Durability: log.Written, SyncInterval: -1})
	defer func() { require.NoError(t, l.Close()) }()
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	require.NoError(t, l.Sync(ctx))
	value := make([]byte, 1<<20)
	for range 7 {
		_, err := tp.Append(ctx, log.Record{Value: value})
		require.NoError(t, err)
	}
	require.Zero(t, tp.Partition(0).Next(), "nobody asked for it yet")
	for range 2 {
		_, err := tp.Append(ctx, log.Record{Value: value})
		require.NoError(t, err)
	}
	timeout, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for r, err := range tp.Follow(timeout, log.Oldest) {
		require.NoError(t, err)
		if r.Offset == 6 {
			break
		}
	}
}
