package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// TestStreams lists streams of two stores, and prints events.
func TestStreams(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	l, err := log.Open(dir, log.Options{})
	require.NoError(t, err)
	at := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	fill := func(topic, stream string, types ...string) {
		s, err := aggregate.Open(ctx, l, topic, aggregate.Options{})
		require.NoError(t, err)
		for i, name := range types {
			_, err := s.Append(ctx, stream, aggregate.Any, aggregate.Event{
				Type: name, Time: at.Add(time.Duration(i) * time.Hour), Data: []byte(name + "!"), Tenant: "acme", Schema: i,
				Metadata: map[string]string{"user": "u"},
			})
			require.NoError(t, err)
		}
	}
	fill("shop", "order-1", "placed", "paid", "shipped")
	fill("shop", "order-2", "placed")
	fill("shop", "customer-1", "born")
	fill("ledger", "order-2", "booked")
	s, err := aggregate.Open(ctx, l, "shop", aggregate.Options{})
	require.NoError(t, err)
	_, err = s.Append(ctx, "order-3", aggregate.NoStream, aggregate.Event{Type: "odd", Data: []byte{0xff}})
	require.NoError(t, err)
	require.NoError(t, s.TruncateBefore(ctx, "order-1", 2))
	require.NoError(t, s.End(ctx, "customer-1", aggregate.Any))
	require.NoError(t, l.Close())

	require.Equal(t, `TOPIC   STREAM      VERSION  FIRST  EVENTS  STATE
ledger  order-2     1        1      1       -
shop    customer-1  1        2      0       tombstone
shop    order-1     3        2      2       -
shop    order-2     1        1      1       -
shop    order-3     1        1      1       -
`, do(t, "", "streams", dir))
	names := func(args ...string) []string {
		var list []string
		for _, o := range objects(t, do(t, "", append([]string{"streams", dir, "--json"}, args...)...)) {
			list = append(list, o["topic"].(string)+" "+o["stream"].(string))
		}
		return list
	}
	require.Equal(t, []string{"ledger order-2", "shop order-2"}, names("--prefix", "order-2"))
	require.Equal(t, []string{"shop customer-1"}, names("--category", "customer"))
	require.Equal(t, []string{"ledger order-2"}, names("--topic", "ledger"))
	require.Equal(t, exitNotDone, try(t, "", "streams", dir, "--prefix", "a", "--category", "b").status)
	require.Equal(t, exitNotDone, try(t, "", "streams", dir, "--topic", "none").status)

	read := do(t, "", "read", dir, "shop")
	for _, data := range []string{"placed!", "paid!", "shipped!", "born!"} {
		require.Contains(t, read, data, "events are records like others")
	}
	require.Equal(t, "2\t2026-05-01T10:00:00.000Z\tpaid\tpaid!\n3\t2026-05-01T11:00:00.000Z\tshipped\tshipped!\n", do(t, "", "events", dir, "order-1"))
	require.Equal(t, "3\t2026-05-01T11:00:00.000Z\tshipped\tshipped!\n", do(t, "", "events", dir, "order-1", "--from", "3"))
	for _, to := range []string{"2", "2026-05-01T10:30:00Z"} {
		require.Equal(t, "2\t2026-05-01T10:00:00.000Z\tpaid\tpaid!\n", do(t, "", "events", dir, "order-1", "--backward", "--to", to))
	}
	one := objects(t, do(t, "", "events", dir, "order-1", "--json", "--to", "2"))[0]
	require.NotEmpty(t, one["id"])
	delete(one, "id")
	delete(one, "position")
	require.Equal(t, map[string]any{
		"topic": "shop", "stream": "order-1", "version": 2.0, "partition": 0.0, "offset": 1.0, "type": "paid", "schema": 1.0,
		"time": "2026-05-01T10:00:00.000Z", "tenant": "acme", "metadata": map[string]any{"user": "u"}, "data": "paid!",
	}, one)
	require.Equal(t, "/w==", objects(t, do(t, "", "events", dir, "order-3", "--json"))[0]["data_base64"])
	require.Contains(t, try(t, "", "events", dir, "order-2").errors, "--topic says which")
	require.Equal(t, "1\t2026-05-01T09:00:00.000Z\tbooked\tbooked!\n", do(t, "", "events", dir, "order-2", "--topic", "ledger"))
	require.Contains(t, try(t, "", "events", dir, "none").errors, `no such stream: "none"`)
	require.Contains(t, try(t, "", "events", dir, "customer-1").errors, "tombstone")
	require.Equal(t, exitNotDone, try(t, "", "events", dir, "order-1", "--to", "soon").status)
}
