package timer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/stratalog/strata/log"
)

// loop gives the timers of one owner to its handler. In memory are the batch that is handled, the
// place behind the last one that was, and those that failed; the rest is in the view.
type loop struct {
	t      *Timers
	owner  string
	handle Handler
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended
	kick   chan struct{}
	to     []byte // the end of the owner's keys

	// The fields from here to mu belong to run.

	// place is the key from which on nothing was handled: what lies before it was, or has failed.
	place  []byte
	failed []*failure

	mu sync.Mutex
	// back is the earliest time for which a timer was set since run looked last, in microseconds.
	// Guarded by mu.
	back uint64
	// next is when run wakes by itself for a timer that it knows. Guarded by mu.
	next uint64
}

// failure is a timer that is to be handled again.
type failure struct {
	timer Timer
	key   string
	count int
	at    time.Duration // by the monotonic clock
}

const (
	maxBatch      = 1024
	maxBatchBytes = 1 << 20
	// maxFailed bounds how many failures of an owner are waited for beside going on.
	maxFailed = 1024
	never     = math.MaxUint64
)

// again is how failures are tried again.
var again = Retry{Attempts: -1, Even: true}

func newLoop(t *Timers, owner string, h Handler) *loop {
	lp := &loop{
		t: t, owner: owner, handle: h, done: make(chan struct{}), kick: make(chan struct{}, 1),
		back: never, next: never,
	}
	lp.ctx, lp.cancel = context.WithCancel(t.ctx)
	lp.place, lp.to = ownerRange(owner)
	return lp
}

// set is called when a timer was set that is due then.
func (lp *loop) set(due uint64) {
	lp.mu.Lock()
	lp.back = min(lp.back, due)
	wake := due < lp.next
	lp.mu.Unlock()
	if wake {
		select {
		case lp.kick <- struct{}{}:
		default:
		}
	}
}

func (lp *loop) run() {
	defer close(lp.done)
	clock := lp.t.l.Options().Clock
	wake := clock.NewTimer(time.Hour)
	defer wake.Stop()
	broken := 0
	for {
		wait, asOf, err := lp.turn()
		switch {
		case lp.ctx.Err() != nil || errors.Is(err, log.ErrClosed):
			return
		case err != nil:
			broken++
			lp.warn("timers cannot be read", err)
			wait, asOf = again.Bound(broken), clock.Monotonic()
		default:
			broken = 0
		}
		if wait == 0 {
			continue
		}
		wake.Stop()
		if wait > 0 {
			wake.Reset(wait)
			if clock.Monotonic()-asOf > time.Millisecond {
				continue // this was held up, and would sleep for too long
			}
		}
		select {
		case <-lp.ctx.Done():
			return
		case <-lp.kick:
		case <-wake.C():
		}
	}
}

// turn handles one batch of what is due. It returns how long there is nothing to do, negative for as
// long as nothing is set, from asOf on, by the monotonic clock.
func (lp *loop) turn() (wait, asOf time.Duration, err error) {
	lp.stepBack()
	if err := lp.tryFailed(); err != nil {
		return 0, 0, err
	}
	var due []Timer
	next := uint64(never)
	if len(lp.failed) < maxFailed {
		if due, next, err = lp.scan(); err != nil {
			return 0, 0, err
		}
	}
	if len(due) > 0 {
		return 0, 0, lp.give(due)
	}
	lp.mu.Lock()
	lp.next = next
	looked := lp.back == never // otherwise something was set meanwhile
	lp.mu.Unlock()
	if !looked {
		return 0, 0, nil
	}
	wait, asOf = -1, lp.t.l.Options().Clock.Monotonic()
	if next != never {
		wait = lp.sleep(next)
	}
	for _, f := range lp.failed {
		if left := max(f.at-asOf, 0); wait < 0 || left < wait {
			wait = left
		}
	}
	return wait, asOf, nil
}

// sleep returns how long to sleep until due. The log's time can run faster than the monotonic clock,
// by a tenth at most, while it is drawn to the wall clock; so the last part is slept separately.
func (lp *loop) sleep(due uint64) time.Duration {
	left := decodeDue(due).Sub(lp.t.l.Now())
	if left <= 0 {
		return 0 // it has become due since the scan
	}
	return max(left-left/11-time.Microsecond, time.Microsecond)
}

