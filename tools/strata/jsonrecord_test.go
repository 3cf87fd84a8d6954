package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// FuzzRecordJSON checks that what is printed is JSON on one line and gives the same record back, and that
// reading anything else does not panic.
func FuzzRecordJSON(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), []byte("header"), false, int64(1_700_000_000_123))
	f.Add([]byte("\xff"), []byte("\"\\\n\r\t\x00\x7f\u2028"), []byte("h\xfe"), true, int64(0))
	f.Add([]byte{}, []byte(`{"key":"k","headers":[{}]}`), []byte{}, true, int64(-1))
	f.Fuzz(func(t *testing.T, key, value, header []byte, null bool, ms int64) {
		var any log.Record
		_ = parseRecordJSON(value, &any)

		const years = 200 * 365 * 24 * 3600 * 1000
		r := log.Record{
			Topic: "t", Partition: 3, Offset: 4, Position: 5, Timestamp: time.UnixMilli(ms % years).UTC(), Key: key, Value: value,
			Headers: []log.Header{{Key: string(header), Value: value}, {Key: "null"}},
		}
		if null {
			r.Key = nil
		}
		line := appendRecordJSON(nil, "", &r)
		require.True(t, json.Valid(line), "%s", line)
		require.False(t, bytes.ContainsAny(line, "\n\r"))
		var again log.Record
		require.NoError(t, parseRecordJSON(line, &again))
		require.True(t, r.Timestamp.Equal(again.Timestamp), "%v %v", r.Timestamp, again.Timestamp)
		want := r
		want.Topic, want.Partition, want.Offset, want.Position, want.Timestamp = "", 0, 0, 0, again.Timestamp
		require.Equal(t, want, again)
	})
}

// TestJSONThereAndBack checks that a topic of which every kind of bytes is made comes back equal from what read
// printed.
func TestJSONThereAndBack(t *testing.T) {
	dir := goldenLog(t)
	printed := do(t, "", "read", dir, "orders", "--output", "json")
	do(t, printed, "append", dir, "copy", "--create", "--json")
	again := objects(t, do(t, "", "read", dir, "copy", "--output", "json"))
	for i, want := range objects(t, printed) {
		for _, field := range []string{"timestamp", "key", "key_base64", "value", "value_base64", "headers"} {
			require.Equal(t, want[field], again[i][field], field)
		}
	}
	require.Len(t, again, 5)
}
