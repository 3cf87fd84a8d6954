package saga

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/stratalog/strata/timer"
)

// attempt is one call of an action.
type attempt struct {
	step   *step
	undo   bool
	number int
	unsure bool // whether what it undoes was done
	signal Signal
}

// planner decides what an instance does next. It is a function of the instance, of what is under way and
// of the time alone.
type planner struct {
	c      *core
	in     *Instance // what the events make of it; the planner's own
	flying map[string]bool
	now    time.Time

	events []Event
	starts []attempt
	// cancel says that what is under way is in vain.
	cancel bool
	next   time.Time // the earliest of what is waited for
}

// plan adds the events that are to be committed next and what is to be called behind that.
func (p *planner) plan() error {
	for p.in.Status == Running || p.in.Status == Compensating {
		var again bool
		var err error
		if p.in.Status == Running {
			again, err = p.forward()
		} else {
			again, err = p.backward()
		}
		if err != nil || !again {
			return err
		}
	}
	return nil
}

func (p *planner) add(e Event) error {
	p.events = append(p.events, e)
	return p.in.apply(&e, p.now)
}

func (p *planner) wait(until time.Time) {
	if !until.IsZero() && (p.next.IsZero() || until.Before(p.next)) {
		p.next = until
	}
}

func (p *planner) forward() (again bool, err error) {
	turn := p.in.Abort
	if turn && p.c.pastPivot(p.in) {
		turn = false
		if err := p.add(Event{Type: EventAbortRefused}); err != nil {
			return false, err
		}
	}
	for _, stage := range p.c.stages {
		var failed *StepState
		var pending []*step
		flying := false
		for _, s := range stage {
			switch st := p.in.StepState(s.name); {
			case p.flying[s.name]:
				flying = true
			case st == nil:
				pending = append(pending, s)
			case st.Phase == Done:
			case st.Phase == Failed && st.Final:
				failed = st
			default:
				pending = append(pending, s)
			}
		}
		if failed == nil && len(pending) == 0 && !flying {
			continue
		}
		if failed != nil || turn {
			p.cancel = flying
			if flying {
				return false, nil // their results first
			}
			return true, p.turnBack(failed)
		}
		for _, s := range pending {
			mended, err := p.try(s)
			if err != nil {
				return false, err
			}
			again = again || mended
		}
		return again, nil
	}
	return false, p.add(Event{Type: EventCompleted})
}

// try makes an attempt at s, if it is time. True says that it has failed instead.
func (p *planner) try(s *step) (failed bool, err error) {
	st := p.in.StepState(s.name)
	a := attempt{step: s, number: 1}
	if st != nil {
		a.number = st.Attempts + 1
		if st.Phase == Failed && st.Due.After(p.now) {
			p.wait(st.Due)
			return false, nil
		}
		if st.Phase == Intended && !allows(s.retry, st.Failures) {
			return true, p.add(Event{Type: EventFailed, Step: s.name, Attempt: st.Attempts, Error: ErrCutOff.Error(), Final: true, Uncertain: true})
		}
	}
	if s.signal != "" {
		i := slices.IndexFunc(p.in.Signals, func(g Signal) bool { return g.Name == s.signal })
		switch {
		case i >= 0:
			a.signal = p.in.Signals[i]
		case st != nil && !st.Due.IsZero() && !st.Due.After(p.now):
			return true, p.add(Event{Type: EventFailed, Step: s.name, Error: ErrDeadline.Error(), Final: true})
		case st == nil || st.Phase != Awaiting:
			due := time.Time{}
			if s.deadline > 0 {
				due = p.now.Add(s.deadline)
			}
			p.wait(due)
			return false, p.add(Event{Type: EventAwaiting, Step: s.name, Due: due, Pivot: s.pivot})
		default:
			p.wait(st.Due)
			return false, nil
		}
	}
	p.starts = append(p.starts, a)
	return false, p.add(Event{
		Type: EventIntended, Step: s.name, Attempt: a.number, Pivot: s.pivot, Key: taskKey(p.in.Saga, p.in.ID, s.name, false),
	})
}

// allows reports whether a policy has an attempt left behind one that was cut off, before which so many had
// failed.
func allows(r timer.Retry, failures int) bool {
	r.Final = nil // is about errors of actions
	_, ok := r.Next(failures+1, ErrCutOff, 0)
	return ok
}

