package log_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestViewGetMany reads keys that are there and one that is not, with what was acknowledged before the call.
func TestViewGetMany(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	a, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	h, err := l.Register(ctx, tally{"mine", []string{"a"}})
	require.NoError(t, err)
	for range 100 {
		_, err := a.Append(ctx, log.Record{Key: []byte("k"), Value: []byte("v")}, log.Record{Key: []byte("j"), Value: []byte("w")})
		require.NoError(t, err)
	}
	var values []string
	keys := [][]byte{[]byte("k"), []byte("none"), []byte("j")}
	require.NoError(t, h.GetMany(ctx, keys, func(i int, value []byte) error {
		require.Len(t, values, i)
		require.Equal(t, i == 1, value == nil)
		values = append(values, string(value))
		return nil
	}))
	require.Len(t, values, 3)
	require.Contains(t, values[0], "100 v ")
	require.Contains(t, values[2], "100 w ")
	enough := errors.New("enough")
	require.ErrorIs(t, h.GetMany(ctx, keys, func(i int, _ []byte) error {
		require.Zero(t, i)
		return enough
	}), enough)
	require.NoError(t, l.Close())
	require.ErrorIs(t, h.GetMany(ctx, nil, nil), log.ErrClosed)
}

// TestViewStateIsCached fills Pebble's memory tables, and reads more than a cache that these had taken for
// themselves could keep.
func TestViewStateIsCached(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	a, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	h, err := l.Register(ctx, tally{"mine", []string{"a"}})
	require.NoError(t, err)
	const n, each = 25_000, 1000
	value := make([]byte, 1000)
	for at := 0; at < n; at += each {
		c := l.NewCommit()
		c.Durability(log.Written)
		for i := at; i < at+each; i++ {
			c.Append(a, log.Record{Key: fmt.Appendf(nil, "key-%06d", i), Value: value})
		}
		_, err := c.Commit(ctx)
		require.NoError(t, err)
	}
	for i := range n {
		_, ok, err := h.Get(ctx, fmt.Appendf(nil, "key-%06d", i))
		require.NoError(t, err)
		require.True(t, ok)
	}
	require.Greater(t, l.CachedStateBytes(), int64(4<<20))
	require.NoError(t, l.Close())
}
