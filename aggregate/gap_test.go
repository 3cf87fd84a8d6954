package aggregate

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// TestGap plants events as they are left when damage was given up: with versions missing between them, and
// before the head. The index says so, forward and backward, and what is there can be loaded by its versions.
func TestGap(t *testing.T) {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: vfs.NewMem(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	s, err := Open(ctx, l, "events", Options{})
	require.NoError(t, err)
	plant := func(versions ...uint64) {
		c := l.NewCommit()
		var n encoder
		for _, v := range versions {
			c.AppendAs(Kind, s.t.Partition(0), n.record("s", v, "id", &Event{Type: "happened"}, ""))
		}
		_, err := c.Commit(ctx)
		require.NoError(t, err)
	}
	plant(1, 2, 3)
	plant(7, 8)
	plant(65)
	load := func(o LoadOptions) (versions []uint64, err error) {
		for e, err := range s.Load(ctx, "s", o) {
			if err != nil {
				return versions, err
			}
			versions = append(versions, e.Version)
		}
		return versions, nil
	}
	versions, err := load(LoadOptions{To: 3})
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2, 3}, versions)
	versions, err = load(LoadOptions{From: 7, To: 8, Backward: true})
	require.NoError(t, err)
	require.Equal(t, []uint64{8, 7}, versions)
	for _, tc := range []struct {
		o        LoadOptions
		from, to uint64
	}{
		{LoadOptions{}, 4, 6}, {LoadOptions{From: 5}, 5, 6}, {LoadOptions{From: 2, To: 5}, 4, 5}, {LoadOptions{From: 7}, 9, 64},
		{LoadOptions{From: 10, To: 12}, 10, 12}, {LoadOptions{From: 7, Backward: true}, 9, 64},
	} {
		_, err := load(tc.o)
		var gap *GapError
		require.ErrorAs(t, err, &gap, "%+v", tc.o)
		require.Equal(t, &GapError{Stream: "s", From: tc.from, To: tc.to}, gap, "%+v", tc.o)
	}
	r, err := s.Append(ctx, "s", Any, Event{Type: "happened"})
	require.NoError(t, err)
	require.EqualValues(t, 66, r.Version("s"))
	require.NoError(t, l.Close())
}

// FuzzDecode gives records that are no events, or nearly: whatever is accepted is encoded and accepted again,
// unchanged.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("s"), []byte("7"), []byte("opened"), []byte("3"), "user", []byte("u"), []byte("data"))
	f.Add([]byte(""), []byte("0"), []byte(""), []byte("-1"), HeaderTenant, []byte("t"), []byte(nil))
	f.Add([]byte("s"), []byte("18446744073709551616"), []byte("a"), []byte("x"), "strata-x", []byte("u"), []byte{})
	f.Fuzz(func(t *testing.T, key, version, kind, schema []byte, name string, value, data []byte) {
		r := log.Record{Key: key, Value: data, Headers: []record.Header{
			{Key: HeaderVersion, Value: version}, {Key: HeaderType, Value: kind}, {Key: HeaderSchema, Value: schema}, {Key: name, Value: value},
		}}
		e, err := Decode(&r)
		if err != nil {
			require.ErrorIs(t, err, ErrRecord)
			return
		}
		var n encoder
		again := n.record(e.Stream, e.Version, e.ID, &e, "")
		more, err := Decode(&again)
		require.NoError(t, err)
		require.Equal(t, e, more)
	})
}
