package consumer

import (
	"errors"
	"fmt"
)

// Sentinels to test for with errors.Is.
var (
	// ErrFenced is matched by every *FencedError.
	ErrFenced = errors.New("consumer: fenced")
	// ErrUnfinished is matched by every *UnfinishedError.
	ErrUnfinished = errors.New("consumer: an earlier record is unfinished")
	// ErrOffset is matched by every *OffsetError.
	ErrOffset = errors.New("consumer: offset out of range")
	// ErrGroup is matched by every *GroupError: there is no such group.
	ErrGroup = errors.New("consumer: no such group")
	// ErrName is returned for a group name that is empty, longer than 249 bytes, or not UTF-8 text.
	ErrName = errors.New("consumer: invalid group name")
	// ErrOptions is matched by errors about contradictory or impossible options.
	ErrOptions = errors.New("consumer: invalid options")
	// ErrBusy is returned when a group that has members is to be deleted.
	ErrBusy = errors.New("consumer: group has members")
	// ErrClosed is returned by a member that has left its group.
	ErrClosed = errors.New("consumer: member is closed")
	// ErrStale is returned when a group was changed by somebody else meanwhile.
	ErrStale = errors.New("consumer: the group has changed")
)

// FencedError is what the commit of a member gets that does not own the partition any more.
type FencedError struct {
	Group     string
	Topic     string
	Partition int32
	// Generation is the one that the commit carried, Current the one in which the partition was given
	// to its owner; 0 when it has none, because the group or the topic was deleted.
	Generation, Current uint32
}

func (e *FencedError) Error() string {
	if e.Current == 0 {
		return fmt.Sprintf("consumer: group %q: %s/%d has no owner any more, after generation %d", e.Group, e.Topic, e.Partition, e.Generation)
	}
	return fmt.Sprintf("consumer: group %q: %s/%d was given away in generation %d, after generation %d", e.Group, e.Topic, e.Partition, e.Current, e.Generation)
}

// Is makes errors.Is(err, ErrFenced) true.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// UnfinishedError is what a commit with Done gets when the record before is not done, because its commit
// failed or was never made, or when the record is done already: Committed is beyond Offset then.
type UnfinishedError struct {
	Group     string
	Topic     string
	Partition int32
	// Offset is that of the record, Committed the first unfinished one, -1 when nothing is committed.
	Offset, Committed int64
}

func (e *UnfinishedError) Error() string {
	if e.Committed > e.Offset {
		return fmt.Sprintf("consumer: group %q: %s/%d: record %d is done already, the offset is %d", e.Group, e.Topic, e.Partition, e.Offset, e.Committed)
	}
	return fmt.Sprintf("consumer: group %q: %s/%d: record %d cannot be done before record %d is", e.Group, e.Topic, e.Partition, e.Offset, max(e.Committed, 0))
}

// Is makes errors.Is(err, ErrUnfinished) true.
func (e *UnfinishedError) Is(target error) bool { return target == ErrUnfinished }

// OffsetError names an offset that cannot be committed: negative, or beyond what is synced.
type OffsetError struct {
	Topic       string
	Partition   int32
	Offset, End int64
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("consumer: offset %d of %s/%d is not within 0 and %d", e.Offset, e.Topic, e.Partition, e.End)
}

// Is makes errors.Is(err, ErrOffset) true.
func (e *OffsetError) Is(target error) bool { return target == ErrOffset }

// GroupError names a group that is not there.
type GroupError struct{ Group string }

func (e *GroupError) Error() string { return fmt.Sprintf("consumer: no such group: %q", e.Group) }

// Is makes errors.Is(err, ErrGroup) true.
func (e *GroupError) Is(target error) bool { return target == ErrGroup }
