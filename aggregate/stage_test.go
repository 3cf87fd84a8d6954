package aggregate_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// TestStageTwice stages two appends to one stream in a commit: with Any the second one conflicts with the first, at
// the version behind the first it does not.
func TestStageTwice(t *testing.T) {
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	s, err := aggregate.Open(ctx, l, "events", aggregate.Options{})
	require.NoError(t, err)
	for _, there := range []uint64{0, 2} {
		c := l.NewCommit()
		for range 2 {
			_, err := s.Stage(ctx, c, "a", aggregate.Any, event("lost"))
			require.NoError(t, err)
		}
		_, err = c.Commit(ctx)
		require.ErrorIs(t, err, aggregate.ErrVersionConflict)

		c = l.NewCommit()
		first, err := s.Stage(ctx, c, "a", aggregate.Any, event("first"))
		require.NoError(t, err)
		require.Equal(t, there+1, first.Version)
		second, err := s.Stage(ctx, c, "a", aggregate.At(first.Version), event("second"))
		require.NoError(t, err)
		require.Equal(t, there+2, second.Version)
		_, err = c.Commit(ctx)
		require.NoError(t, err)
		info, err := s.Info(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, there+2, info.Version)
	}
	require.NoError(t, l.Close())
}
