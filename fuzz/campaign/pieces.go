package main

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stratalog/strata/fuzz/harness"
)

// piece is what a round does with one harness.
type piece struct {
	name string
	test string // that repeats a violation, with the seed in the environment
	run  func(t testing.TB, seed uint64) counts
}

func of(s harness.Stats) counts {
	return counts{Images: s.Images, Acked: s.Acked, Violations: s.Violations}
}

// workload is one of the fixed workloads, or a drawn one.
func workload(seed uint64) harness.Workload {
	if fixed := harness.Workloads(); seed%3 == 0 {
		return fixed[seed/3%uint64(len(fixed))]
	}
	return harness.Random(seed, 45)
}

var pieces = []piece{
	{"T1", "TestT1", func(t testing.TB, seed uint64) counts {
		return of(harness.Run(t, workload(seed), harness.Options{Seed: seed, Draws: 4, Limit: 8000}))
	}},
	{"T1 views", "TestT1Views", func(t testing.TB, seed uint64) counts {
		return of(harness.Run(t, harness.Views(), harness.Options{Seed: seed, Deep: 32, Limit: 3000}))
	}},
	{"T1 Pebble", "TestT1Pebble", func(t testing.TB, seed uint64) counts {
		return of(harness.RunMem(t, workload(seed), harness.Options{Seed: seed}))
	}},
	{"T2", "TestT2", func(t testing.TB, seed uint64) counts {
		return of(harness.Nested(t, workload(seed), 400, harness.Options{Seed: seed}))
	}},
	{"T3", "TestT3", func(t testing.TB, seed uint64) counts {
		return of(harness.Tear(t, workload(seed), harness.Options{Seed: seed, Deep: 16, Limit: 8000}))
	}},
	{"T4", "TestT4", func(t testing.TB, seed uint64) counts {
		return of(harness.Errors(t, harness.Workloads()[seed%4], 6, harness.Options{Seed: seed}))
	}},
	{"T5", "TestT5", func(t testing.TB, seed uint64) counts {
		s, _ := harness.Syncs(t, harness.Workloads()[seed%4], harness.Options{Seed: seed})
		return of(s)
	}},
	{"T6", "TestT6", func(t testing.TB, seed uint64) counts {
		v := harness.Damage(t, 8, harness.Options{Seed: seed})
		return counts{Images: v.Opens, Window: v.Window, Violations: v.Violations}
	}},
	{"T7", "TestT7", func(t testing.TB, seed uint64) counts {
		var n counts
		for k := range uint64(150) {
			rng := rand.New(rand.NewPCG(seed, k))
			if err := harness.Model(func(_ string, n int) int { return rng.IntN(n) }, 60); err != nil {
				n.Violations++
				t.Errorf("T7 seed=%d,%d: %v", seed, k, err)
			}
			n.Images++
		}
		return n
	}},
	{"T8", "TestT8", func(t testing.TB, seed uint64) counts {
		return counts{Images: len(harness.Configurations()), Acked: harness.Same(t, seed, 80)}
	}},
	{"T9", "TestT9", func(t testing.TB, seed uint64) counts {
		return of(harness.Kills(t, 200, harness.Options{Seed: seed}))
	}},
}

// tb takes what a harness says to its test.
type tb struct {
	testing.TB
	name     string
	failures int
}

func (t *tb) Helper()             {}
func (t *tb) Name() string        { return t.name }
func (t *tb) Logf(string, ...any) {}

func (t *tb) Errorf(format string, args ...any) {
	t.failures++
	fmt.Printf("VIOLATION: "+format+"\n", args...)
}

// Fatalf is called when a workload fails without any fault, which ends the campaign.
func (t *tb) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (t *tb) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
