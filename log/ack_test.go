package log_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestAckSequenced shows who has a place in the log when CommitAsync returns.
func TestAckSequenced(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	tp, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	try := func(conditions ...log.Condition) *log.Ack {
		c := l.NewCommit()
		c.Append(tp, log.Record{Value: []byte("x")})
		c.Require(conditions...)
		return c.CommitAsync(ctx)
	}
	require.True(t, try(log.Once("k"), log.ExpectOffset(tp.Partition(0), 0)).Sequenced())
	again := try(log.Once("k"))
	require.False(t, again.Sequenced(), "a duplicate")
	r, err := again.Wait(ctx)
	require.NoError(t, err)
	require.True(t, r.Duplicate)
	refused := try(log.ExpectOffset(tp.Partition(0), 7))
	require.False(t, refused.Sequenced())
	_, err = refused.Wait(ctx)
	require.ErrorIs(t, err, log.ErrOffset)
	last := try()
	require.True(t, last.Sequenced())
	r, err = last.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, r.Position+1, last.End())
	require.Zero(t, refused.End())
	require.NoError(t, l.Close())
	require.False(t, try().Sequenced())
}
