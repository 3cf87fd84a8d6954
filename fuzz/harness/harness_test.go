package harness_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/stratalog/strata/fuzz/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// floor fails a harness that has tried too little.
func floor(t *testing.T, name string, s harness.Stats, images int) {
	t.Helper()
	t.Logf("%s %s", name, s)
	if s.Images < images {
		t.Errorf("%s tried %d images, the floor is %d", name, s.Images, images)
	}
}

// TestT1 crashes at every operation.
func TestT1(t *testing.T) {
	var all harness.Stats
	for _, w := range harness.Workloads() {
		s := harness.Run(t, w, harness.Options{})
		t.Logf("%s: %s", w.Name, s)
		all.Add(s)
	}
	floor(t, "T1", all, 5000)
}
