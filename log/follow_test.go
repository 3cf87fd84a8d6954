package log_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestFollowFromAnyMoment subscribes at random moments while appends run: no gap and no duplicate at
// the switch from catching up to live, for a partition, a topic and the whole log.
func TestFollowFromAnyMoment(t *testing.T) {
	const producers, each = 4, 400
	l := open(t, vfs.NewMem(), "data", log.Options{SegmentBytes: 64 << 10})
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 2})
	require.NoError(t, err)
	var wg sync.WaitGroup
	started := make(chan struct{}, producers*each)
	for g := range producers {
		wg.Go(func() {
			for i := range each {
				c := l.NewCommit()
				c.Durability(log.Durability(i % 3))
				for n := range i%3 + 1 {
					c.Append(tp, log.Record{Key: fmt.Append(nil, g), Value: fmt.Appendf(nil, "%d %d %0100d", i, n, i)})
				}
				_, err := c.Commit(ctx)
				require.NoError(t, err)
				started <- struct{}{}
			}
		})
	}
	total := uint64(producers * (each/3*6 + 1))
	var followers sync.WaitGroup
	follow := func(start log.Start) {
		followers.Go(func() {
			last := map[int32]int64{}
			var position uint64
			seen := 0
			for r, err := range tp.Follow(ctx, start) {
				require.NoError(t, err)
				if before, ok := last[r.Partition]; ok {
					require.Equal(t, before+1, r.Offset)
				}
				last[r.Partition] = r.Offset
				require.True(t, seen == 0 || r.Position == position+1, "position %d after %d", r.Position, position)
				position = r.Position
				if seen++; position == total {
					return
				}
			}
		})
	}
	for i := range 40 {
		for range producers * each / 45 {
			<-started
		}
		follow(log.Oldest)
		if i%2 == 0 {
			follow(log.Newest)
		}
		p := tp.Partition(int32(i % 2))
		followers.Go(func() {
			cancelled, cancel := context.WithCancel(ctx)
			defer cancel()
			next := int64(-1)
			for r, err := range p.Follow(cancelled, log.Newest) {
				if errors.Is(err, context.Canceled) {
					return
				}
				require.NoError(t, err)
				require.True(t, next < 0 || r.Offset == next)
				if next = r.Offset + 1; next%97 == 0 {
					cancel()
				}
				if r.Position > total-20 {
					return
				}
			}
		})
	}
	go func() { wg.Wait(); close(started) }()
	for range started {
	}
	// The topic's creation took position 0. Whoever followed one partition from the very end may still
	// wait for a record that does not come.
	require.Equal(t, total+1, l.Metrics().Written)
	c := l.NewCommit()
	for i := range 200 {
		c.AppendTo(tp.Partition(int32(i%2)), log.Record{Value: []byte("last")})
	}
	_, err = c.Commit(ctx)
	require.NoError(t, err)
	followers.Wait()
	require.NoError(t, l.Close())
}

// TestCloseUnderway closes the log among commits in flight, readers and followers: all of them end,
// with ErrClosed or as they should, and nothing is written afterwards.
func TestCloseUnderway(t *testing.T) {
	for round := range 20 {
		fs := vfs.NewMem()
		l := open(t, fs, "data", log.Options{SegmentBytes: 64 << 10})
		tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 2})
		require.NoError(t, err)
		var wg sync.WaitGroup
		var acked atomic.Int64
		begun := make(chan struct{}, 8)
		for g := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					c := l.NewCommit()
					c.Durability(log.Durability((g + round) % 3))
					c.Append(tp, log.Record{Value: []byte("some value")})
					var err error
					if g%2 == 0 {
						_, err = c.Commit(ctx)
					} else {
						_, err = c.CommitAsync(ctx).Wait(ctx)
					}
					if i == 5 {
						begun <- struct{}{}
					}
					if err != nil {
						require.ErrorIs(t, err, log.ErrClosed)
						return
					}
					acked.Add(1)
				}
			})
			wg.Go(func() {
				var err error
				for _, err = range tp.Follow(ctx, log.Oldest) {
					if err != nil {
						break
					}
				}
				require.ErrorIs(t, err, log.ErrClosed)
			})
		}
		for range 8 {
			<-begun
		}
		require.NoError(t, l.Close())
		wg.Wait()
		_, err = tp.Append(ctx, log.Record{})
		require.ErrorIs(t, err, log.ErrClosed)
		_, err = l.Topic("events")
		require.ErrorIs(t, err, log.ErrClosed)
		require.ErrorIs(t, l.Sync(ctx), log.ErrClosed)
		for _, err := range tp.Read(log.Oldest) {
			require.ErrorIs(t, err, log.ErrClosed)
		}
		l = open(t, fs, "data", log.Options{})
		require.Len(t, values(t, l, "events"), int(acked.Load()))
		require.NoError(t, l.Close())
	}
}
