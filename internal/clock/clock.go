// Package clock is where time enters Strata: the system's clock, and one for tests that stands still
// until it is told to move.
package clock

import "time"

// Clock tells wall and monotonic time and wakes. Its methods may be called concurrently.
type Clock interface {
	// Now returns the wall clock. It may jump.
	Now() time.Time
	// Monotonic returns the time since some fixed moment. It never goes back.
	Monotonic() time.Duration
	// NewTimer returns a timer that fires once after d, by the monotonic clock.
	NewTimer(d time.Duration) Timer
}

// Timer is a time.Timer as far as Strata uses one.
type Timer interface {
	// C is where the timer fires.
	C() <-chan time.Time
	// Reset makes the timer fire d from now. What an earlier setting left in C is gone.
	Reset(d time.Duration)
	// Stop makes the timer not fire. What it left in C is gone.
	Stop()
}

// System returns the clock of the operating system.
func System() Clock { return systemClock{} }

type systemClock struct{}

var started = time.Now()

func (systemClock) Now() time.Time           { return time.Now() }
func (systemClock) Monotonic() time.Duration { return time.Since(started) }
func (systemClock) NewTimer(d time.Duration) Timer {
	return systemTimer{time.NewTimer(d)}
}

type systemTimer struct{ t *time.Timer }

func (t systemTimer) C() <-chan time.Time   { return t.t.C }
func (t systemTimer) Reset(d time.Duration) { t.t.Reset(d) }
func (t systemTimer) Stop()                 { t.t.Stop() }
