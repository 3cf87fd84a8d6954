package aggregate_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// TestManyStores opens stores until the log has no room for one more view: that is told by type, those that are
// open go on, and the one that was refused can be opened when the log is opened again.
func TestManyStores(t *testing.T) {
	fs := vfs.NewMem()
	open := func() *log.Log {
		l, err := log.Open("data", log.Options{FS: fs})
		require.NoError(t, err)
		return l
	}
	l := open()
	var stores []*aggregate.Store
	var err error
	for err == nil {
		var s *aggregate.Store
		if s, err = aggregate.Open(ctx, l, fmt.Sprintf("store-%02d", len(stores)), aggregate.Options{}); err == nil {
			stores = append(stores, s)
		}
	}
	refused := fmt.Sprintf("store-%02d", len(stores))
	var limit *log.LimitError
	require.ErrorIs(t, err, log.ErrLimit)
	require.ErrorAs(t, err, &limit)
	require.EqualValues(t, 64, limit.Limit)
	require.ErrorContains(t, err, strconv.Quote(refused))
	require.NotContains(t, err.Error(), "bytes")
	require.Greater(t, len(stores), 50)
	for _, s := range stores {
		_, err := s.Append(ctx, "a", aggregate.NoStream, event("x"))
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	l = open()
	s, err := aggregate.Open(ctx, l, refused, aggregate.Options{})
	require.NoError(t, err)
	_, err = s.Append(ctx, "a", aggregate.NoStream, event("y"))
	require.NoError(t, err)
	require.Equal(t, []string{"1 y"}, load(t, s, "a"))
	require.NoError(t, l.Close())
}
