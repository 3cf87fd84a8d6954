package saga

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// EventType says what happened to an instance.
type EventType string

// The types of events.
const (
	EventStarted      EventType = "started"
	EventIntended     EventType = "intended"     // an attempt at a step
	EventAwaiting     EventType = "awaiting"     // a step waits for a signal
	EventDone         EventType = "done"         // a step
	EventFailed       EventType = "failed"       // an attempt at a step
	EventCompensating EventType = "compensating" // what was done will be undone
	EventUndoing      EventType = "undoing"      // an attempt at a compensation
	EventUndone       EventType = "undone"       // a step
	EventUndoFailed   EventType = "undo-failed"  // an attempt at a compensation
	EventParked       EventType = "parked"
	EventRetried      EventType = "retried"       // by hand: the step is tried again
	EventResumed      EventType = "resumed"       // by hand: the step counts as done, or undone
	EventAbort        EventType = "abort"         // by hand: it is to be undone
	EventAborted      EventType = "aborted"       // by hand: it was given up as it was
	EventAbortRefused EventType = "abort-refused" // the pivot was done before the request was heeded
	EventSignalled    EventType = "signalled"
	EventWoken        EventType = "woken"    // its timer was due
	EventWaiting      EventType = "waiting"  // it was looked at, and waits on
	EventReceived     EventType = "received" // an event of another topic was handled
	EventKept         EventType = "kept"     // an event of another topic came too early
	EventTimedOut     EventType = "timed-out"
	EventCompleted    EventType = "completed"
	EventCompensated  EventType = "compensated"
)

