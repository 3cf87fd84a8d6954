package projection

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// healthy is a store that can say whether it can be used.
type healthy interface {
	// Trouble reports whether an error of a handler is one of the store, and would be met by other events as well.
	Trouble(err error) bool
	Healthy(ctx context.Context) error
}

// broken returns an error when what a handler met was not the event, but the store.
func (p *Projection[T]) broken(ctx context.Context, cause error) error {
	for _, e := range []error{ErrStore, ErrClosed, log.ErrClosed, driver.ErrBadConn, sql.ErrConnDone} {
		if errors.Is(cause, e) {
			return cause
		}
	}
	if h, ok := p.store.(healthy); ok {
		if h.Trouble(cause) {
			return cause
		}
		if err := h.Healthy(ctx); err != nil {
			return errors.Join(cause, err)
		}
	}
	return nil
}

// failed decides what becomes of an event that the handler did not take. The error ends Run.
func (r *running[T]) failed(ctx context.Context, f *failure, limit uint64) error {
	d := r.p.d
	r.attempts[f.position]++
	attempts := r.attempts[f.position]
	r.cut = f.position
	if d.o.Retry != nil {
		if wait, again := d.o.Retry.Next(attempts, f.cause, rand.Float64()); again {
			return r.p.pauseFor(ctx, wait)
		}
	}
	f.event.Attempts = attempts
	poison := &PoisonError{
		Projection: d.name, Version: d.version, Topic: f.event.Topic, Partition: f.event.Partition, Offset: f.event.Offset,
		Position: f.position, Attempts: attempts, Cause: f.cause,
	}
	switch d.o.Poison {
	case PoisonSkips:
		r.passed[f.position] = nil
		r.p.life.update(func(pr *Progress) { pr.Skipped++ })
		r.p.l.Options().Logger.Warn("event skipped", "projection", d.name, "position", f.position, "error", f.cause.Error())
		return nil
	case PoisonParks:
		if err := r.p.appendParked(ctx, f); err != nil {
			return errors.Join(poison, err)
		}
		r.passed[f.position] = &f.event
		return nil
	}
	return r.stop(ctx, f.position, limit, poison)
}

// pauseFor waits, no longer than the log is open.
func (p *Projection[T]) pauseFor(ctx context.Context, wait time.Duration) error {
	timer := p.l.Options().Clock.NewTimer(wait)
	defer timer.Stop()
	for {
		_, changed := p.life.look()
		if p.life.over() {
			return ErrClosed
		}
		select {
		case <-timer.C():
			return nil
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop puts what lies before the commit of an event into the model, and returns the error.
func (r *running[T]) stop(ctx context.Context, position, limit uint64, poison error) error {
	r.hold = position
	err := r.read(ctx, limit)
	r.hold = 0
	r.rollback()
	var another *failure
	if err == nil || errors.As(err, &another) {
		return poison
	}
	return errors.Join(poison, err)
}

// appendParked appends an event to the topic of parked events, once.
func (p *Projection[T]) appendParked(ctx context.Context, f *failure) error {
	if p.heldBack || p.l.Options().ReadOnly {
		return nil // the model has it
	}
	t, err := p.l.Topic(p.d.o.Parked)
	if errors.Is(err, log.ErrNoTopic) {
		t, err = p.l.CreateTopic(ctx, p.d.o.Parked, log.TopicOptions{})
	}
	if err != nil {
		return fmt.Errorf("projection: park: %w", err)
	}
	dead := record.Dead{
		Cause: f.cause.Error(), Attempts: f.event.Attempts, Topic: f.event.Topic, Partition: f.event.Partition, Offset: f.event.Offset,
		Group: p.d.name, Time: p.l.Now(),
	}
	r := f.record
	r.Headers, r.Timestamp = dead.AppendTo(slices.Clone(r.Headers)), f.record.Timestamp
	c := p.l.NewCommit()
	c.Durability(log.Synced)
	c.Append(t, r)
	c.Require(log.Once(fmt.Sprintf("projections/%s/%d/%d", p.d.name, p.d.version, f.position)))
	_, err = c.Commit(context.WithoutCancel(ctx))
	return err
}

// Retry has the handler take an event that was parked, now: behind those that came later. When it does, the
// event is not parked any more, in the transaction that has what it wrote; otherwise the error is a
// *PoisonError. A position at which none is parked is a *NotParkedError. An error that is the store's trouble is returned as
// it is, and counts as no attempt. It works beside Run.
func (p *Projection[T]) Retry(ctx context.Context, position uint64) error {
	p.life.turn.Lock()
	defer p.life.turn.Unlock()
	state, err := p.load(ctx)
	if err != nil {
		return err
	}
	active := state.build(state.Active)
	if active == nil || active.Version != p.d.version {
		return ErrNotReady
	}
	list, err := p.store.Parked(ctx, p.d.name, active.Number)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(e Parked) bool { return e.Position == position })
	if i < 0 {
		return &NotParkedError{Projection: p.d.name, Position: position}
	}
	rec, err := p.parkedRecord(&list[i])
	if err != nil {
		return err
	}
	cause, err := p.once(ctx, *active, rec, Change{Unpark: []uint64{position}})
	if err != nil {
		return err
	}
	if cause == nil {
		p.life.update(func(pr *Progress) {
			if pr.Phase != Building { // else it is about the other build
				pr.Parked--
			}
		})
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err() // the handler may have failed for that
	}
	if err := p.broken(ctx, cause); err != nil {
		return err
	}
	again := list[i]
	again.Attempts++
	again.Cause = cause.Error()
	poison := &PoisonError{
		Projection: p.d.name, Version: p.d.version, Topic: again.Topic, Partition: again.Partition, Offset: again.Offset,
		Position: position, Attempts: again.Attempts, Cause: cause,
	}
	tx, err := p.store.Begin(ctx, p.d.name, *active)
	if err == nil {
		err = tx.Commit(ctx, Change{From: active.Checkpoint, To: active.Checkpoint, Park: []Parked{again}})
	}
	if err != nil {
		return errors.Join(poison, err)
	}
	return poison
}

func (p *Projection[T]) parkedRecord(e *Parked) (log.Record, error) {
	t, err := p.l.Topic(e.Topic)
	if err != nil {
		return log.Record{}, err
	}
	r, err := t.Partition(e.Partition).Get(e.Offset)
	if err == nil && r.Position != e.Position { // of a topic that was made anew
		return log.Record{}, &log.LostError{Topic: e.Topic, Partition: e.Partition, From: e.Offset, To: e.Offset + 1}
	}
	return r, err
}

// once has the handler take one record in a transaction of its own. cause is the handler's error.
func (p *Projection[T]) once(ctx context.Context, b Build, rec log.Record, c Change) (cause, err error) {
	tx, err := p.store.Begin(ctx, p.d.name, b)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // also when the handler panics
	var e Event
	var fx effects
	m := matcher{o: &p.d.o}
	if _, cause = m.decode(&rec, &e); cause == nil {
		e.fx = &fx
		cause = p.d.handle(tx.Handle(), &e)
	}
	for i := 0; i < len(fx.list) && cause == nil; i++ {
		cause = fx.list[i].run(ctx)
	}
	if cause != nil {
		return cause, nil
	}
	c.From, c.To = b.Checkpoint, b.Checkpoint
	return nil, tx.Commit(ctx, c)
}
