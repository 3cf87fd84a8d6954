package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stratalog/strata/log"
)

// ReceiveOptions says what is received, and how. The zero value takes one message, if there is one now.
type ReceiveOptions struct {
	// Max is how many messages are taken at most. Zero is 1; no more than 1024 are taken at once.
	Max int
	// Wait is how long to wait for the first one. Zero is not at all, negative until ctx ends.
	Wait time.Duration
	// Lease is how long the messages are the receiver's, from before they are made durable: it should be longer than
	// the disk may take for that. Zero is the queue's.
	Lease time.Duration
	// Held makes the lease last until it is released, by its owner or by the end of the process.
	Held bool
	// Owner says who has the messages, for people and for ReleaseOwner. At most 256 bytes.
	Owner string
	// Synced makes leases, acknowledgements and what else becomes of the messages survive a power cut. By
	// default they survive the death of the process, and a power cut may have a message delivered again.
	Synced bool
	// Unsynced takes messages as soon as they are written: a power cut may take back one that was handled.
	Unsynced bool
}

const maxOwnerBytes = 256

func (o *ReceiveOptions) check(queue string) error {
	switch {
	case o.Max < 0:
		return fmt.Errorf("%w: queue %q: Max %d", ErrOptions, queue, o.Max)
	case o.Lease < 0:
		return fmt.Errorf("%w: queue %q: a lease of %v", ErrOptions, queue, o.Lease)
	case len(o.Owner) > maxOwnerBytes:
		return fmt.Errorf("%w: queue %q: an owner of %d bytes is above %d", ErrOptions, queue, len(o.Owner), maxOwnerBytes)
	}
	return nil
}

// Receive takes messages, leases them to the caller, and returns them in the order in which they are to be
// handled: high priorities first, otherwise the one that was sent first. None and a nil error mean that
// there was none. The attempts, this one included, are recorded before it returns.
//
// When the messages cannot be made durable, nothing is handed out: they are given back, without counting the attempt.
// A log that has failed takes no word of that; opened again, it has the attempt on record, and the messages come again
// when their lease ends, and at once when it was held.
//
// Waiting costs nothing: the caller is woken when there is a message. When ctx ends during the wait, its
// error is returned.
func (q *Queue) Receive(ctx context.Context, o ReceiveOptions) ([]*Delivery, error) {
	if err := o.check(q.d.name); err != nil {
		return nil, err
	}
	d := q.d
	if d.dir.l.Options().ReadOnly {
		return nil, log.ErrReadOnly
	}
	var timeout <-chan time.Time
	if o.Wait > 0 {
		t := d.dir.l.Options().Clock.NewTimer(o.Wait)
		defer t.Stop()
		timeout = t.C()
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var w *waiter
		if o.Wait != 0 {
			w = d.in.enlist() // before the look, so that nothing comes in between
		}
		out, err := d.receive(ctx, &o)
		if w != nil && (len(out) > 0 || err != nil) {
			d.in.leave(w)
		}
		if len(out) > 0 || err != nil || w == nil {
			return out, err
		}
		select {
		case <-w.woken:
		case <-timeout:
			d.in.leave(w)
			return nil, nil
		case <-ctx.Done():
			d.in.leave(w)
			return nil, ctx.Err()
		case <-d.dir.ctx.Done():
			d.in.leave(w)
			return nil, log.ErrClosed
		}
	}
}

