package clock

import (
	"sync"
	"time"
)

// Manual is a clock that moves only when it is told to.
type Manual struct {
	mu     sync.Mutex
	wall   time.Time                 // guarded by mu
	mono   time.Duration             // guarded by mu
	timers map[*manualTimer]struct{} // the set ones; guarded by mu
}

// NewManual returns a clock that stands at wall.
func NewManual(wall time.Time) *Manual {
	return &Manual{wall: wall, timers: map[*manualTimer]struct{}{}}
}

// Now returns the wall clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wall
}

// Monotonic returns how far Advance has moved the clock.
func (m *Manual) Monotonic() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mono
}

// Advance moves both clocks by d and fires the timers that are due.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall = m.wall.Add(d)
	m.mono += d
	for t := range m.timers {
		if t.due <= m.mono {
			delete(m.timers, t)
			t.c <- m.wall // has room: a set timer has not fired
		}
	}
}

// Jump moves the wall clock alone, as an administrator or a time service may.
func (m *Manual) Jump(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall = m.wall.Add(d)
}

// NewTimer returns a timer that fires when Advance passes it.
func (m *Manual) NewTimer(d time.Duration) Timer {
	t := &manualTimer{m: m, c: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

type manualTimer struct {
	m   *Manual
	c   chan time.Time
	due time.Duration // guarded by m.mu
}

func (t *manualTimer) C() <-chan time.Time { return t.c }

func (t *manualTimer) Reset(d time.Duration) {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.drain()
	t.due = t.m.mono + d
	if d <= 0 {
		t.c <- t.m.wall
		return
	}
	t.m.timers[t] = struct{}{}
}

func (t *manualTimer) Stop() {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.drain()
}

// drain unsets t; m.mu is held.
func (t *manualTimer) drain() {
	delete(t.m.timers, t)
	select {
	case <-t.c:
	default:
	}
}
