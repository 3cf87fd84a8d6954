package queue

import "sync"

// event is what the view tells a dispatcher: something has become of a message.
type event struct {
	what  happening
	lease uint64 // that it had, 0 for none
	item  item   // where it is now; the offset alone when it left, and due its deadline when extended
}

type happening uint8

const (
	wasPlaced happening = iota
	wasSettled
	wasExtended
)

// inbox is where the goroutine that applies the view leaves what a dispatcher should know. It never
// waits: what is too much is dropped, and the dispatcher looks at the view again. The methods may be
// called concurrently.
type inbox struct {
	mu       sync.Mutex
	events   []event       // guarded by mu
	overflow bool          // events were dropped; guarded by mu
	waiters  []*waiter     // who waits for messages, the longest first; guarded by mu
	freed    chan struct{} // closed when messages have left the queue; nil when nobody asked; guarded by mu
	kick     chan struct{} // has room for one

	most, lazy int // limits.events and limits.lazyEvents; immutable
}

// waiter is a call that waits for messages.
type waiter struct{ woken chan struct{} }

func (in *inbox) post(e event, hurry bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.events) >= in.most {
		in.events, in.overflow = in.events[:0], true
	}
	in.events = append(in.events, e)
	if e.what == wasSettled {
		in.freeLocked()
	}
	switch {
	case hurry && len(in.waiters) > 0:
		in.wakeLocked()
	case e.what == wasExtended || e.item.in == inDelayed || len(in.events) >= in.lazy:
		in.kickLocked()
	}
}

// take returns what was left, and whether that is not all.
func (in *inbox) take(into []event) (events []event, overflow bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	events = append(into[:0], in.events...)
	in.events = in.events[:0]
	overflow, in.overflow = in.overflow, false
	return events, overflow
}

// wake wakes one who waits.
func (in *inbox) wake() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.wakeLocked()
}

func (in *inbox) wakeLocked() {
	if len(in.waiters) == 0 {
		return
	}
	w := in.waiters[0]
	in.waiters = in.waiters[1:]
	close(w.woken)
}

// enlist makes the caller one who waits. It is woken once.
func (in *inbox) enlist() *waiter {
	in.mu.Lock()
	defer in.mu.Unlock()
	w := &waiter{make(chan struct{})}
	in.waiters = append(in.waiters, w)
	return w
}

// leave ends the wait of w. When it was woken meanwhile, somebody else is.
func (in *inbox) leave(w *waiter) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i, other := range in.waiters {
		if other == w {
			in.waiters = append(in.waiters[:i:i], in.waiters[i+1:]...)
			return
		}
	}
	in.wakeLocked()
}

func (in *inbox) freeLocked() {
	if in.freed != nil {
		close(in.freed)
		in.freed = nil
	}
}

func (in *inbox) free() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.freeLocked()
}

// freedChannel returns what is closed when messages leave the queue from now on.
func (in *inbox) freedChannel() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.freed == nil {
		in.freed = make(chan struct{})
	}
	return in.freed
}

func (in *inbox) kickLocked() {
	select {
	case in.kick <- struct{}{}:
	default:
	}
}

func (in *inbox) kickPump() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.kickLocked()
}

// endAll wakes everybody.
func (in *inbox) endAll() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.waiters) > 0 {
		in.wakeLocked()
	}
	in.freeLocked()
	in.kickLocked()
}

func (in *inbox) freedChannelIf(asked bool) <-chan struct{} {
	if !asked {
		return nil
	}
	return in.freedChannel()
}
