package harness_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/stratalog/strata/fuzz/harness"
)

// TestT7 makes drawn calls on a log, with crashes, kills and reopenings among them, and holds the log
// against the oracle. A failure is shrunk to a short list of draws.
func TestT7(t *testing.T) {
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		draw := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, label) }
		if err := harness.Model(draw, 10+draw("steps", 50)); err != nil {
			rt.Fatal(err)
		}
	})
	t.Logf("T7 runs=%d violations=0", runs)
	floor := 50
	if testing.Short() {
		floor = 10 // rapid makes a fifth of its runs
	}
	if runs < floor {
		t.Errorf("T7 made %d runs, the floor is %d", runs, floor)
	}
}

// TestT8 makes the same calls under many configurations.
func TestT8(t *testing.T) {
	seeds, records := uint64(12), 0
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		records += harness.Same(t, seed+1, 60)
	}
	t.Logf("T8 seeds=%d configurations=%d records=%d violations=0", seeds, len(harness.Configurations()), records)
	if records < 300 {
		t.Errorf("T8 compared %d records, the floor is 300", records)
	}
}
