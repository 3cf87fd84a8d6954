package harness_test

import (
	"testing"

	"github.com/stratalog/strata/fuzz/harness"
)

// TestT9 kills real processes on a real file system.
func TestT9(t *testing.T) {
	kills := 140
	if testing.Short() {
		kills = 100
	}
	floor(t, "T9", harness.Kills(t, kills, harness.Options{}), 100)
}
