package log_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// busy has a log appended to and synced until f returns.
func busy(t *testing.T, f func(l *log.Log, p *log.Partition)) {
	l := open(t, vfs.NewMem(), "data", log.Options{SyncInterval: -1, Logger: quiet})
	defer func() { require.NoError(t, l.Close()) }()
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	p := tp.Partition(0)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			c := l.NewCommit()
			for !stop.Load() {
				c.Reset()
				c.Durability(log.Written)
				c.AppendTo(p, log.Record{Value: []byte("v")})
				if _, err := c.Commit(ctx); !assert.NoError(t, err) {
					return
				}
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			if !assert.NoError(t, l.Sync(ctx)) {
				return
			}
		}
	})
	f(l, p)
	stop.Store(true)
	wg.Wait()
}

// TestEndsMoveTogether reads up to the end, under way, where nothing may be told as lost: the ends of a partition and
// of the log are those of one moment.
func TestEndsMoveTogether(t *testing.T) {
	rounds := 8_000
	if testing.Short() {
		rounds /= 4
	}
	busy(t, func(l *log.Log, p *log.Partition) {
		for range rounds {
			from := max(p.Next()-3, 0)
			for r, err := range p.Read(log.AtOffset(from)) {
				require.NoError(t, err)
				require.Equal(t, from, r.Offset)
				from++
			}
		}
	})
}

// TestFollowFromEndUnderWay begins to follow at the position where the log ends, while it grows: the first record is
// the one that has it.
func TestFollowFromEndUnderWay(t *testing.T) {
	rounds := 4_000
	if testing.Short() {
		rounds /= 4
	}
	busy(t, func(l *log.Log, p *log.Partition) {
		for range rounds {
			position := l.Position()
			ctx, cancel := context.WithCancel(ctx)
			for r, err := range p.Follow(ctx, log.AtPosition(position), log.ReadOptions{Unsynced: true}) {
				require.NoError(t, err)
				require.Equal(t, position, r.Position)
				break
			}
			cancel()
		}
	})
}