// turnBack begins to undo what was done, or parks the instance when there is no way back.
func (p *planner) turnBack(failed *StepState) error {
	cause := "aborted by hand"
	if failed != nil {
		cause = failed.Name + ": " + failed.Error
		if p.c.pastPivot(p.in) {
			return p.add(Event{Type: EventParked, Step: failed.Name, Error: cause})
		}
	}
	for i := range p.in.Steps {
		st := &p.in.Steps[i]
		s := p.c.step(st.Name)
		if s != nil && s.undo == nil && !s.noUndo && st.Phase != Done && (st.Uncertain || st.Phase == Intended) {
			cause += "; whether " + st.Name + " took effect is not known, and it has no compensation"
			return p.add(Event{Type: EventParked, Step: st.Name, Error: cause})
		}
	}
	return p.add(Event{Type: EventCompensating, Error: cause})
}

// backward undoes what was done last.
func (p *planner) backward() (again bool, err error) {
	if len(p.flying) > 0 {
		return false, nil
	}
	for _, st := range undoOrder(p.in) {
		s := p.c.step(st.Name)
		if s == nil || s.undo == nil {
			continue
		}
		if st.Phase == UndoFailed {
			if st.Final {
				return false, p.add(Event{Type: EventParked, Step: st.Name, Error: st.Name + ": " + st.Error})
			}
			if st.Due.After(p.now) {
				p.wait(st.Due)
				return false, nil
			}
		}
		if st.Phase == Undoing && !allows(s.undoRetry, st.UndoFailures) {
			return true, p.add(Event{Type: EventUndoFailed, Step: st.Name, Attempt: st.UndoAttempts, Error: ErrCutOff.Error(), Final: true})
		}
		p.starts = append(p.starts, attempt{step: s, undo: true, number: st.UndoAttempts + 1, unsure: st.Order == 0})
		return false, p.add(Event{
			Type: EventUndoing, Step: st.Name, Attempt: st.UndoAttempts + 1, Key: taskKey(p.in.Saga, p.in.ID, st.Name, true),
		})
	}
	return false, p.add(Event{Type: EventCompensated})
}

// undoOrder returns the steps that are to be undone, in that order: first what may have taken effect, then
// what was done, the last one first.
func undoOrder(in *Instance) []StepState {
	var list []StepState
	for i := len(in.Steps) - 1; i >= 0; i-- {
		if st := in.Steps[i]; st.Phase != Undone && (st.Order > 0 || st.Uncertain || st.Phase == Intended) {
			list = append(list, st)
		}
	}
	slices.SortStableFunc(list, func(a, b StepState) int {
		if (a.Order == 0) != (b.Order == 0) {
			return cmp.Compare(a.Order, b.Order)
		}
		return cmp.Compare(b.Order, a.Order)
	})
	return list
}

// taskKey returns the idempotency key of a step.
func taskKey(saga, id, step string, undo bool) string {
	key := saga + "/" + id + "/" + step
	if undo {
		key += "/undo"
	}
	return key
}

// resultEvent returns what an attempt has come to. random is where the jitter of a retry comes from.
func resultEvent(c *core, in *Instance, r *result, now time.Time, random float64) Event {
	s, st := r.a.step, in.StepState(r.a.step.name)
	e := Event{Step: s.name, Attempt: r.a.number}
	if r.err == nil {
		e.Type, e.State = EventDone, r.state
		if r.a.undo {
			e.Type = EventUndone
		} else {
			e.Name, e.Key = r.a.signal.Name, r.a.signal.Key
			if len(c.stages[c.stageOf(s)]) > 1 {
				if change, ok := changed(r.base, r.state); ok {
					e.State, e.Merge = change, true
				}
			}
		}
		if string(e.State) == string(in.State) {
			e.State = nil
		}
		return e
	}
	e.Type, e.Error, e.Uncertain = EventFailed, r.err.Error(), r.unsure
	if st != nil && st.Uncertain && !refused(s.retry, r.err) {
		e.Uncertain = true // only a refusal tells that attempts before this one came to nothing
	}
	failures, retry := 0, s.retry
	if st != nil {
		failures = st.Failures
	}
	if r.a.undo {
		e.Type, retry = EventUndoFailed, s.undoRetry
		if st != nil {
			failures = st.UndoFailures
		}
	}
	wait, again := retry.Next(failures+1, r.err, random)
	if !again || r.inVain || errors.Is(r.err, ErrFinal) {
		e.Final = true
		return e
	}
	e.Due = now.Add(wait)
	return e
}

// refused reports whether err says that the step will never take effect.
func refused(retry timer.Retry, err error) bool {
	return errors.Is(err, ErrFinal) || retry.Final != nil && retry.Final(err)
}
