package bench_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/bench"
)

func TestPayloads(t *testing.T) {
	for _, size := range []int{128, 1 << 10} {
		records := bench.Payloads(1000, size)
		require.Equal(t, records, bench.Payloads(1000, size), "the same every time")
		seen := map[string]bool{}
		for _, r := range records {
			require.Len(t, r, size)
			require.True(t, json.Valid(r), "%s", r)
			seen[string(r)] = true
		}
		require.Len(t, seen, len(records))
		all := bytes.Join(records, nil)
		ratio := float64(len(all)) / float64(len(s2.Encode(nil, all)))
		require.InDelta(t, 2, ratio, 0.7, "real events pack about twofold")
	}
}
