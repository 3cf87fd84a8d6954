package consumer_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// TestFault_S05_SameIDAfterACrash joins with the id that a member had in a process that died: it gets its
// partitions anew, in a later generation, and what the dead one has in hand is refused.
func TestFault_S05_SameIDAfterACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l := open(t, fs, log.Options{})
	fill(t, topic(t, l, "events", 2), 0, 10)
	m := join(t, l, "g", consumer.Options{Member: "worker"})
	require.Len(t, take(t, m, 4), 4)
	require.NoError(t, m.Commit(ctx))
	var inHand log.Record
	for r, err := range m.Records(ctx) {
		require.NoError(t, err)
		inHand = r.Clone()
		break
	}
	late := m.Done(inHand)
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	require.NoError(t, l.Close())

	l = open(t, crashed, log.Options{})
	s, err := consumer.OpenStore(ctx, l)
	require.NoError(t, err)
	before, err := s.State(ctx, "g")
	require.NoError(t, err)
	require.NotNil(t, before.Member("worker"), "the log has the dead one")
	m = join(t, l, "g", consumer.Options{Member: "worker"})
	require.Len(t, m.Assigned(), 2)
	after, err := s.State(ctx, "g")
	require.NoError(t, err)
	require.Greater(t, after.Generation, before.Generation)
	c := l.NewCommit()
	c.Require(late)
	_, err = c.Commit(ctx)
	require.ErrorIs(t, err, consumer.ErrFenced)
	require.Len(t, take(t, m, 6), 6)
	require.NoError(t, l.Close())
}

// TestTopicCreatedAnew deletes the topic of a running group and creates one of the same name: the group
// reads the new one from its beginning, and nothing that was committed of the old one counts for it.
func TestTopicCreatedAnew(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	fill(t, topic(t, l, "events", 1), 0, 5)
	m := join(t, l, "g", consumer.Options{})
	require.Equal(t, []string{"0", "1", "2"}, take(t, m, 3))
	require.NoError(t, m.Commit(ctx))
	for round := range 3 {
		require.NoError(t, l.DeleteTopic(ctx, "events"))
		fill(t, topic(t, l, "events", 1), 100*round, 100*round+2)
		require.Len(t, take(t, m, 2), 2)
		require.NoError(t, m.Commit(ctx))
		require.Equal(t, map[string]int64{"events/0": 2}, committed(t, l, "g"))
	}
	// The same between two processes' memberships: nobody watches.
	require.NoError(t, m.Close())
	require.NoError(t, l.DeleteTopic(ctx, "events"))
	fill(t, topic(t, l, "events", 1), 1000, 1001)
	m = join(t, l, "g", consumer.Options{})
	require.Equal(t, []string{"1000"}, take(t, m, 1))
	require.NoError(t, l.Close())
}

// TestExplicitCommitsNothingByItself closes a member whose marks were not committed.
func TestExplicitCommitsNothingByItself(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(1_800_000_000_000))
	l := open(t, vfs.NewMem(), log.Options{Clock: c})
	fill(t, topic(t, l, "events", 1), 0, 5)
	o := consumer.Options{Committing: consumer.CommitExplicit}
	m := join(t, l, "g", o)
	require.Len(t, take(t, m, 3), 3)
	require.NoError(t, m.Commit(ctx))
	require.Len(t, take(t, m, 1), 1)
	require.NoError(t, m.Close())
	require.Equal(t, map[string]int64{"events/0": 3}, committed(t, l, "g"))
	require.NoError(t, l.Close())
}

// TestAvailable reads to the ends that there were, and does not wait.
func TestAvailable(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	tp := topic(t, l, "events", 3)
	fill(t, tp, 0, 30)
	m := join(t, l, "g", consumer.Options{})
	read := func() (n int) {
		all := m.Available(ctx)
		fill(t, tp, 30, 31) // behind the ends
		for r, err := range all {
			require.NoError(t, err)
			m.Mark(r)
			n++
		}
		return n
	}
	require.Equal(t, 30, read())
	require.Equal(t, 1, read())
	require.Equal(t, 1, read())
	require.NoError(t, l.Close())
}