// receive takes what there is now.
func (d *dispatcher) receive(ctx context.Context, o *ReceiveOptions) (out []*Delivery, err error) {
	span := o.Lease
	if span == 0 {
		span = d.o.Lease
	}
	until := func(now int64) int64 {
		if o.Held {
			return held
		}
		return now + span.Microseconds()
	}
	var more bool
	err = d.withDead(ctx, func() (err error) {
		out, more, err = d.handOut(ctx, o, until)
		return err
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	defer d.early.Delete(out[0].lease)
	if more {
		d.in.wake()
	}
	if err := d.recorded(ctx, out); err != nil {
		return nil, err
	}
	if !o.Unsynced && !o.Synced {
		if err := d.harden(ctx, out); err != nil {
			return nil, err
		}
	}
	for _, m := range out {
		m.synced = o.Synced
	}
	return out, nil
}

// recorded returns when the lease of out is.
func (d *dispatcher) recorded(ctx context.Context, out []*Delivery) error {
	_, err := out[0].ack.Wait(ctx)
	if errors.Is(err, log.ErrUnknown) {
		d.giveBack(out) // the caller stops waiting; others can have them
	}
	return err
}

// harden returns when a power cut cannot take the messages of out back. No lock is held: others receive, and
// conclude, meanwhile, and find these messages leased. When they cannot be made durable they are given back; so
// they are when ctx has ended before a sync of their own begins; one that is under way is waited for.
func (d *dispatcher) harden(ctx context.Context, out []*Delivery) error {
	end := uint64(0)
	for _, m := range out {
		end = max(end, m.Position+1)
	}
	err := d.dir.l.SyncTo(ctx, end)
	if err != nil {
		d.giveBack(out)
	}
	return err
}

// giveBack releases messages that were never handed to anybody, and that have come by one lease. An error leaves
// them to the end of their lease, which comes when they are held, too.
func (d *dispatcher) giveBack(out []*Delivery) {
	outcomes := make([]outcome, len(out))
	for i, m := range out {
		outcomes[i] = outcome{what: released, offset: m.Offset}
	}
	if d.conclude(context.WithoutCancel(d.dir.ctx), false, d.settlement(out[0].lease, false, outcomes...)) != nil {
		d.abandon(out)
	}
}

// abandon has the pump end the leases of messages that nobody is at work on, as soon as that can be recorded.
func (d *dispatcher) abandon(ms []*Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range ms {
		if !m.Until.IsZero() {
			continue // it ends by itself
		}
		d.abandoned[m.Offset] = m.lease
		if l := d.byOffset[m.Offset]; d.loaded && l != nil && l.lease.id == m.lease && l.deadline == held {
			l.deadline = d.now() + retryExpiry.Microseconds()
			d.schedule(l)
		}
	}
	if !d.loaded {
		d.in.kickPump() // it looks everything up, and so finds what is abandoned
	}
}

// AckUpTo acknowledges m and all messages that its owner, or without an owner its call of Receive, has
// received before it and not concluded, in one commit. An owner's earlier calls count since the log was opened:
// of a message that was leased before, only those of its own call are acknowledged with it.
func (q *Queue) AckUpTo(ctx context.Context, m *Delivery) error {
	d := q.d
	byLease := map[uint64][]outcome{m.lease: {{what: done, offset: m.Offset}}}
	d.mu.Lock()
	err := d.settle(ctx)
	if own := d.byOffset[m.Offset]; err == nil && own != nil && own.lease.id == m.lease {
		for _, l := range d.byOffset {
			mine := l.lease == own.lease || own.lease.owner != "" && l.lease.owner == own.lease.owner &&
				d.dir.gave(own.lease.id) && d.dir.gave(l.lease.id)
			_, early := d.early.Load(l.lease.id)
			if mine && !early && l.serial < own.serial {
				byLease[l.lease.id] = append(byLease[l.lease.id], outcome{what: done, offset: l.offset})
			}
		}
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	var conditions []log.Condition
	for lease, outcomes := range byLease {
		// Those before m may have been concluded a moment ago; m itself must be leased.
		conditions = append(conditions, d.settlement(lease, false, outcomes...))
	}
	conditions = append([]log.Condition{m.holds()}, conditions...)
	return d.conclude(ctx, m.synced, conditions...)
}

// holds is the condition that the message is leased; it changes nothing.
func (m *Delivery) holds() log.Condition {
	return m.d.settlement(m.lease, true, outcome{what: unchanged, offset: m.Offset})
}

// ReleaseOwner ends all leases of an owner, and returns how many messages those are. The attempts count:
// the messages can be received again, or go to the dead letters behind the last one.
func (q *Queue) ReleaseOwner(ctx context.Context, owner string) (int, error) {
	d := q.d
	var list []leased
	d.mu.Lock()
	err := d.settle(ctx)
	if err == nil {
		for _, l := range d.byOffset {
			if l.lease.owner == owner {
				list = append(list, *l)
			}
		}
	}
	d.mu.Unlock()
	if err != nil || len(list) == 0 {
		return 0, err
	}
	// In the order in which they were handed out.
	slices.SortFunc(list, func(a, b leased) int { return cmp.Compare(a.serial, b.serial) })
	return len(list), d.withDead(ctx, func() error { return d.giveUp(ctx, list, "released with its owner", 0) })
}
