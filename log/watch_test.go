package log_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

func TestWatchTopics(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	for _, name := range []string{"b", "a", "gone"} {
		_, err := l.CreateTopic(ctx, name, log.TopicOptions{Partitions: 2})
		require.NoError(t, err)
	}
	require.NoError(t, l.DeleteTopic(ctx, "gone"))
	_, err := once(l, "makes a topic of the engine", "v", log.Synced) // a exists with 2 partitions
	require.ErrorIs(t, err, log.ErrMismatch)
	c := l.NewCommit()
	c.Require(log.Once("k"))
	_, err = c.Commit(ctx)
	require.NoError(t, err)

	watch, cancel := context.WithCancel(ctx)
	var got []string
	step := 0
	for e, err := range l.WatchTopics(watch) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		got = append(got, fmt.Sprint(e.Change, " ", e.Info.Name, " ", e.Info.Partitions))
		if step++; step == 2 {
			_, err := l.CreateTopic(ctx, "c", log.TopicOptions{Partitions: 1})
			require.NoError(t, err)
			require.NoError(t, l.AlterTopic(ctx, "c", log.TopicOptions{Partitions: 3}))
			require.NoError(t, l.DeleteTopic(ctx, "a"))
			_, err = l.CreateTopic(ctx, "a", log.TopicOptions{Partitions: 5})
			require.NoError(t, err)
		}
		if step == 6 {
			cancel()
		}
	}
	cancel()
	require.Equal(t, []string{
		"created a 2", "created b 2", "created c 1", "altered c 3", "deleted a 0", "created a 5",
	}, got)
	require.NoError(t, l.Close())
	for _, err := range l.WatchTopics(ctx) {
		require.ErrorIs(t, err, log.ErrClosed)
	}
}

func TestWaitBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, vfs.NewMem(), "data", log.Options{SegmentBytes: 64 << 10})
		tp, err := l.CreateTopic(ctx, "t", log.TopicOptions{Partitions: 3})
		require.NoError(t, err)
		value := make([]byte, 1000)
		add := func(p int32, n int) {
			for range n {
				_, err := tp.Partition(p).Append(ctx, log.Record{Value: value})
				require.NoError(t, err)
			}
		}
		add(0, 100) // more than a segment
		from := []log.PartitionOffset{{tp.Partition(0), 90}, {tp.Partition(1), 0}, {tp.Partition(2), 5}}
		n, err := l.WaitBytes(ctx, 10_000, from)
		require.NoError(t, err)
		require.True(t, n >= 10_000 && n < 12_000, n)

		// Too little: what there is, when the time is over.
		deadline, cancel := context.WithTimeout(ctx, time.Minute)
		started := time.Now()
		n, err = l.WaitBytes(deadline, 20_000, from)
		cancel()
		require.NoError(t, err)
		require.True(t, n >= 10_000 && n < 12_000, n)
		require.Equal(t, time.Minute, time.Since(started))

		// Woken by what comes, on all of the partitions together; below an offset it does not count.
		type result struct {
			n   int64
			err error
		}
		done := make(chan result)
		go func() {
			n, err := l.WaitBytes(ctx, 14_000, from)
			done <- result{n, err}
		}()
		add(2, 5)
		synctest.Wait()
		select {
		case r := <-done:
			t.Fatal("woken early", r)
		default:
		}
		add(1, 2)
		add(2, 3)
		r := <-done
		require.NoError(t, r.err)
		require.True(t, r.n >= 14_000 && r.n < 17_000, r.n)

		cancelled, cancel := context.WithCancel(ctx)
		go func() {
			n, err := l.WaitBytes(cancelled, 1<<30, from)
			done <- result{n, err}
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, (<-done).err, context.Canceled)
		go func() {
			n, err := l.WaitBytes(ctx, 1<<30, from)
			done <- result{n, err}
		}()
		synctest.Wait()
		require.NoError(t, l.Close())
		require.ErrorIs(t, (<-done).err, log.ErrClosed)
	})
}
