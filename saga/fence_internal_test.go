package saga

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestFenced has a runner that was overtaken commit under the epoch that it has taken: nothing of the commit
// happens, and the error says who has the instance now.
func TestFenced(t *testing.T) {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: vfs.NewMem(), SyncInterval: -1})
	require.NoError(t, err)
	defer l.Close()
	out, err := l.CreateTopic(ctx, "out", log.TopicOptions{})
	require.NoError(t, err)
	s, err := Open(ctx, l)
	require.NoError(t, err)
	key := instanceKey("order", "7")
	commit := func(cond log.Condition, err error) error {
		require.NoError(t, err)
		c := l.NewCommit()
		c.Append(out, log.Record{})
		c.Require(cond)
		_, err = c.Commit(ctx)
		return err
	}
	intended := func(epoch uint64) []Event {
		return []Event{{Type: EventIntended, Step: "pay", Attempt: 1, Epoch: epoch}}
	}
	require.ErrorIs(t, commit(run(key, 0, 1, intended(1))), ErrInstance)
	require.NoError(t, commit(at(key, 0, Event{Type: EventStarted, Definition: 1})))
	require.NoError(t, commit(run(key, 0, 1, intended(1))), "the first runner takes it")
	require.NoError(t, commit(run(key, 1, 2, intended(2))), "and the second one")
	err = commit(run(key, 1, 1, []Event{{Type: EventDone, Step: "pay", Epoch: 1}}))
	var fenced *FencedError
	require.ErrorAs(t, err, &fenced)
	require.Equal(t, FencedError{Saga: "order", ID: "7", What: "epoch", Expected: 1, Actual: 2}, *fenced)
	in, err := s.Get(ctx, "order", "7")
	require.NoError(t, err)
	require.Equal(t, uint64(3), in.Version)
	require.Equal(t, uint64(2), in.Epoch)
	require.EqualValues(t, 3, out.Partition(0).Next())
}
