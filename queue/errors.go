package queue

import (
	"errors"
	"fmt"
	"time"
)

// Sentinels to test for with errors.Is. Where there are facts, a struct of the like name carries them.
// An option that differs from what is declared is a *log.MismatchError.
var (
	// ErrNoQueue is matched by every *NoQueueError.
	ErrNoQueue = errors.New("queue: no such queue")
	// ErrOptions is matched by errors about contradictory or impossible options.
	ErrOptions = errors.New("queue: invalid options")
	// ErrInvalid is matched by every *InvalidError.
	ErrInvalid = errors.New("queue: invalid message")
	// ErrRepeated is matched by every *RepeatedError.
	ErrRepeated = errors.New("queue: a DedupID twice in a commit")
	// ErrQueueFull is matched by every *FullError.
	ErrQueueFull = errors.New("queue: full")
	// ErrLease is matched by every *LeaseError: the receipt is stale.
	ErrLease = errors.New("queue: lease is gone")
	// ErrReceipt is matched by every *ReceiptError.
	ErrReceipt = errors.New("queue: invalid receipt")
	// ErrNoMessage is matched by every *NoMessageError.
	ErrNoMessage = errors.New("queue: no such message")
	// ErrLeased is matched by every *LeasedError.
	ErrLeased = errors.New("queue: message is leased")
	// ErrCorrupt is returned when the engine's own record of what happened to a queue does not decode.
	ErrCorrupt = errors.New("queue: record does not decode")
	// ErrRejected is matched by what Reject returns: the message goes to the dead letters at once.
	ErrRejected = errors.New("queue: rejected")
)

// NoQueueError names a queue that is not declared, or not any more.
type NoQueueError struct{ Queue string }

func (e *NoQueueError) Error() string { return fmt.Sprintf("queue: there is no queue %q", e.Queue) }

// Is makes errors.Is(err, ErrNoQueue) true.
func (e *NoQueueError) Is(target error) bool { return target == ErrNoQueue }

// InvalidError says which message of a call cannot be sent, and why. Nothing was sent.
type InvalidError struct {
	Queue  string
	Index  int // of the message among those of the call, from 0
	Reason string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("queue: message %d for %q: %s", e.Index, e.Queue, e.Reason)
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// RepeatedError names the DedupID that two messages of a commit have. Nothing was sent, or committed otherwise.
type RepeatedError struct{ Queue, DedupID string }

func (e *RepeatedError) Error() string {
	return fmt.Sprintf("queue: two messages for %q in a commit have the DedupID %q", e.Queue, e.DedupID)
}

// Is makes errors.Is(err, ErrRepeated) true.
func (e *RepeatedError) Is(target error) bool { return target == ErrRepeated }

// ReceiptError says which receipt cannot be one of the queue, and why.
type ReceiptError struct{ Queue, Receipt, Reason string }

func (e *ReceiptError) Error() string {
	receipt := e.Receipt
	if len(receipt) > 64 {
		receipt = receipt[:64] + "…"
	}
	return fmt.Sprintf("queue: receipt %q is not one of %q: %s", receipt, e.Queue, e.Reason)
}

// Is makes errors.Is(err, ErrReceipt) true.
func (e *ReceiptError) Is(target error) bool { return target == ErrReceipt }

// FullError is returned for messages that a bounded queue has no room for. Nothing was sent.
type FullError struct {
	Queue string
	// Depth is how many messages the queue held, at most, Bytes the bytes of their keys and values. Of a
	// commit with several calls of Stage, those of earlier calls are among them.
	Depth, Bytes int64
	// MaxDepth and MaxBytes are its bounds, 0 for none.
	MaxDepth, MaxBytes int64
}

func (e *FullError) Error() string {
	return fmt.Sprintf("queue: %q is full: %d messages (at most %d), %d bytes (at most %d), 0 being no bound",
		e.Queue, e.Depth, e.MaxDepth, e.Bytes, e.MaxBytes)
}

// Is makes errors.Is(err, ErrQueueFull) true.
func (e *FullError) Is(target error) bool { return target == ErrQueueFull }

// LeaseError is returned for a receipt that is stale: the message was done with, or its lease has ended
// and it was or will be handed out again. Nothing was changed.
type LeaseError struct {
	Queue string
	ID    int64 // of the message
}

func (e *LeaseError) Error() string {
	return fmt.Sprintf("queue: the lease of message %d of %q is gone", e.ID, e.Queue)
}

// Is makes errors.Is(err, ErrLease) true.
func (e *LeaseError) Is(target error) bool { return target == ErrLease }

// NoMessageError names a message that is not in the queue, or not any more.
type NoMessageError struct {
	Queue string
	ID    int64
}

func (e *NoMessageError) Error() string {
	return fmt.Sprintf("queue: there is no message %d in %q", e.ID, e.Queue)
}

// Is makes errors.Is(err, ErrNoMessage) true.
func (e *NoMessageError) Is(target error) bool { return target == ErrNoMessage }

// LeasedError names a message that cannot be removed since somebody is at work on it.
type LeasedError struct {
	Queue string
	ID    int64
	Owner string
	Until time.Time // zero when the lease is held until it is released
}

func (e *LeasedError) Error() string {
	return fmt.Sprintf("queue: message %d of %q is leased by %q", e.ID, e.Queue, e.Owner)
}

// Is makes errors.Is(err, ErrLeased) true.
func (e *LeasedError) Is(target error) bool { return target == ErrLeased }

// Reject marks err as one that no further attempt can mend: a handler of Run that returns it sends its
// message to the dead letters at once. It returns nil for nil.
func Reject(err error) error {
	if err == nil {
		return nil
	}
	return rejected{err}
}

type rejected struct{ cause error }

func (r rejected) Error() string        { return r.cause.Error() }
func (r rejected) Unwrap() error        { return r.cause }
func (r rejected) Is(target error) bool { return target == ErrRejected }
