package log_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// TestSyncTo: a sync that is under way is enough for what was written before it, and not for what was written since.
func TestSyncTo(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	l := open(t, fs, "data", log.Options{Durability: log.Written, SyncInterval: -1})
	tp, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	appended := func() uint64 { // the position behind it
		at, err := tp.Append(ctx, log.Record{Value: []byte("x")})
		require.NoError(t, err)
		return at.Position + 1
	}
	before := appended()
	hung, let := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs.SetGate(func(crashfs.Op) { once.Do(func() { close(hung); <-let }) })
	syncs := l.Metrics().Syncs
	var all sync.WaitGroup
	all.Go(func() { require.NoError(t, l.Sync(ctx)) })
	<-hung
	since := appended()
	for range 3 {
		all.Go(func() {
			if err := l.SyncTo(ctx, before); err != nil {
				t.Error(err)
			}
		})
	}
	close(let)
	all.Wait()
	require.Equal(t, before, l.Position())
	require.Equal(t, syncs+1, l.Metrics().Syncs)
	require.NoError(t, l.SyncTo(ctx, since))
	require.NoError(t, l.SyncTo(ctx, since))
	require.Equal(t, since, l.Position())
	require.Equal(t, syncs+2, l.Metrics().Syncs)
	require.NoError(t, l.Close())
	require.NoError(t, l.SyncTo(ctx, since), "it is")
	require.ErrorIs(t, l.SyncTo(ctx, since+1), log.ErrClosed)
}
