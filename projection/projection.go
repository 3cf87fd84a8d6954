package projection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/stratalog/strata/log"
)

// Projection is a definition with a log and a store. Its methods may be called concurrently. It needs no
// closing: it ends with the log. All handles of one name, log and store are one projection.
type Projection[T any] struct {
	l     *log.Log
	store Store[T]
	d     *Definition[T]
	life  *life
	board *board // where others see how it is doing, or nil
	// heldBack says that no effects are called.
	heldBack bool
}

// New returns the projection that d defines, with its models in store. A model that was made from another
// log, or from more records than the log has, is a *log.StateAheadError. Nothing is written before Run.
func New[T any](ctx context.Context, l *log.Log, store Store[T], d *Definition[T]) (*Projection[T], error) {
	attached := fmt.Sprintf("%s/%s/%p", dirName, d.name, store)
	c, err := l.Attach(attached, func() (io.Closer, error) {
		f := newLife(l, d.name, store.Kind())
		f.of = store // and so its address is not given to another
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	p := &Projection[T]{l: l, store: store, d: d, life: c.(*life)}
	if !l.Options().ReadOnly {
		p.board = &board{fs: l.Options().FS, dir: dirOf(l), name: d.name}
	}
	return p, p.check(ctx)
}

// newScratch returns a projection that nobody else sees.
func newScratch[T any](l *log.Log, store Store[T], d *Definition[T]) (*Projection[T], error) {
	return &Projection[T]{l: l, store: store, d: d, life: newLife(l, d.name, store.Kind())}, d.errs
}

// check compares what the store has with the log.
func (p *Projection[T]) check(ctx context.Context) error {
	if err := errors.Join(p.d.errs, p.mayShare()); err != nil {
		return err
	}
	state, err := p.load(ctx)
	if err != nil {
		return err
	}
	p.life.loaded(state.build(state.Active))
	parked, err := p.store.Parked(ctx, p.d.name, state.Active)
	p.life.update(func(pr *Progress) { pr.Parked = len(parked) })
	return err
}

// load returns what the store has, after a look at the checkpoints.
func (p *Projection[T]) load(ctx context.Context) (State, error) {
	state, err := p.store.Load(ctx, p.d.name)
	if err != nil {
		return state, err
	}
	for _, b := range state.Builds {
		if err := p.l.CheckAhead(b.Checkpoint); err != nil {
			return state, fmt.Errorf("projection: %q version %d: %w", p.d.name, b.Version, err)
		}
	}
	return state, nil
}

// Name returns the projection's name.
func (p *Projection[T]) Name() string { return p.d.name }

// Progress tells how the projection is doing.
func (p *Projection[T]) Progress() Progress { return p.life.now() }

// WaitFor waits until the model that readers see has all events before position: of a commit whose last
// record is at q, q+1, which is what aggregate.Result has. So who has appended something reads it. When the
// last Run has failed its error is returned. While there is no Run it waits for one.
func (p *Projection[T]) WaitFor(ctx context.Context, position uint64) error {
	return p.life.waitFor(ctx, position, false)
}

// WaitForEnd is WaitFor for all that readers of the log see at the time of the call.
func (p *Projection[T]) WaitForEnd(ctx context.Context) error { return p.WaitFor(ctx, p.l.Position()) }

// Pause makes Run wait, behind the transaction that is under way, until Resume. It is not durable. CatchUp does not wait,
// but where it waits for a Run that does.
func (p *Projection[T]) Pause() { p.life.pause(true) }

// Resume takes Pause back.
func (p *Projection[T]) Resume() { p.life.pause(false) }

// Run carries the model on until ctx ends, which is no error. It builds it anew first where that is due, beside
// the one that readers see. An event that the handler does not take is a *PoisonError with PoisonStops. Damage of
// the log stops it, too, each time: a *log.CorruptError, or a *LostError where a repair has given records up; with
// the other policies it is passed over. After any error Run may be called again: it begins where the last
// transaction has ended. Only one Run of a projection is under way at a time, the others are ErrRunning.
func (p *Projection[T]) Run(ctx context.Context) error {
	if err := p.life.begin(); err != nil {
		return err
	}
	if err := p.carryOn(ctx, nil); !ended(ctx, err) {
		return err
	}
	return nil
}

// CatchUp handles all that readers of the log see at the time of the call, and returns. When Run is under way
// it waits for that.
func (p *Projection[T]) CatchUp(ctx context.Context) error {
	end := p.l.Position()
	for {
		err := p.life.begin()
		if err == nil {
			break
		}
		if errors.Is(err, ErrRunning) {
			err = p.life.waitFor(ctx, end, true)
		}
		if !errors.Is(err, errOver) {
			return err
		}
	}
	end = p.l.Position() // not before what another Run has made readers see
	return p.carryOn(ctx, &end)
}

// ended reports whether err is that ctx has ended.
func ended(ctx context.Context, err error) bool { return ctx.Err() != nil && errors.Is(err, ctx.Err()) }

// errPanicked is what those are told who wait for a Run whose handler panics.
var errPanicked = errors.New("projection: handler panicked")

// carryOn is Run behind life.begin, or, up to a position, CatchUp.
func (p *Projection[T]) carryOn(ctx context.Context, until *uint64) error {
	err := errPanicked
	defer func() {
		if told := err; ended(ctx, told) {
			p.life.end(nil)
		} else {
			p.life.end(told)
		}
		p.publish(true)
	}()
	err = p.run(ctx, until)
	return err
}

// run carries the model on, up to a position when there is one.
func (p *Projection[T]) run(ctx context.Context, until *uint64) error {
	r, err := p.plan(ctx)
	if err != nil {
		return err
	}
	defer r.rollback()
	r.catchUp = until != nil
	for {
		paused, changed := p.life.look()
		if until != nil {
			paused = false
		}
		if !paused {
			end := p.l.Position()
			if until != nil {
				end = *until
			}
			if err := r.carryPastGaps(ctx, end); err != nil {
				return r.leave(ctx, err)
			}
			if r.at >= end && r.building {
				if err := r.complete(ctx); err != nil {
					return err
				}
			}
			if until != nil {
				return r.save(ctx)
			}
			if r.at-r.work.Checkpoint.Position > idlePositions {
				if err := r.save(ctx); err != nil {
					return err
				}
			}
			p.publish(false)
		}
		if err := p.wait(ctx, paused, r.at, changed); err != nil {
			return r.leave(ctx, err)
		}
	}
}

// wait waits until there is more to read, or changed is closed.
func (p *Projection[T]) wait(ctx context.Context, paused bool, at uint64, changed <-chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.life.over() {
		return ErrClosed
	}
	if paused {
		p.publish(true)
		select {
		case <-changed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	woken := make(chan struct{})
	go func() { // ends with inner
		defer close(woken)
		select {
		case <-changed:
			cancel()
		case <-inner.Done():
		}
	}()
	_, err := p.l.WaitPosition(inner, at+1)
	cancel()
	<-woken
	if err != nil && ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Parked lists the events of the model that readers see which were set aside, by position.
func (p *Projection[T]) Parked(ctx context.Context) ([]Parked, error) {
	state, err := p.store.Load(ctx, p.d.name)
	if err != nil || state.Active == 0 {
		return nil, err
	}
	return p.store.Parked(ctx, p.d.name, state.Active)
}

// plan decides which build is carried on, and makes one where that is due.
func (p *Projection[T]) plan(ctx context.Context) (*running[T], error) {
	state, err := p.load(ctx)
	if err != nil {
		return nil, err
	}
	reset := ""
	if p.board != nil {
		if reset, err = p.board.resetAsked(); err != nil {
			return nil, err
		}
	}
	fits := func(b *Build) bool { return b.Version == p.d.version && (reset == "" || b.Reset == reset) }
	r := &running[T]{p: p, asked: reset, attempts: map[uint64]int{}, passed: map[uint64]*Parked{}}
	active := state.build(state.Active)
	var work *Build
	switch {
	case active != nil && fits(active):
		work = active
	default:
		r.building = true
		if active != nil {
			r.fx.before = active.Checkpoint.Position
		}
		for i := range slices.Backward(state.Builds) {
			if b := &state.Builds[i]; b != active && fits(b) {
				work = b
				break
			}
		}
	}
	for i := range state.Builds {
		if b := &state.Builds[i]; b != active && b != work {
			if err := p.store.Drop(ctx, p.d.name, *b); err != nil {
				return nil, err
			}
		}
	}
	if work == nil {
		at, err := p.l.Checkpoint(0)
		if err != nil {
			return nil, err
		}
		made, err := p.store.Create(ctx, p.d.name, p.d.version, reset, at)
		if err != nil {
			return nil, err
		}
		work = &made
	}
	r.work, r.active = *work, active
	r.at, r.done = work.Checkpoint.Position, work.Checkpoint
	r.match.o = &p.d.o
	if p.heldBack {
		r.fx.before = ^uint64(0)
	}
	if r.gaps, err = p.lost(ctx, r.at); err != nil {
		return nil, err
	}
	if !r.building && reset != "" {
		if err := p.sync(ctx); err != nil {
			return nil, err
		}
		p.board.resetDone(reset)
	}
	parked, err := p.store.Parked(ctx, p.d.name, work.Number)
	p.life.update(func(pr *Progress) {
		pr.Phase, pr.Version, pr.Position, pr.Parked = r.phase(), work.Version, r.at, len(parked)
	})
	p.publish(true)
	return r, err
}
