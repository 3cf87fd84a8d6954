package record_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/record"
)

func TestDead(t *testing.T) {
	d := record.Dead{
		Cause: "card declined: \"no\"", Attempts: 5, Topic: "orders", Partition: 3, Offset: 1 << 40, Group: "billing",
		Time: time.UnixMicro(1_700_000_000_123_456).UTC(),
	}
	own := []record.Header{{Key: "h", Value: []byte("v")}, {Key: "null"}}
	headers := d.AppendTo(own)
	require.Equal(t, own, headers[:2])
	got, err := record.ParseDead(headers)
	require.NoError(t, err)
	require.Equal(t, d, got)
	// A second death replaces the first.
	d.Attempts, d.Cause = 1, ""
	again := d.AppendTo(headers)
	require.Len(t, again, len(headers))
	got, err = record.ParseDead(again)
	require.NoError(t, err)
	require.Equal(t, d, got)

	_, err = record.ParseDead(own)
	require.ErrorIs(t, err, record.ErrNotDead)
	_, err = record.ParseDead(headers[:5])
	require.ErrorIs(t, err, record.ErrNotDead)
	for i, h := range headers {
		if h.Key == record.HeaderDeadAttempts || h.Key == record.HeaderDeadTime {
			bad := append([]record.Header{}, headers...)
			bad[i].Value = []byte("x")
			_, err = record.ParseDead(bad)
			require.ErrorIs(t, err, record.ErrNotDead)
		}
	}
}
