package harness_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/stratalog/strata/fuzz/harness"
)

func TestMain(m *testing.M) {
	harness.KillChild()
	goleak.VerifyTestMain(m)
}

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

// TestT1Views crashes at every operation of log and state together.
func TestT1Views(t *testing.T) {
	limit := 2000
	if testing.Short() {
		limit = 600
	}
	floor(t, "T1 views", harness.Run(t, harness.Views(), harness.Options{Deep: 32, Limit: limit}), limit)
}

// TestT1Pebble crashes at every operation on the crashable file system that Pebble is tested with.
func TestT1Pebble(t *testing.T) {
	var all harness.Stats
	for _, w := range harness.Workloads()[:4] {
		s := harness.RunMem(t, w, harness.Options{})
		t.Logf("%s: %s", w.Name, s)
		all.Add(s)
	}
	floor(t, "T1 on Pebble's file system", all, 1000)
}

// TestT3 tears and reorders writes.
func TestT3(t *testing.T) {
	all := harness.Tear(t, harness.Tears(), harness.Options{Deep: 16})
	t.Logf("tears: %s", all)
	for _, w := range harness.Workloads() {
		s := harness.Tear(t, w, harness.Options{Deep: 16, Limit: 2500})
		t.Logf("%s: %s", w.Name, s)
		all.Add(s)
	}
	floor(t, "T3", all, 10000)
}

// TestT4 fails each operation.
func TestT4(t *testing.T) {
	var all harness.Stats
	thin := 4
	if testing.Short() {
		thin = 8
	}
	for _, w := range harness.Workloads()[:4] {
		s := harness.Errors(t, w, thin, harness.Options{})
		t.Logf("%s: %s", w.Name, s)
		all.Add(s)
	}
	floor(t, "T4", all, 1000)
}

// TestT2 crashes recoveries.
func TestT2(t *testing.T) {
	var all harness.Stats
	chains := 200
	if testing.Short() {
		chains = 60
	}
	for _, w := range harness.Workloads() {
		s := harness.Nested(t, w, chains, harness.Options{})
		t.Logf("%s: %s", w.Name, s)
		all.Add(s)
	}
	floor(t, "T2", all, 500)
}

// TestT5 has syncs fail, forget and lie.
func TestT5(t *testing.T) {
	var all harness.Stats
	for _, w := range harness.Workloads()[:4] {
		s, lies := harness.Syncs(t, w, harness.Options{})
		t.Logf("%s: %s %s", w.Name, s, lies)
		all.Add(s)
	}
	floor(t, "T5", all, 500)
}

// TestT6 damages a closed directory.
func TestT6(t *testing.T) {
	step := 4
	if testing.Short() {
		step = 16
	}
	c := harness.MakeClosed(t, 1)
	v := harness.Damage(t, step, harness.Options{Seed: 1})
	t.Logf("T6 %s bytes=%d files=%d", v, c.Bytes(), len(c.Files))
	if c.Bytes() < 64<<10 || v.Opens < 100_000 {
		t.Errorf("T6 opened %d damaged copies of %d bytes: the floor is 100,000, more than one for each byte of 64 KiB", v.Opens, c.Bytes())
	}
}

// TestT6State damages the state of a closed directory.
func TestT6State(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
	v := harness.DamageState(t, step, harness.Options{Seed: 1})
	t.Logf("T6 state %s", v)
	if v.Opens < 1000 || v.Told == 0 {
		t.Errorf("T6 opened %d damaged states and met damage in %d: the floor is 1,000", v.Opens, v.Told)
	}
}
