package aggregate

import (
	"errors"
	"fmt"
)

var (
	// ErrVersionConflict is matched by every *VersionConflictError.
	ErrVersionConflict = errors.New("aggregate: version conflict")
	// ErrTombstone is matched by every *TombstoneError.
	ErrTombstone = errors.New("aggregate: stream has a tombstone")
	// ErrNoStream is matched by every *StreamError: there is no such stream.
	ErrNoStream = errors.New("aggregate: no such stream")
	// ErrCommand is matched by every *CommandError: a command id was used for something else before.
	ErrCommand = errors.New("aggregate: command id was used before")
	// ErrGap is matched by every *GapError: events are missing.
	ErrGap = errors.New("aggregate: events are missing")
	// ErrInvalid is matched by every *InvalidError.
	ErrInvalid = errors.New("aggregate: invalid")
	// ErrRecord is matched by every *RecordError: a record is no event.
	ErrRecord = errors.New("aggregate: record is no event")
)

// VersionConflictError says that a stream is not as a commit expects it to be. Nothing of the commit
// happened.
type VersionConflictError struct {
	Stream   string
	Expected Expected
	// Actual is the version that the stream has, 0 when there is no such stream.
	Actual uint64
}

func (e *VersionConflictError) Error() string {
	if e.Actual == 0 {
		return fmt.Sprintf("aggregate: there is no stream %q, expected was %v", e.Stream, e.Expected)
	}
	return fmt.Sprintf("aggregate: stream %q is at version %d, expected was %v", e.Stream, e.Actual, e.Expected)
}

// Is makes errors.Is(err, ErrVersionConflict) true.
func (e *VersionConflictError) Is(target error) bool { return target == ErrVersionConflict }

// TombstoneError names a stream that was ended for ever.
type TombstoneError struct{ Stream string }

func (e *TombstoneError) Error() string {
	return fmt.Sprintf("aggregate: stream %q has a tombstone", e.Stream)
}

// Is makes errors.Is(err, ErrTombstone) true.
func (e *TombstoneError) Is(target error) bool { return target == ErrTombstone }

// StreamError names a stream that is not there.
type StreamError struct{ Stream string }

func (e *StreamError) Error() string { return fmt.Sprintf("aggregate: no such stream: %q", e.Stream) }

// Is makes errors.Is(err, ErrNoStream) true.
func (e *StreamError) Is(target error) bool { return target == ErrNoStream }

// CommandError says that the events of the first commit with a command id went to another stream than
// those of a later one.
type CommandError struct {
	CommandID string
	Stream    string // of the later one, without events in the first
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("aggregate: command %q was done before, and not on stream %q", e.CommandID, e.Stream)
}

// Is makes errors.Is(err, ErrCommand) true.
func (e *CommandError) Is(target error) bool { return target == ErrCommand }

// GapError names the versions [From, To] of a stream that should be there and are not: damage has taken
// them and repair has given them up, or the stream was truncated or ended while it was read.
type GapError struct {
	Stream   string
	From, To uint64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("aggregate: versions %d to %d of stream %q are missing", e.From, e.To, e.Stream)
}

// Is makes errors.Is(err, ErrGap) true.
func (e *GapError) Is(target error) bool { return target == ErrGap }

// InvalidError says what is wrong with a stream's name, an event, a command id or a definition.
type InvalidError struct{ What, Reason string }

func (e *InvalidError) Error() string { return fmt.Sprintf("aggregate: %s: %s", e.What, e.Reason) }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// RecordError says why a record is no event.
type RecordError struct {
	Topic     string
	Partition int32
	Offset    int64
	Reason    string
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("aggregate: record %d of %s/%d is no event: %s", e.Offset, e.Topic, e.Partition, e.Reason)
}

// Is makes errors.Is(err, ErrRecord) true.
func (e *RecordError) Is(target error) bool { return target == ErrRecord }
