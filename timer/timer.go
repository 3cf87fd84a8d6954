package timer

import (
	"errors"
	"fmt"
	"time"
)

// Timer is a timer that is set. Owner, ID, Due and Position together are this very one: the same id,
// set again, is another.
type Timer struct {
	Owner, ID string
	// Due is when it is to fire, in the log's time, a whole microsecond.
	Due time.Time
	// Payload is what it was set with.
	Payload []byte
	// Position is that of the commit that set it.
	Position uint64
}

const (
	// MaxOwnerBytes and MaxIDBytes bound the names of a timer.
	MaxOwnerBytes = 128
	MaxIDBytes    = 1024
	// MaxPayloadBytes bounds what a timer carries. What is larger belongs into a record, and its place
	// into the timer.
	MaxPayloadBytes = 64 << 10
)

// ErrInvalid is matched by every *InvalidError.
var ErrInvalid = errors.New("timer: invalid timer")

// InvalidError is returned for a commit with a condition on a timer that cannot be.
type InvalidError struct{ Owner, ID, Reason string }

func (e *InvalidError) Error() string {
	return fmt.Sprintf("timer: %q of %q: %s", e.ID, e.Owner, e.Reason)
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// ErrNotSet is matched by every *NotSetError.
var ErrNotSet = errors.New("timer: not set")

// NotSetError is returned for a commit that fires a timer which is not set any more: it has fired, was
// cancelled, or its id was set again.
type NotSetError struct {
	Owner, ID string
	Due       time.Time // of the timer that was to fire
	// Now is when the timer that is set under that id now is due, the zero time when there is none.
	Now time.Time
}

func (e *NotSetError) Error() string {
	now := "nothing is"
	if !e.Now.IsZero() {
		now = "one due at " + e.Now.Format(time.RFC3339Nano) + " is"
	}
	return fmt.Sprintf("timer: %q of %q, due at %s, is not set: %s", e.ID, e.Owner, e.Due.Format(time.RFC3339Nano), now)
}

// Is makes errors.Is(err, ErrNotSet) true.
func (e *NotSetError) Is(target error) bool { return target == ErrNotSet }

// ErrHandled is returned by Handle for an owner that has a handler already.
var ErrHandled = errors.New("timer: owner has a handler already")

// errLeft is the cause of another call when a handler returned nil and left a timer set.
var errLeft = errors.New("timer: handler left the timer set")

// check returns what is wrong with the names of a timer.
func check(owner, id string) error {
	reason := ""
	switch {
	case owner == "" || len(owner) > MaxOwnerBytes:
		reason = fmt.Sprintf("an owner has 1 to %d bytes", MaxOwnerBytes)
	case id == "" || len(id) > MaxIDBytes:
		reason = fmt.Sprintf("an id has 1 to %d bytes", MaxIDBytes)
	}
	for _, c := range []byte(owner) {
		if c < '!' || c > '~' {
			reason = "an owner has printable ASCII characters only, and no spaces"
		}
	}
	if reason == "" {
		return nil
	}
	return &InvalidError{Owner: owner[:min(len(owner), MaxOwnerBytes)], ID: id[:min(len(id), MaxIDBytes)], Reason: reason}
}
