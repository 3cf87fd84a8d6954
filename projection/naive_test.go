package projection_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/projection"
	"github.com/stratalog/strata/projection/projectiontest"
)

// user is a row of the read model of the usual textbook.
type user struct {
	Name      string
	CreatedAt time.Time
}

// TestNaive_S16_RebuildGivesTheSame builds a model twice, the second time beside the first one, and a third time
// into a store of its own: all are equal byte for byte, since the handler has the event's time. The replay check
// flags the naive handler, which uses the clock, and others like it.
func TestNaive_S16_RebuildGivesTheSame(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	s := openStore(t, l)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 200 {
		_, err := s.Append(ctx, fmt.Sprint("user-", i%40), aggregate.Any, aggregate.Event{
			Type: "user.renamed", Time: at.Add(time.Duration(i) * time.Hour), Data: []byte(strconv.Itoa(i)),
		})
		require.NoError(t, err)
	}
	handler := func(now func(*projection.Event) time.Time) func(tx *projection.Tx, e *projection.Event) error {
		return func(tx *projection.Tx, e *projection.Event) error {
			v, err := json.Marshal(user{string(e.Data), now(e)})
			tx.Set(e.Stream, v)
			return err
		}
	}
	define := func(version int, h func(tx *projection.Tx, e *projection.Event) error) *projection.Definition[*projection.Tx] {
		return projection.Define("users", version, projection.Options{BatchEvents: version * 7}, h)
	}
	ours := handler(func(e *projection.Event) time.Time { return e.Time })
	var models []map[string]string
	for version := range 2 {
		m, err := projection.Open(ctx, l, define(version+1, ours))
		require.NoError(t, err)
		require.NoError(t, m.CatchUp(ctx))
		models = append(models, content(t, m))
	}
	past, err := projection.AsOf(ctx, l, define(9, ours), l.Position())
	require.NoError(t, err)
	models = append(models, content(t, past))
	require.NoError(t, past.Close())
	require.NoError(t, l.Close())
	require.NoError(t, fs.RemoveAll("data/projections/store"))
	l = openLog(t, fs)
	m, err := projection.Open(ctx, l, define(1, ours))
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx), "all was deleted")
	models = append(models, content(t, m))
	require.Len(t, models[0], 40)
	for _, other := range models[1:] {
		require.Equal(t, models[0], other)
	}

	projectiontest.CheckReplay(t, l, define(1, ours))
	for what, h := range map[string]func(tx *projection.Tx, e *projection.Event) error{
		"the clock": handler(func(*projection.Event) time.Time { return time.Now() }),
		"the day":   handler(func(*projection.Event) time.Time { return time.Now().Truncate(24 * time.Hour) }),
		"the order of a map": func(tx *projection.Tx, e *projection.Event) error {
			for name := range map[string]int{"a": 1, "b": 2, "c": 3, "d": 4} {
				tx.Set(e.Stream, []byte(name)) // of 40 streams: that all come out alike does not happen
			}
			return nil
		},
	} {
		var found *projectiontest.Error
		require.ErrorAs(t, projectiontest.Replay(t, l, define(1, h)), &found, what)
		require.NotEqual(t, found.First, found.Other)
		require.Contains(t, found.Error(), "depends on more")
	}
	var poison *projection.PoisonError
	require.ErrorAs(t, projectiontest.Replay(t, l, define(1, func(*projection.Tx, *projection.Event) error { return fmt.Errorf("no") })), &poison)
}
