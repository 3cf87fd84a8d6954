package queue

import (
	"context"
	"errors"
	"time"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	retry "github.com/stratalog/strata/timer"
)

// pump ends leases whose time is over, wakes receivers when delayed messages are due, and forgets
// DedupIDs whose windows are over. It ends with the log or the queue.
func (d *dispatcher) pump() {
	clock := d.dir.l.Options().Clock
	timer := clock.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	failed := 0
	again := retry.Retry{Attempts: -1, Even: true}
	for first := true; ; first = false {
		if !first {
			select {
			case <-d.dir.ctx.Done():
				return
			case <-d.in.kick:
			case <-timer.C():
			}
		}
		next, err := d.turn(d.dir.ctx)
		switch {
		case errors.Is(err, ErrNoQueue) || errors.Is(err, log.ErrClosed) || d.dir.ctx.Err() != nil:
			return
		case errors.Is(err, errReload):
			d.in.kickPump() // all is looked up anew
			next = 0
		case err != nil:
			failed++
			d.dir.l.Options().Logger.Warn("queue cannot be tended", "queue", d.name, "error", err.Error())
			next = d.now() + again.Bound(failed).Microseconds()
		default:
			failed = 0
		}
		timer.Stop()
		if next == 0 {
			continue
		}
		d.sleepUntil(next, timer)
	}
}

// sleepUntil sets the timer for when the log's time is next; it fires at once when that is over.
func (d *dispatcher) sleepUntil(next int64, timer clock.Timer) {
	mono := d.dir.l.Options().Clock.Monotonic
	for {
		begun := mono()
		left := time.Duration(next-d.now()) * time.Microsecond
		if left <= 0 {
			timer.Reset(0) // the time has come since the turn; a clock that stands still ends no sleep, however short
			return
		}
		// The log's time can run faster than the monotonic clock, by a tenth at most, while it is drawn to
		// the wall clock; so the last part is slept separately.
		timer.Reset(left - left/11)
		// Who was held up between looking at the time and setting the timer sets it again.
		if mono()-begun < time.Millisecond && d.now() < next {
			return
		}
	}
}

// turn does what is due, and returns when to look again, in µs of the log's time, 0 for when something
// happens.
func (d *dispatcher) turn(ctx context.Context) (next int64, err error) {
	if err := d.forgetDedup(ctx); err != nil {
		return 0, err
	}
	d.nextWake.Store(1) // what comes from here on and is due later is found below
	ended, next, ripe, err := d.lookAtTime(ctx)
	if err != nil {
		return 0, err
	}
	if ripe {
		d.in.wake()
	}
	if len(ended) == 0 {
		return next, nil
	}
	return next, d.withDead(ctx, func() error { return d.giveUp(ctx, ended, "the lease has ended", d.now()) })
}

// lookAtTime returns the leases that have ended, when the next thing happens, and whether there are delayed
// messages that are due.
func (d *dispatcher) lookAtTime(ctx context.Context) (ended []leased, next int64, ripe bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.settle(ctx); err != nil {
		return nil, 0, false, err
	}
	now := d.now()
	for len(d.deadlines) > 0 && d.deadlines[0].deadline <= now && len(ended) < d.dir.limits.aside {
		l := d.deadlines[0]
		ended = append(ended, *l)
		// Should it fail it is tried again; when it does not, this is the last that is heard of it.
		l.deadline = now + retryExpiry.Microseconds()
		d.schedule(l)
	}
	if err := d.fill(d.delayed); err != nil {
		d.loaded = false
		return nil, 0, false, err
	}
	if len(d.deadlines) > 0 {
		next = d.deadlines[0].deadline
	}
	if len(d.delayed.items) > 0 {
		due := d.delayed.items[0].due
		if ripe = due <= now; !ripe && (next == 0 || due < next) {
			next = due
		}
	}
	if at := d.dedupAt; at > 0 && (next == 0 || at < next) {
		next = at
	}
	d.nextWake.Store(next)
	return ended, next, ripe, nil
}

// retryExpiry is how long after a failure the end of a lease is tried again.
const retryExpiry = time.Second

// giveUp ends attempts that have failed: a message can be received again, or goes to the dead letters when
// it was the last attempt. What was concluded meanwhile is passed over, and what was extended beyond by, in
// µs, when that is not 0.
func (d *dispatcher) giveUp(ctx context.Context, list []leased, cause string, by int64) error {
	for len(list) > 0 {
		n := min(len(list), d.dir.limits.aside)
		if err := d.giveUpSome(ctx, list[:n], cause, by); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

func (d *dispatcher) giveUpSome(ctx context.Context, list []leased, cause string, by int64) error {
	byLease := map[uint64][]outcome{}
	var last []dying
	for i := range list {
		l := &list[i]
		o := outcome{what: returned, offset: l.offset, until: by, cause: cause}
		r, err := d.read(l.offset)
		if err != nil && !errors.Is(err, log.ErrLost) {
			return err
		}
		if most := d.maxAttempts(&r, readTraits(r.Headers)); err != nil || most <= 0 || l.attempt < most {
			byLease[l.lease.id] = append(byLease[l.lease.id], o)
			continue
		}
		o.what = dead
		last = append(last, dying{l.lease.id, r, l.attempt, o})
	}
	if len(byLease) > 0 {
		var conditions []log.Condition
		for lease, outcomes := range byLease {
			conditions = append(conditions, d.settlement(lease, false, outcomes...))
		}
		if err := d.conclude(ctx, false, conditions...); err != nil {
			return err
		}
	}
	return d.buryAll(ctx, last, false)
}

// forgetDedup drops DedupIDs whose windows are over.
func (d *dispatcher) forgetDedup(ctx context.Context) error {
	if d.o.Dedup <= 0 {
		return nil
	}
	now := d.now()
	if at := d.dedupAt; at > now {
		return nil
	}
	from, to := keyOf(prefixDedupEnd, d.id), keyOf(prefixDedupEnd, d.id, uint64(now))
	for {
		var ids []expiredID
		for kv, err := range d.scan(from, to) {
			if err != nil {
				return err
			}
			if len(kv.Key) < 17 {
				return ErrCorrupt
			}
			ids = append(ids, expiredID{int64(be.Uint64(kv.Key[9:])), string(kv.Key[17:])})
			from = append(append(from[:0], kv.Key...), 0)
			if len(ids) == d.dir.limits.drop {
				break
			}
		}
		if len(ids) == 0 {
			break
		}
		if err := d.conclude(ctx, false, condition(conditionNote, queueKey(d.id), encodeForget(ids))); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dedupAt = now + max(d.o.Dedup/4, time.Second).Microseconds()
	return nil
}
