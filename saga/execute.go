package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// execution carries out one instance, for as long as there is something to do. It belongs to one goroutine.
type execution struct {
	x   *running
	key []byte
	c   *core
	cl  *claim
	in  *Instance // as of the last commit of this, or the last look
	// flying are the steps whose actions are under way, with what ends them.
	flying  map[string]context.CancelCauseFunc
	results chan *result
	actions sync.WaitGroup
	next    time.Time // when something is due while actions are under way
}

// result is what an attempt has come to.
type result struct {
	a      attempt
	base   json.RawMessage // the state that it was given
	state  json.RawMessage
	task   *Task
	err    error
	unsure bool // it has failed, and may have taken effect all the same
	inVain bool // it was cancelled
}

var errInVain = errors.New("saga: cancelled, since the saga turns back")

// carryOut does what there is to do for an instance. An error is one of the log.
func (x *running) carryOut(j *job) error {
	key, cl, in := []byte(j.key), j.cl, j.in
	if cl == nil {
		if cl = x.r.e.claim(j.key); cl == nil {
			return nil // who has it is poked
		}
	}
	defer x.r.e.release(j.key, cl)
	var err error
	if in == nil {
		if in, err = x.r.e.load(x.acting, key); err != nil {
			return x.unless(err)
		}
	}
	c := x.r.definition(in)
	if c == nil || !in.ready() {
		return nil
	}
	if len(c.steps) == 0 {
		return x.catchUp(c, in)
	}
	e := &execution{
		x: x, key: key, c: c, cl: cl, in: in,
		flying: map[string]context.CancelCauseFunc{}, results: make(chan *result, len(c.steps)),
	}
	err = e.loop()
	for _, cancel := range e.flying {
		cancel(errInVain)
	}
	e.actions.Wait()
	if e.fenced(err) {
		return nil // another runner has it
	}
	return err
}

// unless returns err, for which an instance could not be loaded, unless it is gone or the runner ends.
func (x *running) unless(err error) error {
	if errors.Is(err, ErrInstance) || x.acting.Err() != nil {
		return nil
	}
	return err
}

// fenced reports whether err says that the instance is another runner's.
func (e *execution) fenced(err error) bool { return fencedBy(err, e.in.Saga, e.in.ID) }

// fencedBy reports whether err is about this instance. What actions and transitions add to a commit can be
// about other instances, and be fenced as well.
func fencedBy(err error, saga, id string) bool {
	var f *FencedError
	return errors.As(err, &f) && f.Saga == saga && f.ID == id
}

func (e *execution) now() time.Time { return e.x.r.e.l.Now() }

func (e *execution) loop() error {
	var r *result
	for {
		starts, err := e.move(r)
		if err != nil {
			return err
		}
		for _, a := range starts {
			e.start(a)
		}
		if len(e.flying) == 0 {
			return nil
		}
		due, stop := e.alarm()
		select {
		case <-due:
			r = nil
		case r = <-e.results:
			e.flying[r.a.step.name](nil)
			delete(e.flying, r.a.step.name)
			if r.err != nil && e.x.acting.Err() != nil {
				// It was cut off as by a crash. What it came to is not known, and it will be called again.
				r = nil
			}
		case <-e.cl.poke:
			r = nil
			in, err := e.x.r.e.load(e.x.acting, e.key)
			if err != nil {
				stop()
				return e.x.unless(err)
			}
			e.in = in
		}
		stop()
	}
}

// alarm returns what has something when something is due.
func (e *execution) alarm() (due <-chan time.Time, stop func()) {
	if e.next.IsZero() || e.x.ctx.Err() != nil {
		return nil, func() {}
	}
	// Some more than is left: the log's time may be slower than the clock, by a tenth.
	left := e.next.Sub(e.now())
	t := e.x.r.e.l.Options().Clock.NewTimer(max(left+left/8, time.Millisecond))
	return t.C(), t.Stop
}

// move commits a result, if there is one, and what comes next. It returns what is to be called.
func (e *execution) move(r *result) ([]attempt, error) {
	for {
		now := e.now()
		p := &planner{c: e.c, in: e.in.clone(), now: now, flying: map[string]bool{}}
		for name := range e.flying {
			p.flying[name] = true
		}
		if r != nil {
			if err := p.add(resultEvent(e.c, p.in, r, now, rand.Float64())); err != nil {
				return nil, err
			}
		}
		stopping := e.x.ctx.Err() != nil
		if !stopping {
			if err := p.plan(); err != nil {
				return nil, err
			}
		}
		if p.cancel {
			for _, cancel := range e.flying {
				cancel(errInVain)
			}
		}
		e.next = p.next
		idle := len(p.starts) == 0 && len(e.flying) == 0 && !stopping
		if len(p.events) == 0 {
			if !idle {
				return nil, nil
			}
			p.events = append(p.events, Event{Type: EventWaiting})
		}
		err := e.commit(p, r, idle)
		if r != nil && r.err == nil && err != nil && !ofLog(err) && !e.fenced(err) {
			// Something that the action adds was refused, and with it the result. A refused commit has not
			// happened, but what the action did elsewhere has.
			r = &result{a: r.a, base: r.base, err: err, unsure: true}
			continue
		}
		return p.starts, err
	}
}

