package saga

import (
	"errors"
	"fmt"
)

var (
	// ErrDefinition is matched by every *DefinitionError.
	ErrDefinition = errors.New("saga: invalid definition")
	// ErrInstance is matched by every *InstanceError: there is no such instance.
	ErrInstance = errors.New("saga: no such instance")
	// ErrStatus is matched by every *StatusError: the instance's status does not allow what was asked.
	ErrStatus = errors.New("saga: not in this status")
	// ErrFenced is matched by every *FencedError: another runner has taken the instance, or it was changed
	// meanwhile.
	ErrFenced = errors.New("saga: fenced")
	// ErrName is returned for a name or an id that cannot be.
	ErrName = errors.New("saga: invalid name")
	// ErrUnknown is returned for a saga, or a version of one, of which the runner has no definition.
	ErrUnknown = errors.New("saga: no such definition")
	// ErrTimeout is the cause of the context of an action that took longer than its timeout.
	ErrTimeout = errors.New("saga: step timed out")
	// ErrDeadline is why a step has failed that awaited a signal.
	ErrDeadline = errors.New("saga: the deadline has passed")
	// ErrCutOff is why a step has failed for good whose last attempt was cut off, by a crash or at the end
	// of Run, when that was the last one that its policy allows.
	ErrCutOff = errors.New("saga: the attempt was cut off")
	// ErrPivot is matched by every *PivotError: there is no way back any more.
	ErrPivot = errors.New("saga: behind the pivot")
	// ErrPanic is matched by what becomes of an action that panicked.
	ErrPanic = errors.New("saga: action panicked")
	// ErrRunning is returned by Run while the runner is running.
	ErrRunning = errors.New("saga: runner is running already")
	// ErrFinal is matched by what Final returns.
	ErrFinal = errors.New("saga: final")
)

// DefinitionError says what is wrong with a definition.
type DefinitionError struct {
	Saga   string
	Step   string // or "" when it is not about one
	Reason string
}

func (e *DefinitionError) Error() string {
	if e.Step == "" {
		return fmt.Sprintf("saga: definition of %q: %s", e.Saga, e.Reason)
	}
	return fmt.Sprintf("saga: definition of %q: step %q: %s", e.Saga, e.Step, e.Reason)
}

// Is makes errors.Is(err, ErrDefinition) true.
func (e *DefinitionError) Is(target error) bool { return target == ErrDefinition }

// InstanceError names an instance that is not there.
type InstanceError struct{ Saga, ID string }

func (e *InstanceError) Error() string {
	return fmt.Sprintf("saga: no instance %q of %q", e.ID, e.Saga)
}

// Is makes errors.Is(err, ErrInstance) true.
func (e *InstanceError) Is(target error) bool { return target == ErrInstance }

// StatusError says that an instance is not in a status that allows what was asked.
type StatusError struct {
	Saga, ID string
	Status   Status
	Asked    string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("saga: %s of %q of %q: it is %s", e.Asked, e.ID, e.Saga, e.Status)
}

// Is makes errors.Is(err, ErrStatus) true.
func (e *StatusError) Is(target error) bool { return target == ErrStatus }

// PivotError says that an instance cannot be undone, since its pivot is done.
type PivotError struct{ Saga, ID, Step string }

func (e *PivotError) Error() string {
	return fmt.Sprintf("saga: abort of %q of %q: its pivot %q is done", e.ID, e.Saga, e.Step)
}

// Is makes errors.Is(err, ErrPivot) true.
func (e *PivotError) Is(target error) bool { return target == ErrPivot }

// FencedError is returned for a commit that rests on what is no longer so.
type FencedError struct {
	Saga, ID string
	// What is "epoch" when another runner has the instance, "version" when it has changed.
	What             string
	Expected, Actual uint64
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("saga: instance %q of %q is at %s %d, not %d", e.ID, e.Saga, e.What, e.Actual, e.Expected)
}

// Is makes errors.Is(err, ErrFenced) true.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// Final marks err as one that no further attempt can mend.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

type finalError struct{ cause error }

func (e *finalError) Error() string        { return e.cause.Error() }
func (e *finalError) Unwrap() error        { return e.cause }
func (e *finalError) Is(target error) bool { return target == ErrFinal }
