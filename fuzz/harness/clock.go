package harness

import (
	"sync"
	"time"

	"github.com/stratalog/strata/internal/clock"
)

// stepClock is a manual clock whose Advance returns when those whom it woke have set their timers
// again, so that what a log does by the clock is done when Advance returns.
type stepClock struct {
	*clock.Manual
	mu    sync.Mutex
	fired map[*stepTimer]time.Duration // due times of set timers; guarded by mu
	moved chan struct{}                // has room for one; a timer was set or stopped
}

// patience is how long a step of the log may take before the harness goes on without it.
const patience = 2 * time.Second

func newClock() *stepClock {
	return &stepClock{
		Manual: clock.NewManual(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)),
		fired:  map[*stepTimer]time.Duration{}, moved: make(chan struct{}, 1),
	}
}

type stepTimer struct {
	c *stepClock
	clock.Timer
}

func (c *stepClock) NewTimer(d time.Duration) clock.Timer {
	t := &stepTimer{c: c, Timer: c.Manual.NewTimer(d)}
	c.set(t, d)
	return t
}

func (c *stepClock) set(t *stepTimer, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fired, t)
	if d >= 0 {
		c.fired[t] = c.Monotonic() + d
	}
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

func (t *stepTimer) Reset(d time.Duration) {
	t.Timer.Reset(d)
	t.c.set(t, d)
}

func (t *stepTimer) Stop() {
	t.Timer.Stop()
	t.c.set(t, -1)
}

// Advance moves the clock and waits for those whom it woke.
func (c *stepClock) Advance(d time.Duration) {
	c.Manual.Advance(d)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for c.due() {
		select {
		case <-c.moved:
		case <-deadline.C:
			return
		}
	}
}

// due reports whether a timer has fired that was not set again.
func (c *stepClock) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Monotonic()
	for _, at := range c.fired {
		if at <= now {
			return true
		}
	}
	return false
}

// forget drops the timers of a log that is closed or dead.
func (c *stepClock) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.fired)
}
