package log

import "context"

// sleeper is a follower that waits for an end of the log to move. Who moves one takes all sleepers off the list, and
// wakes each directly. A follower uses the same one again and again, so that waiting does not allocate.
type sleeper struct {
	wake chan struct{} // has room for the one signal that ends a sleep
	// asleep says that it is on the list of the log, next is the one behind it there. Both are guarded by Log.endMu.
	asleep bool
	next   *sleeper
}

// waiting is who waits for an end of the log to move.
type waiting struct {
	moved    chan struct{} // closed when one moves, made by who waits
	sleepers *sleeper
}

// any reports whether somebody waits.
func (w waiting) any() bool { return w.moved != nil || w.sleepers != nil }

// takeWaitingLocked returns who waits, to be woken. endMu is held; it need not be any more when they are.
func (l *Log) takeWaitingLocked() waiting {
	w := l.waiting
	l.waiting = waiting{}
	for s := w.sleepers; s != nil; s = s.next {
		s.asleep = false
	}
	return w
}

// wake wakes all of w.
func (w waiting) wake() {
	if w.moved != nil {
		close(w.moved)
	}
	for s := w.sleepers; s != nil; {
		next := s.next // who is awake may sleep again at once
		s.next = nil
		s.wake <- struct{}{}
		s = next
	}
}

// wakeFollowers wakes those who wait for an end to move.
func (l *Log) wakeFollowers() {
	l.endMu.Lock()
	w := l.takeWaitingLocked()
	l.endMu.Unlock()
	w.wake()
}

// movedChannel returns a channel that is closed when an end moves, or the log fails or closes.
func (l *Log) movedChannel() <-chan struct{} {
	l.endMu.Lock()
	defer l.endMu.Unlock()
	if l.waiting.moved == nil {
		l.waiting.moved = make(chan struct{})
	}
	return l.waiting.moved
}

// wait waits until the visible end has moved behind what c has seen.
func (c *cursor) wait(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.moreOrAsleep() {
			return nil
		}
		l := c.l
		l.mu.Lock()
		closed, failed := l.closed, l.failed
		l.mu.Unlock()
		switch {
		case closed:
			l.getUp(c.sleeper)
			return ErrClosed
		case failed != nil:
			l.getUp(c.sleeper)
			return failed
		}
		select {
		case <-c.sleeper.wake:
		case <-ctx.Done():
			l.getUp(c.sleeper)
		}
	}
}

// moreOrAsleep reports whether there is more than c has seen, which next then finds. Where there is not, c's sleeper
// is asleep from the moment on at which that was so.
func (c *cursor) moreOrAsleep() bool {
	if c.sleeper == nil {
		c.sleeper = &sleeper{wake: make(chan struct{}, 1)}
	}
	l := c.l
	l.endMu.Lock()
	defer l.endMu.Unlock()
	end := c.endLocked()
	if end.part != c.ps[c.i] {
		if c.ps = *l.parts.Load(); c.i < len(c.ps)-1 {
			return true // the segment is sealed
		}
	} else if end.byte > c.sc.Limit() {
		if b := l.recent.of(end.part, c.sc.At(), end.byte); b != nil {
			c.sc.Supply(b)
		}
		c.sc.Extend(end.byte)
		return true
	}
	c.sleeper.asleep, c.sleeper.next = true, l.waiting.sleepers
	l.waiting.sleepers = c.sleeper
	return false
}

// getUp ends the sleep of s, whose goroutine calls it.
func (l *Log) getUp(s *sleeper) {
	l.endMu.Lock()
	if !s.asleep {
		l.endMu.Unlock()
		<-s.wake // which is under way
		return
	}
	at := &l.waiting.sleepers
	for *at != s {
		at = &(*at).next
	}
	*at, s.asleep = s.next, false
	l.endMu.Unlock()
}
