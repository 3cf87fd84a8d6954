//go:build race

package aggregate_test

// raceFactor is how much slower the race detector may make what is timed.
const raceFactor = 20
