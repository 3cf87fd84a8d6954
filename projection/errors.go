package projection

import (
	"errors"
	"fmt"

	"github.com/stratalog/strata/log"
)

var (
	// ErrDefinition is matched by errors about impossible definitions.
	ErrDefinition = errors.New("projection: invalid definition")
	// ErrNotReady is returned to readers of a model whose first build is not complete.
	ErrNotReady = errors.New("projection: model is not built yet")
	// ErrRunning is returned by Run while another Run of the same projection is under way.
	ErrRunning = errors.New("projection: is running already")
	// ErrClosed is returned by every call after the store was closed, as it is with its log.
	ErrClosed = errors.New("projection: store is closed")
	// ErrStore is matched by errors of Pebble. A damaged store is moved aside when it is opened again, and
	// its models are built anew.
	ErrStore = errors.New("projection: store failed")
	// ErrPoison is matched by every *PoisonError.
	ErrPoison = errors.New("projection: event was not taken")
	// ErrFenced is matched by every *FencedError.
	ErrFenced = errors.New("projection: model was carried on by somebody else")
	// ErrNotParked is matched by every *NotParkedError.
	ErrNotParked = errors.New("projection: no such parked event")
	// ErrOrder is matched by every *OrderError.
	ErrOrder = errors.New("projection: events depend on each other's order")
	// ErrNoProjection is matched by every *NameError.
	ErrNoProjection = errors.New("projection: no such projection")
)

// PoisonError says which event the handler did not take.
type PoisonError struct {
	Projection string
	Version    int
	Topic      string
	Partition  int32
	Offset     int64
	Position   uint64
	// Attempts is how often it was tried, Cause the last error.
	Attempts int
	Cause    error
}

func (e *PoisonError) Error() string {
	return fmt.Sprintf("projection: %q version %d: %s/%d offset %d (position %d), attempt %d: %v",
		e.Projection, e.Version, e.Topic, e.Partition, e.Offset, e.Position, e.Attempts, e.Cause)
}

// Is makes errors.Is(err, ErrPoison) true.
func (e *PoisonError) Is(target error) bool { return target == ErrPoison }

// Unwrap returns the cause.
func (e *PoisonError) Unwrap() error { return e.Cause }

// LostError says that records are gone which the model does not have: damage took them, and a repair of the log gave
// them up. It matches log.ErrLost. With PoisonStops it stops Run each time, in front of the gap; a definition with
// another policy passes over it.
type LostError struct {
	Projection string
	// From and To are the positions that are gone, [From, To).
	From, To uint64
	// Lost says which offsets are gone of topics that are handled.
	Lost []*log.LostError
}

func (e *LostError) Error() string {
	return fmt.Sprintf("projection: %q: records at positions [%d, %d) are gone: %v", e.Projection, e.From, e.To, e.Lost)
}

// Is makes errors.Is(err, log.ErrLost) true.
func (e *LostError) Is(target error) bool { return target == log.ErrLost }

// FencedError says that the stored checkpoint is not the one that a transaction began from: another process
// carries the same model on, or has dropped it. Nothing of the transaction happened.
type FencedError struct {
	Projection string
	// Expected and Actual are positions.
	Expected, Actual uint64
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("projection: %q is at position %d, not %d: somebody else carries it on", e.Projection, e.Actual, e.Expected)
}

// Is makes errors.Is(err, ErrFenced) true.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// NotParkedError names a position at which no event is parked.
type NotParkedError struct {
	Projection string
	Position   uint64
}

func (e *NotParkedError) Error() string {
	return fmt.Sprintf("projection: %q has no event parked at position %d", e.Projection, e.Position)
}

// Is makes errors.Is(err, ErrNotParked) true.
func (e *NotParkedError) Is(target error) bool { return target == ErrNotParked }

// OrderError names a key of the model that events of different streams have written at once.
type OrderError struct{ Projection, Key string }

func (e *OrderError) Error() string {
	return fmt.Sprintf("projection: %q is run in parallel, and events of different streams write the key %q", e.Projection, e.Key)
}

// Is makes errors.Is(err, ErrOrder) true.
func (e *OrderError) Is(target error) bool { return target == ErrOrder }

// NameError names a projection that is not there.
type NameError struct{ Name string }

func (e *NameError) Error() string { return fmt.Sprintf("projection: no such projection: %q", e.Name) }

// Is makes errors.Is(err, ErrNoProjection) true.
func (e *NameError) Is(target error) bool { return target == ErrNoProjection }
