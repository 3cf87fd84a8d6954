package log

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// TestSleepers has followers wait, be woken and give up at the same time: each that stays gets every record, and
// nobody is left on the list.
func TestSleepers(t *testing.T) {
	const records = 2000
	ctx := t.Context()
	l, err := Open("data", Options{FS: vfs.NewMem(), Durability: Written})
	require.NoError(t, err)
	tp, err := l.CreateTopic(ctx, "events", TopicOptions{})
	require.NoError(t, err)
	p := tp.Partition(0)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			next := int64(0)
			for r, err := range p.Follow(ctx, Oldest, ReadOptions{Unsynced: n%2 == 0}) {
				require.NoError(t, err)
				require.Equal(t, next, r.Offset)
				if next++; next == records {
					return
				}
			}
		})
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				short, cancel := context.WithTimeout(ctx, time.Duration(i%50)*time.Microsecond)
				for _, err := range p.Follow(short, Newest, ReadOptions{Unsynced: true}) {
					require.True(t, err == nil || errors.Is(err, context.DeadlineExceeded), "%v", err)
				}
				cancel()
			}
		})
	}
	for range records {
		_, err := p.Append(ctx, Record{Value: make([]byte, 100)})
		require.NoError(t, err)
	}
	close(done)
	require.NoError(t, l.Sync(ctx))
	wg.Wait()
	l.endMu.Lock()
	require.Nil(t, l.waiting.sleepers)
	l.endMu.Unlock()

	ended := make(chan error, 1)
	wg.Go(func() {
		for _, err := range p.Follow(ctx, Newest) {
			ended <- err
		}
	})
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-ended, ErrClosed)
	wg.Wait()
}
