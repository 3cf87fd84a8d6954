package log

import (
	"runtime"
	"time"
)

// The pen is the right to write to the active segment. One goroutine has it at a time. It is passed
// under Log.mu: a committer takes it when it lies free, writes the pending commit group, its own
// commit in it, wakes the others of the group, and passes the pen to one of those who came meanwhile.
// A hand-over costs a wake-up, which is why there is no goroutine that writes for all.

// pen is guarded by Log.mu.
type pen struct {
	held bool
	// queue holds those who want the pen for something else than a commit; they come first.
	queue []chan struct{}
	// scribe says that the scribe was given the pen, or is to take it.
	scribe bool
}

// signal is what a waiter is woken with.
type signal uint8

const (
	acknowledged signal = iota // the waiter's commit is decided: see waiter.err
	given                      // the waiter has the pen, and must write and pass it on
)

// waiter is a commit that waits for its acknowledgement.
type waiter struct {
	durability Durability
	// c has room for all that is ever sent. nil for a commit that nobody waits for by blocking.
	c chan signal
	// ack is the handle of CommitAsync, or nil.
	ack *Ack
	// decided, err and gone are guarded by Log.mu; gone says that nobody reads c any more.
	decided bool
	err     error
	gone    bool
	// writing says that the waiter's goroutine has the pen, or was sent it: it looks at decided when it
	// passes that on, and needs no signal. Guarded by Log.mu.
	writing bool
}

// newWaiter returns a waiter, one whose commit is decided where there is one. Each log keeps its own:
// the channel of a waiter that was made in a bubble of testing/synctest must not be used outside it.
func (l *Log) newWaiter() *waiter {
	if w, ok := l.waiters.Get().(*waiter); ok {
		return w
	}
	return &waiter{c: make(chan signal, 2)}
}

// decideLocked decides w and reports whether it is to be signalled. Log.mu is held.
func (w *waiter) decideLocked(err error) bool {
	w.decided, w.err = true, err
	return w.ack != nil || !w.gone && !w.writing
}

// signal tells who waits for w that it is decided. Afterwards w may be in use again.
func (w *waiter) signal() {
	if a := w.ack; a != nil {
		a.err = w.err
		close(a.done)
		return
	}
	w.c <- acknowledged
}

// takePen waits for the pen, for something else than a commit.
func (l *Log) takePen() {
	l.mu.Lock()
	if !l.pen.held {
		l.pen.held = true
		l.mu.Unlock()
		return
	}
	c := make(chan struct{})
	l.pen.queue = append(l.pen.queue, c)
	l.mu.Unlock()
	<-c
}

// passPen gives the pen away.
func (l *Log) passPen() {
	l.mu.Lock()
	l.passPenLocked()
	l.mu.Unlock()
}

func (l *Log) passPenLocked() {
	if q := l.pen.queue; len(q) > 0 {
		close(q[0])
		q[0] = nil
		l.pen.queue = q[1:]
		return
	}
	l.pen.queue = nil
	for _, w := range l.pending.waiters {
		if w.c != nil && !w.gone {
			w.writing = true
			w.c <- given
			return
		}
	}
	l.pen.held = false
	if l.pending.commits > 0 && l.pending.hurry {
		l.callScribeLocked()
	}
}

const (
	// joinWait bounds how long the writer waits for those whom it has just woken to come again. More
	// waiting than a third of a flush does not pay.
	joinWait = 60 * time.Microsecond
	// joinStep is how much longer it waits when somebody has come, and joinMost bounds that: hundreds of
	// callers take longer to come than joinWait, and would split into two groups.
	joinStep = 20 * time.Microsecond
	joinMost = 4 * joinWait
	// joinTurns bounds it where time stands still, as it does in tests.
	joinTurns = 1000
)

// join waits, a little, until as many commits are pending as the last commit group had: with one
// group in flight at a time, callers in a loop would otherwise split into two groups that take turns.
// It yields rather than sleeps, since a timer is not precise enough, and waits only for callers to
// come, never for one that is there to finish.
func (l *Log) join() {
	came := l.arrived.Load()
	if l.lastGroup < 2 || came >= l.lastGroup || l.o.Durability == Buffered {
		return
	}
	start, most := time.Now(), joinWait
	for range joinTurns {
		runtime.Gosched()
		now, waited := l.arrived.Load(), time.Since(start)
		if now >= l.lastGroup || waited >= most {
			return
		}
		if now > came {
			came, most = now, min(max(most, waited+joinStep), joinMost)
		}
	}
}
