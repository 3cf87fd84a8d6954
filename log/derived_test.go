package log_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestBehind reads some topics of several: with each record comes the checkpoint behind its commit, which is
// the one that Checkpoint gives, and that CheckAhead accepts.
func TestBehind(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{SegmentBytes: 64 << 10})
	var topics []*log.Topic
	for _, name := range []string{"a", "b", "c"} {
		tp, err := l.CreateTopic(ctx, name, log.TopicOptions{Partitions: 2})
		require.NoError(t, err)
		topics = append(topics, tp)
	}
	behind := map[string]uint64{} // by value
	for i := range 200 {
		c := l.NewCommit()
		for k := range 1 + i%4 {
			c.AppendTo(topics[(i+k)%3].Partition(int32(k%2)), log.Record{Value: fmt.Appendf(nil, "%d.%d.%0200d", i, k, 0)})
		}
		r, err := c.Commit(ctx)
		require.NoError(t, err)
		last := r.Batches()[len(r.Batches())-1]
		for k := range 1 + i%4 {
			behind[fmt.Sprintf("%d.%d.%0200d", i, k, 0)] = last.Position + uint64(last.Count)
		}
	}
	var at log.Checkpoint
	seen := 0
	for r, err := range l.Read(log.AtPosition(20), log.ReadOptions{Behind: &at, Topics: func(tp *log.Topic) bool { return tp.Name() != "b" }}) {
		require.NoError(t, err)
		require.NotEqual(t, "b", r.Topic)
		require.Equal(t, behind[string(r.Value)], at.Position)
		if seen++; seen%37 == 0 {
			same, err := l.Checkpoint(at.Position)
			require.NoError(t, err)
			require.Equal(t, same, at)
			require.NoError(t, l.CheckAhead(at))
		}
	}
	require.Greater(t, seen, 200)

	end := l.Position()
	_, err := l.Checkpoint(end + 1)
	require.ErrorIs(t, err, log.ErrOptions)
	last, err := l.Checkpoint(end)
	require.NoError(t, err)
	for what, change := range map[string]func(*log.Checkpoint){
		"log":      func(c *log.Checkpoint) { c.Log[0]++ },
		"position": func(c *log.Checkpoint) { c.Position++ },
		"body":     func(c *log.Checkpoint) { c.Body++ },
	} {
		c := last
		change(&c)
		var ahead *log.StateAheadError
		require.ErrorAs(t, l.CheckAhead(c), &ahead, what)
		require.Equal(t, what, ahead.What)
	}
	require.Equal(t, l.ID(), last.Log)
	require.NoError(t, l.Close())
}

// TestWaitPosition waits for an append, and for a context to end.
func TestWaitPosition(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	tp, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	at := l.Position()
	got, err := l.WaitPosition(ctx, at)
	require.NoError(t, err)
	require.Equal(t, at, got)
	done := make(chan uint64)
	go func() {
		end, _ := l.WaitPosition(ctx, at+1)
		done <- end
	}()
	_, err = tp.Append(ctx, log.Record{})
	require.NoError(t, err)
	require.Equal(t, at+1, <-done)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = l.WaitPosition(ended, at+5)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, l.Close())
	_, err = l.WaitPosition(ctx, 0)
	require.ErrorIs(t, err, log.ErrClosed)
}
