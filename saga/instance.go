package saga

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Status is where an instance stands.
type Status uint8

// The statuses. Completed, Compensated and Aborted are final; a parked instance waits for somebody.
const (
	Running Status = iota + 1
	Compensating
	Parked
	Completed
	Compensated
	Aborted
)

var statusNames = [...]string{"", "running", "compensating", "parked", "completed", "compensated", "aborted"}

func (s Status) String() string {
	if int(s) < len(statusNames) && s > 0 {
		return statusNames[s]
	}
	return "invalid"
}

// Final reports whether nothing more will happen.
func (s Status) Final() bool { return s >= Completed }

// MarshalText returns String.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses what String returns.
func (s *Status) UnmarshalText(b []byte) error {
	i := slices.Index(statusNames[:], string(b))
	if i < 1 {
		return fmt.Errorf("%w: status %q", ErrName, b)
	}
	*s = Status(i)
	return nil
}

// Phase is where a step of an instance stands.
type Phase string

// The phases.
const (
	Intended   Phase = "intended"    // an attempt is under way, or was cut off
	Awaiting   Phase = "awaiting"    // a signal
	Done       Phase = "done"        //
	Failed     Phase = "failed"      // and is tried again at Due, or has failed for good
	Undoing    Phase = "undoing"     // an attempt at the compensation is under way, or was cut off
	Undone     Phase = "undone"      //
	UndoFailed Phase = "undo-failed" // and is tried again at Due, or has failed for good
)

// StepState is what became of a step so far.
type StepState struct {
	Name  string `json:"name"`
	Phase Phase  `json:"phase"`
	// Attempts and UndoAttempts count the attempts at the action and at the compensation, Failures and
	// UndoFailures those that failed or were cut off since the last Retry by hand.
	Attempts     int `json:"attempts,omitempty"`
	Failures     int `json:"failures,omitempty"`
	UndoAttempts int `json:"undo_attempts,omitempty"`
	UndoFailures int `json:"undo_failures,omitempty"`
	// Begun is when the first attempt was intended, Ended when the action or the compensation was done.
	Begun time.Time `json:"begun,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
	// Due is when it is tried again, or the deadline of what it awaits.
	Due   time.Time `json:"due,omitzero"`
	Error string    `json:"error,omitempty"` // of the last attempt that failed
	Final bool      `json:"final,omitempty"` // there will be no attempt by itself
	// Uncertain says that an attempt ended without a result, so that it may have taken effect.
	Uncertain bool `json:"uncertain,omitempty"`
	// Pivot says that it is the step behind which there is no way back.
	Pivot bool `json:"pivot,omitempty"`
	// Order is the how-many-eth of the steps it was that was done.
	Order int `json:"order,omitempty"`
}

// Spent is how long the step took from its first attempt to its end, or to now.
func (s *StepState) Spent(now time.Time) time.Duration {
	switch {
	case s.Begun.IsZero():
		return 0
	case s.Ended.IsZero():
		return now.Sub(s.Begun)
	}
	return s.Ended.Sub(s.Begun)
}

// Signal is something that was told to an instance and is not taken yet.
type Signal struct {
	Name    string `json:"name"`
	Key     string `json:"key,omitempty"`
	Payload []byte `json:"payload,omitempty"`
}

// Instance is the state of one saga, as of its last event.
type Instance struct {
	Saga string `json:"saga"`
	ID   string `json:"id"`
	// Definition is the version of the definition that it began with, and ends with.
	Definition int             `json:"definition"`
	Status     Status          `json:"status"`
	State      json.RawMessage `json:"state,omitempty"` // JSON of the S of Define
	Steps      []StepState     `json:"steps,omitempty"` // in the order in which they were begun
	Started    time.Time       `json:"started"`
	Updated    time.Time       `json:"updated"`
	// Version is how many events it has.
	Version uint64 `json:"version"`
	// Cause is why it compensates or is parked, Step the step that it is parked at.
	Cause string `json:"cause,omitempty"`
	Step  string `json:"step,omitempty"`
	// Next is when it goes on by itself, if it waits: the next retry, timer or deadline.
	Next    time.Time            `json:"next,omitzero"`
	Signals []Signal             `json:"signals,omitempty"`
	Timers  map[string]time.Time `json:"timers,omitempty"`
	Kept    []Kept               `json:"kept,omitempty"`
	// Handled are the keys of events and signals that were taken in.
	Handled map[string]bool `json:"handled,omitempty"`
	// Abort says that it was asked to be undone.
	Abort bool `json:"abort,omitempty"`

	// Epoch is that of the runner that has taken it last.
	Epoch uint64 `json:"epoch,omitempty"`
	// Back is the status that it was parked from.
	Back    Status `json:"back,omitempty"`
	Ordered int    `json:"ordered,omitempty"` // how many steps were done
	// Told counts what came from outside, Seen how much of it a runner has heeded.
	Told    int  `json:"told,omitempty"`
	Seen    int  `json:"seen,omitempty"`
	Waiting bool `json:"waiting,omitempty"`
}

// Kept is an event that came before those that it has to follow.
type Kept struct {
	Event string `json:"event"`
	Key   string `json:"key"`
	Value []byte `json:"value,omitempty"`
}

// StepState returns what became of a step, or nil when it was not begun.
func (in *Instance) StepState(name string) *StepState {
	for i := range in.Steps {
		if in.Steps[i].Name == name {
			return &in.Steps[i]
		}
	}
	return nil
}

// PastPivot returns the name of the pivot when that is done: there is no way back any more.
func (in *Instance) PastPivot() (step string, past bool) {
	for i := range in.Steps {
		if s := &in.Steps[i]; s.Pivot && s.Phase == Done {
			return s.Name, true
		}
	}
	return "", false
}

// ready reports whether a runner has something to do.
func (in *Instance) ready() bool {
	return (in.Status == Running || in.Status == Compensating) && (!in.Waiting || in.Told > in.Seen)
}

func (in *Instance) clone() *Instance {
	c := *in
	c.Steps = slices.Clone(in.Steps)
	c.Signals = slices.Clone(in.Signals)
	c.Kept = slices.Clone(in.Kept)
	c.Timers = cloneMap(in.Timers)
	c.Handled = cloneMap(in.Handled)
	return &c
}

func cloneMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return nil
	}
	c := make(map[string]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
