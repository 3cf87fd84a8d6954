package log

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/stratalog/strata/segment"
)

// Sentinels to test for with errors.Is. Where there are facts, a struct of the like name carries
// them: use errors.As.
var (
	// ErrClosed is returned by every call after Close began.
	ErrClosed = errors.New("log: closed")
	// ErrFailed is matched by every *FailedError: a write or sync failed, and the log refuses commits
	// until it is opened again.
	ErrFailed = errors.New("log: failed")
	// ErrLocked is returned when the directory is open for writing already, here or in another process.
	ErrLocked = errors.New("log: directory is in use")
	// ErrNoLog is returned by Open with MustExist or ReadOnly when the directory holds no log.
	ErrNoLog = errors.New("log: no log in this directory")
	// ErrReadOnly is returned by calls that write on a log that was opened read-only.
	ErrReadOnly = errors.New("log: opened read-only")
	// ErrNoSpace is returned when the file system has no room. Nothing was committed, the log goes on,
	// and commits are taken again when there is room.
	ErrNoSpace = errors.New("log: no space left")
	// ErrUnknown is matched by every *UnknownError: the caller stopped waiting for a commit that
	// was already under way.
	ErrUnknown = errors.New("log: outcome unknown")
	// ErrLimit is matched by every *LimitError.
	ErrLimit = errors.New("log: over the limit")
	// ErrNoTopic is matched by every *TopicError: there is no such topic, or not any more.
	ErrNoTopic = errors.New("log: no such topic")
	// ErrName is matched by every *NameError.
	ErrName = errors.New("log: invalid name")
	// ErrKind is matched by every *KindError.
	ErrKind = errors.New("log: topic belongs to a layer")
	// ErrPartition is matched by every *PartitionError.
	ErrPartition = errors.New("log: no such partition")
	// ErrMismatch is matched by every *MismatchError: something exists already, but not as asked.
	ErrMismatch = errors.New("log: exists with other options")
	// ErrOffset is matched by every *OffsetError: a condition on an offset did not hold.
	ErrOffset = errors.New("log: offset condition does not hold")
	// ErrRange is matched by every *RangeError.
	ErrRange = errors.New("log: no such offset")
	// ErrLost is matched by every *LostError.
	ErrLost = errors.New("log: records lost")
	// ErrOptions is matched by an error about contradictory or impossible options.
	ErrOptions = errors.New("log: invalid options")
	// ErrEmpty is returned by Commit when there is nothing to commit.
	ErrEmpty = errors.New("log: empty commit")

	// ErrCorrupt is matched by every *CorruptError.
	ErrCorrupt = segment.ErrCorrupt
	// ErrFormat is matched by every *FormatError.
	ErrFormat = segment.ErrFormat
)

// CorruptError says which bytes of which file failed which check.
type CorruptError = segment.CorruptError

// FormatError says which file was written by a newer version.
type FormatError = segment.FormatError

// FailedError is what commits get after a write or sync has failed. Which of the commits that were
// under way are there is found out by opening the log again.
type FailedError struct {
	// Cause is the first error.
	Cause error
}

func (e *FailedError) Error() string { return "log: failed, open it again: " + e.Cause.Error() }

// Is makes errors.Is(err, ErrFailed) true.
func (e *FailedError) Is(target error) bool { return target == ErrFailed }

// Unwrap returns the cause.
func (e *FailedError) Unwrap() error { return e.Cause }

// UnknownError is returned when the context ended after a commit was sequenced: the commit will be
// there whole, or not at all.
type UnknownError struct {
	// Cause is the context's.
	Cause error
}

func (e *UnknownError) Error() string { return "log: outcome unknown: " + e.Cause.Error() }

// Is makes errors.Is(err, ErrUnknown) true.
func (e *UnknownError) Is(target error) bool { return target == ErrUnknown }

// Unwrap returns the cause.
func (e *UnknownError) Unwrap() error { return e.Cause }

