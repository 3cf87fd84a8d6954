package main

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEngines runs every engine through every workload that it is in, with hardly any load: that it
// is set up rightly, gives back what it was given, and is there after reopening.
func TestEngines(t *testing.T) {
	b := &run{
		scratch: t.TempDir(), payloads: makePayloads(), cycle: payloadCycle, loads: map[string]*loadedLog{},
		unsyncedSeconds: 0.02, syncedSeconds: 0.02, readSeconds: 0.02, followSeconds: 0.02,
		unsyncedBytes: 1 << 20, pages: 1 << 20, records: 2000, growth: 20_000,
	}
	for _, w := range workloads() {
		if testing.Short() && (w.name == "W4-64" || w.name == "W4-256") {
			w.cases = w.cases[:1]
		}
		for _, e := range engines() {
			if !e.in(w.family()) || w.takes != nil && !w.takes(e) {
				continue
			}
			for _, name := range w.cases {
				t.Run(w.name+"/"+name+"/"+e.name, func(t *testing.T) {
					v, err := w.trial(b, e, name)
					if errors.Is(err, errors.ErrUnsupported) {
						t.Skip("not what it can do")
					}
					if errors.Is(err, errMissing) {
						t.Skip(err)
					}
					require.NoError(t, err)
					require.Positive(t, v[w.value])
				})
			}
		}
		b.leave(w)
	}
	b.unload()
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 100_000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.99, 0.999} {
		require.InEpsilon(t, q*100_000, h.quantile(q), 0.04)
	}
}

func TestMedian(t *testing.T) {
	rs := &results{}
	for i, v := range []float64{5, 1, 3, 4} {
		rs.Trials = append(rs.Trials, trial{Case: "c", Engine: "e", Trial: i, Values: values{"rate": v}})
	}
	rs.Trials = append(rs.Trials, trial{Case: "c", Engine: "e", Trial: 4, Error: "no"})
	m, spread, ok := rs.median("c", "e", "rate")
	require.True(t, ok)
	require.InDelta(t, 3.5, m, 0)
	require.InDelta(t, 2/3.5, spread, 1e-9)
	require.True(t, rs.has("c", "e", 3))
	require.False(t, rs.has("c", "e", 4), "a failed trial is run again")
}