// ofLog reports whether err is about the log as a whole, rather than about one commit.
func ofLog(err error) bool {
	for _, target := range []error{
		log.ErrClosed, log.ErrFailed, log.ErrNoSpace, log.ErrUnknown, log.ErrState, log.ErrReadOnly,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// commit commits the events of p under the epoch of this execution, with the timer by which the instance
// comes back when it waits.
func (e *execution) commit(p *planner, r *result, waits bool) error {
	// The first commit takes the instance: its epoch is one that nobody else has.
	before, epoch := e.in.Epoch, e.in.Epoch
	if !e.cl.taken {
		epoch++
	}
	next := e.in.clone()
	for i := range p.events {
		ev := &p.events[i]
		ev.Epoch, ev.Seen = epoch, e.in.Told
		if i == len(p.events)-1 && waits && !p.in.Status.Final() {
			ev.Waits, ev.Next = true, p.next
		}
		if err := next.apply(ev, p.now); err != nil {
			return err
		}
	}
	cond, err := run(e.key, before, epoch, p.events)
	if err != nil {
		return err
	}
	c := e.x.r.e.l.NewCommit()
	if r != nil && r.err == nil && r.task != nil {
		if err := r.task.addTo(e.x.acting, c); err != nil {
			return err
		}
	}
	c.Require(cond)
	id := timerID(next.Saga, next.ID)
	if next.Waiting && !next.Next.IsZero() {
		c.Require(timer.Set(timerOwner, id, next.Next, nil))
	} else if !e.in.Next.IsZero() {
		c.Require(timer.Cancel(timerOwner, id))
	}
	if _, err := c.Commit(context.Background()); err != nil {
		return err
	}
	e.cl.taken = true
	e.in = next
	if e.x.o.observe != nil {
		e.x.o.observe(*next.clone(), p.events)
	}
	return nil
}

// start calls an action.
func (e *execution) start(a attempt) {
	ctx, cancel := context.WithCancelCause(e.x.acting)
	e.flying[a.step.name] = cancel
	t := &Task{
		Saga: e.in.Saga, ID: e.in.ID, Step: a.step.name, Attempt: a.number, Uncertain: a.unsure, Signal: a.signal,
		Key: taskKey(e.in.Saga, e.in.ID, a.step.name, a.undo), Now: e.now(),
	}
	base := e.in.State
	e.actions.Go(func() {
		r := &result{a: a, base: base, task: t}
		do := a.step.do
		if a.undo {
			do = a.step.undo
		}
		stop := e.limit(a.step.timeout, cancel)
		r.state, r.err = protect(ctx, do, base, t)
		stop()
		if r.err != nil {
			cause := context.Cause(ctx)
			r.inVain = errors.Is(cause, errInVain)
			r.unsure = t.unsure || ctx.Err() != nil || errors.Is(r.err, ErrPanic)
			if errors.Is(cause, ErrTimeout) && !errors.Is(r.err, ErrTimeout) {
				r.err = fmt.Errorf("%w after %v: %w", ErrTimeout, a.step.timeout, r.err)
			}
		}
		e.results <- r // has room for all steps
	})
}

// limit ends an action's context after d, until stop is called, which waits.
func (e *execution) limit(d time.Duration, cancel context.CancelCauseFunc) (stop func()) {
	if d == 0 {
		return func() {}
	}
	t := e.x.r.e.l.Options().Clock.NewTimer(d)
	ended, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-t.C():
			cancel(ErrTimeout)
		case <-ended:
		}
	}()
	return func() {
		close(ended)
		<-gone
		t.Stop()
	}
}

// protect calls do, and makes an error of a panic.
func protect(ctx context.Context, do erased, state json.RawMessage, t *Task) (_ json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	return do(ctx, state, t)
}

// panicked is called by the deferred function that has recovered v.
func panicked(v any) error { return fmt.Errorf("%w: %v\n%s", ErrPanic, v, debug.Stack()) }