// stepBack moves the place back to what was set since the last look.
func (lp *loop) stepBack() {
	lp.mu.Lock()
	back := lp.back
	// What is set from here on wakes the loop, until it has looked.
	lp.back, lp.next = never, never
	lp.mu.Unlock()
	if back == never {
		return
	}
	key := dueKey([]byte(lp.owner), binary.BigEndian.AppendUint64(nil, back), nil)
	if bytes.Compare(key, lp.place) < 0 {
		lp.place = key
	}
}

// scan returns a batch of timers that are due, from the place on, and when the one behind them is due.
func (lp *loop) scan() (due []Timer, next uint64, err error) {
	now := lp.t.l.Now()
	size := 0
	for kv, err := range lp.t.v.Scan(lp.ctx, lp.place, lp.to) {
		if err != nil {
			return nil, never, err
		}
		t, ok := decodeTimer(kv.Key, kv.Value)
		if !ok || lp.hasFailed(kv.Key) {
			continue
		}
		if t.Due.After(now) || len(due) == maxBatch || size > maxBatchBytes {
			return due, encodeDue(t.Due), nil
		}
		t.Payload = bytes.Clone(t.Payload)
		size += len(t.Payload)
		due = append(due, t)
	}
	return due, never, nil
}

func (lp *loop) hasFailed(key []byte) bool {
	return slices.ContainsFunc(lp.failed, func(f *failure) bool { return f.key == string(key) })
}

func (t *Timer) key() []byte {
	return dueKey([]byte(t.Owner), encodeSet(encodeDue(t.Due), t.Position), []byte(t.ID))
}

// give has a batch handled, and moves the place behind it.
func (lp *loop) give(due []Timer) error {
	behind := append(due[len(due)-1].key(), 0)
	left, cause, err := lp.call(due)
	if err != nil {
		return err
	}
	for _, t := range left {
		why := cause
		if cause != nil && len(due) > 1 {
			var still []Timer
			if still, why, err = lp.call([]Timer{t}); err != nil {
				return err
			}
			if len(still) == 0 {
				continue
			}
		}
		f := &failure{timer: t, key: string(t.key())}
		lp.failed = append(lp.failed, f)
		lp.putOff(f, why)
	}
	lp.place = behind
	return nil
}

// tryFailed has those failures handled once more that are up for it.
func (lp *loop) tryFailed() error {
	now := lp.t.l.Options().Clock.Monotonic()
	for _, f := range slices.Clone(lp.failed) {
		if f.at > now {
			continue
		}
		left, err := lp.left([]Timer{f.timer})
		var why error
		if err == nil && len(left) > 0 {
			left, why, err = lp.call(left)
		}
		if err != nil {
			return err
		}
		if len(left) > 0 {
			lp.putOff(f, why)
			continue
		}
		lp.failed = slices.DeleteFunc(lp.failed, func(other *failure) bool { return other == f })
	}
	return nil
}

// putOff notes that f is handled once more, and when.
func (lp *loop) putOff(f *failure, why error) {
	if why == nil {
		why = errLeft
	}
	f.count++
	wait := again.Bound(f.count)
	f.at = lp.t.l.Options().Clock.Monotonic() + wait
	lp.warn("handling a timer failed", why, "id", f.timer.ID, "attempts", f.count, "again_in", wait)
}

// call has due handled. It returns those that are set still, and the handler's error; err is another.
func (lp *loop) call(due []Timer) (left []Timer, why, err error) {
	if err := lp.ctx.Err(); err != nil {
		return nil, nil, err
	}
	why = lp.handle(lp.ctx, slices.Clone(due))
	left, err = lp.left(due)
	return left, why, err
}

// left returns those that are set.
func (lp *loop) left(ts []Timer) (left []Timer, err error) {
	for i := range ts {
		t := &ts[i]
		set, _, err := lp.t.v.Get(lp.ctx, append([]byte{'i'}, encodeName(t.Owner, t.ID)...))
		if err != nil {
			return nil, err
		}
		if bytes.Equal(set, encodeSet(encodeDue(t.Due), t.Position)) {
			left = append(left, *t)
		}
	}
	return left, nil
}

func (lp *loop) warn(message string, err error, more ...any) {
	lp.t.l.Options().Logger.Warn(message, append([]any{"owner", lp.owner, "error", err.Error()}, more...)...)
}
