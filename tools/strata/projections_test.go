package main

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// TestProjections lists projections beside the program that runs them, and marks one, which that program then
// builds anew.
func TestProjections(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	l, err := log.Open(dir, log.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	require.Equal(t, "PROJECTION  STORE  PHASE  VERSION  ACTIVE  POSITION  LAG  EVENTS/S  PARKED  TOLD  NOTE\n", do(t, "", "projections", dir))

	orders, err := l.CreateTopic(ctx, "orders", log.TopicOptions{})
	require.NoError(t, err)
	for range 4 {
		_, err = orders.Append(ctx, log.Record{Value: []byte("v")})
		require.NoError(t, err)
	}
	calls := 0
	open := func(name string) *projection.Model {
		m, err := projection.Open(ctx, l, projection.Define(name, 3, projection.Options{Topics: []string{"orders"}}, func(tx *projection.Tx, e *projection.Event) error {
			if calls++; name == "bad" {
				return errors.New("no")
			}
			tx.Set("last", e.Data)
			return nil
		}))
		require.NoError(t, err)
		return m
	}
	require.NoError(t, open("balances").CatchUp(ctx))
	require.Equal(t, 4, calls)
	require.Error(t, open("bad").CatchUp(ctx))
	require.Equal(t, exitDone, try(t, "", "projections", "reset", dir, "balances").status)

	told := regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	behind := regexp.MustCompile(`(bad .* 0         )[45]( )`) // the last append may not be proved to be synced
	require.Equal(t, `PROJECTION  STORE   PHASE    VERSION  ACTIVE  POSITION  LAG  EVENTS/S  PARKED  TOLD                  NOTE
bad         pebble  failed   3        -       0         N    0         0       2000-00-00T00:00:00Z  projection: "bad" version 3: orders/0 offset 0 (position 1), attempt 1: no
balances    pebble  stopped  3        3       5         0    0         0       2000-00-00T00:00:00Z  to be built anew
`, behind.ReplaceAllString(told.ReplaceAllString(do(t, "", "projections", dir), "2000-00-00T00:00:00Z"), "${1}N$2"))
	rows := objects(t, do(t, "", "projections", dir, "--json"))
	require.Len(t, rows, 2)
	when, err := time.Parse(time.RFC3339Nano, rows[1]["time"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), when, time.Hour)
	delete(rows[1], "time")
	require.GreaterOrEqual(t, rows[0]["lag"], 4.0)
	delete(rows[1], "end")
	require.Equal(t, map[string]any{
		"projection": "balances", "store": "pebble", "phase": "stopped", "version": 3.0, "position": 5.0, "active_version": 3.0,
		"active_position": 5.0, "events": 4.0, "events_per_second": 0.0, "skipped": 0.0, "parked": 0.0, "lag": 0.0, "reset": true,
	}, rows[1])

	require.NoError(t, open("balances").CatchUp(ctx))
	require.Equal(t, 4+1+4, calls, "all of them once more")
	require.Equal(t, false, objects(t, do(t, "", "projections", dir, "--json"))[1]["reset"])
	r := try(t, "", "projections", "reset", dir, "none")
	require.Equal(t, exitNotDone, r.status)
	require.Contains(t, r.errors, `no such projection: "none"`)
	require.Equal(t, exitNotDone, try(t, "", "projections", "reset", dir).status)
}