// LimitError says what was too large. Nothing was committed.
type LimitError struct {
	// What is "record", "commit" or, when one more cannot be registered, "number of views".
	What string
	// Limit and Got are in bytes, or how many views.
	Limit, Got int64
}

// limitOfViews is What of the error about too many views.
const limitOfViews = "number of views"

func (e *LimitError) Error() string {
	if e.What == limitOfViews {
		return fmt.Sprintf("log: no more than %d views can be registered at a time", e.Limit)
	}
	return fmt.Sprintf("log: %s of %d bytes is over the limit of %d", e.What, e.Got, e.Limit)
}

// Is makes errors.Is(err, ErrLimit) true.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// TopicError names a topic that is not there.
type TopicError struct{ Topic string }

func (e *TopicError) Error() string { return fmt.Sprintf("log: no such topic: %q", e.Topic) }

// Is makes errors.Is(err, ErrNoTopic) true.
func (e *TopicError) Is(target error) bool { return target == ErrNoTopic }

// KindError names a topic and the layer that it belongs to, which alone may do what was asked; Kind is
// "" for a topic that belongs to none.
type KindError struct{ Topic, Kind string }

func (e *KindError) Error() string {
	if e.Kind == "" {
		return fmt.Sprintf("log: topic %q belongs to no layer", e.Topic)
	}
	return fmt.Sprintf("log: topic %q belongs to the layer %q", e.Topic, e.Kind)
}

// Is makes errors.Is(err, ErrKind) true.
func (e *KindError) Is(target error) bool { return target == ErrKind }

// NameError says why a name is not accepted.
type NameError struct{ Name, Reason string }

func (e *NameError) Error() string { return fmt.Sprintf("log: invalid name %q: %s", e.Name, e.Reason) }

// Is makes errors.Is(err, ErrName) true.
func (e *NameError) Is(target error) bool { return target == ErrName }

// PartitionError names a partition outside of [0, Partitions).
type PartitionError struct {
	Topic      string
	Partition  int32
	Partitions int
}

func (e *PartitionError) Error() string {
	return fmt.Sprintf("log: topic %q has partitions 0 to %d, not %d", e.Topic, e.Partitions-1, e.Partition)
}

// Is makes errors.Is(err, ErrPartition) true.
func (e *PartitionError) Is(target error) bool { return target == ErrPartition }

// MismatchError says in which field what exists differs from what was asked for.
type MismatchError struct{ Name, Field, Have, Want string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("log: %q exists with %s %s, not %s", e.Name, e.Field, e.Have, e.Want)
}

// Is makes errors.Is(err, ErrMismatch) true.
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

// OffsetError says which offset a partition was expected to give next, and which it would have.
type OffsetError struct {
	Topic            string
	Partition        int32
	Expected, Actual int64
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("log: next offset of %s/%d is %d, not %d", e.Topic, e.Partition, e.Actual, e.Expected)
}

// Is makes errors.Is(err, ErrOffset) true.
func (e *OffsetError) Is(target error) bool { return target == ErrOffset }

// RangeError names an offset that is negative or not there yet.
type RangeError struct {
	Topic     string
	Partition int32
	// Offset was asked for; the offsets are [0, Next).
	Offset, Next int64
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("log: no offset %d in %s/%d, which ends at %d", e.Offset, e.Topic, e.Partition, e.Next)
}

// Is makes errors.Is(err, ErrRange) true.
func (e *RangeError) Is(target error) bool { return target == ErrRange }

// LostError reports the offsets [From, To) of a partition, which damage has taken and repair has
// given up. A reader yields it once, in their place, and goes on behind them when it is asked to.
type LostError struct {
	Topic     string
	Partition int32
	From, To  int64
}

func (e *LostError) Error() string {
	return fmt.Sprintf("log: offsets %d to %d of %s/%d are lost", e.From, e.To-1, e.Topic, e.Partition)
}

// Is makes errors.Is(err, ErrLost) true.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// spaceError turns an error of the file system that says "full" into one that matches ErrNoSpace.
func spaceError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, errQuota) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