// Event is one move of an instance.
type Event struct {
	// Version, Offset and Time are those of the record: they are not in its value.
	Version uint64    `json:"-"`
	Offset  int64     `json:"-"`
	Time    time.Time `json:"-"`

	Type    EventType `json:"type"`
	Step    string    `json:"step,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	// Key is the idempotency key that the action is given, or that of a signal or of a received event.
	Key        string          `json:"key,omitempty"`
	Error      string          `json:"error,omitempty"`
	Final      bool            `json:"final,omitempty"`
	Pivot      bool            `json:"pivot,omitempty"` // the step is the pivot
	Uncertain  bool            `json:"uncertain,omitempty"`
	Due        time.Time       `json:"due,omitzero"`
	State      json.RawMessage `json:"state,omitempty"`
	Merge      bool            `json:"merge,omitempty"` // State has only the fields that have changed
	Definition int             `json:"definition,omitempty"`
	// Name is that of a signal, a timer or a received event, Payload what came with it.
	Name    string `json:"name,omitempty"`
	Payload []byte `json:"payload,omitempty"`
	// Timers are those that a transition has set; the zero time cancels.
	Timers map[string]time.Time `json:"timers,omitempty"`
	// Epoch is that of the runner, 0 for others; Seen how much of what was told it has heeded. Waits says
	// that it has left the instance until Next, or until it is told something.
	Epoch uint64    `json:"epoch,omitempty"`
	Seen  int       `json:"seen,omitempty"`
	Waits bool      `json:"waits,omitempty"`
	Next  time.Time `json:"next,omitzero"`
}

// apply folds in one event. It is the only place where an instance changes.
func (in *Instance) apply(e *Event, at time.Time) error {
	in.Version++
	in.Updated = at
	if e.Epoch > 0 {
		in.Epoch, in.Seen, in.Waiting, in.Next = e.Epoch, e.Seen, e.Waits, e.Next
	}
	switch e.Type {
	case EventStarted:
		in.Status, in.Definition, in.State, in.Started = Running, e.Definition, e.State, at
		in.Waiting, in.Next = e.Waits, e.Next
	case EventIntended, EventAwaiting, EventDone, EventFailed, EventUndoing, EventUndone, EventUndoFailed:
		return in.applyStep(e, at)
	case EventCompensating:
		in.Status, in.Cause = Compensating, e.Error
	case EventParked:
		in.Back, in.Status, in.Step, in.Cause = in.Status, Parked, e.Step, e.Error
	case EventRetried, EventResumed:
		in.unpark(e, at)
	case EventAbort:
		in.Abort = true
		in.Told++
	case EventAbortRefused:
		in.Abort = false
	case EventSignalled:
		in.signalled(e)
	case EventWoken:
		in.Told++
	case EventWaiting:
		if e.Epoch == 0 {
			in.Waiting, in.Next, in.Seen = e.Waits, e.Next, max(in.Seen, e.Seen)
		}
	case EventReceived, EventTimedOut:
		return in.applyReaction(e)
	case EventKept:
		in.handled(e.Key)
		in.Kept = append(in.Kept, Kept{e.Name, e.Key, e.Payload})
	case EventCompleted, EventCompensated, EventAborted:
		in.Status = map[EventType]Status{EventCompleted: Completed, EventCompensated: Compensated, EventAborted: Aborted}[e.Type]
		if e.Error != "" {
			in.Cause = e.Error
		}
		in.Waiting, in.Next, in.Timers, in.Signals, in.Kept = false, time.Time{}, nil, nil, nil
	default:
		return fmt.Errorf("saga: event of type %q", e.Type)
	}
	return nil
}

func (in *Instance) applyStep(e *Event, at time.Time) error {
	s := in.StepState(e.Step)
	if s == nil {
		in.Steps = append(in.Steps, StepState{Name: e.Step, Begun: at})
		s = &in.Steps[len(in.Steps)-1]
	}
	was := s.Phase
	s.Due = e.Due
	switch e.Type {
	case EventIntended:
		s.Phase, s.Attempts, s.Pivot = Intended, e.Attempt, e.Pivot
		if was == Intended { // the attempt before was cut off
			s.Uncertain = true
			s.Failures++
		}
	case EventAwaiting:
		s.Phase, s.Pivot = Awaiting, e.Pivot
	case EventDone:
		s.Phase, s.Ended, s.Final = Done, at, false
		in.Ordered++
		s.Order = in.Ordered
		in.take(e.Name, e.Key)
	case EventFailed:
		s.Phase, s.Error, s.Final = Failed, e.Error, e.Final
		s.Failures++
		s.Uncertain = e.Uncertain
	case EventUndoing:
		s.Phase, s.UndoAttempts = Undoing, e.Attempt
		s.Uncertain = s.Uncertain || was == Intended
		if was == Undoing {
			s.UndoFailures++
		}
	case EventUndone:
		s.Phase, s.Ended, s.Final = Undone, at, false
	case EventUndoFailed:
		s.Phase, s.Error, s.Final = UndoFailed, e.Error, e.Final
		s.UndoFailures++
	}
	return in.setState(e)
}

func (in *Instance) setState(e *Event) error {
	if e.State == nil {
		return nil
	}
	if !e.Merge {
		in.State = e.State
		return nil
	}
	var have, change map[string]json.RawMessage
	if err := json.Unmarshal(in.State, &have); err != nil {
		return fmt.Errorf("saga: state of %q: %w", in.ID, err)
	}
	if err := json.Unmarshal(e.State, &change); err != nil {
		return fmt.Errorf("saga: state of %q: %w", in.ID, err)
	}
	for k, v := range change {
		have[k] = v
	}
	state, err := json.Marshal(have)
	in.State = state
	return err
}

// unpark takes up what is parked: the step that it is parked at is tried again, or passed.
func (in *Instance) unpark(e *Event, at time.Time) {
	if s := in.StepState(in.Step); s != nil {
		s.Final, s.Failures, s.UndoFailures, s.Due = false, 0, 0, time.Time{}
		switch {
		case e.Type == EventRetried:
		case in.Back == Compensating:
			s.Phase, s.Ended = Undone, at
		default:
			in.Ordered++
			s.Phase, s.Ended, s.Order = Done, at, in.Ordered
		}
	}
	if e.Type == EventResumed {
		if _, ok := in.Timers[in.Step]; ok {
			delete(in.Timers, in.Step)
		} else if slices.ContainsFunc(in.Kept, func(k Kept) bool { return k.Event == in.Step }) {
			in.Kept = slices.DeleteFunc(in.Kept, func(k Kept) bool { return k.Event == in.Step })
			in.handled(handledEvent(in.Step)) // what comes after it need not wait any more
		}
	}
	in.Status, in.Back, in.Step = in.Back, 0, ""
	if in.Status == Running {
		in.Cause = ""
	}
	in.Waiting, in.Next, in.Abort = false, time.Time{}, false
}

func (in *Instance) signalled(e *Event) {
	if e.Key != "" {
		if in.Handled[e.Key] {
			return
		}
		in.handled(e.Key)
	}
	if in.Status.Final() {
		return
	}
	in.Signals = append(in.Signals, Signal{e.Name, e.Key, e.Payload})
	in.Told++
}

// handledEvent returns the key under Handled that says that an event of this name was handled.
func handledEvent(name string) string { return "event " + name }

func (in *Instance) handled(key string) {
	if in.Handled == nil {
		in.Handled = map[string]bool{}
	}
	in.Handled[key] = true
}

// take removes the first signal of that name and key.
func (in *Instance) take(name, key string) {
	i := slices.IndexFunc(in.Signals, func(s Signal) bool { return s.Name == name && s.Key == key })
	if name != "" && i >= 0 {
		in.Signals = slices.Delete(in.Signals, i, i+1)
	}
}

func (in *Instance) applyReaction(e *Event) error {
	if e.Type == EventTimedOut {
		delete(in.Timers, e.Name)
	} else {
		in.handled(e.Key)
		in.handled(handledEvent(e.Name))
		in.Kept = slices.DeleteFunc(in.Kept, func(k Kept) bool { return k.Key == e.Key })
	}
	for name, due := range e.Timers {
		if due.IsZero() {
			delete(in.Timers, name)
			continue
		}
		if in.Timers == nil {
			in.Timers = map[string]time.Time{}
		}
		in.Timers[name] = due
	}
	in.Waiting, in.Next = e.Waits, e.Next
	in.Seen = max(in.Seen, e.Seen)
	return in.setState(e)
}

// changed returns the fields of now that differ from those of was, or false when the two are no objects.
func changed(was, now json.RawMessage) (json.RawMessage, bool) {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(was, &a) != nil || json.Unmarshal(now, &b) != nil || a == nil || b == nil {
		return nil, false
	}
	for k, v := range b {
		if old, ok := a[k]; ok && bytes.Equal(old, v) {
			delete(b, k)
		}
	}
	text, err := json.Marshal(b)
	return text, err == nil
}
