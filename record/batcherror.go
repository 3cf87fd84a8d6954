package record

import (
	"errors"
	"fmt"
	"strings"
)

// ErrBatch is matched by every *BatchError.
var ErrBatch = errors.New("record: malformed batch")

// BatchError says where a batch breaks which rule of the format.
type BatchError struct {
	// Byte is the first byte of the offending field, counted from the beginning of the batch.
	// In compressed records it is counted as if they were not compressed.
	Byte int
	// Record is the index in the batch of the record that Byte lies in, or -1 in the head and
	// where compressed records cannot be expanded.
	Record int
	// Check names the field or rule: "size", "base offset", "length", "magic", "crc",
	// "last offset delta", "count", "compression", "record length", "timestamp delta",
	// "offset delta", "key length", "value length", "header count", "header key length",
	// "header value length" or "left over".
	Check string
	// Want and Got are what the field should have been, or the bound that it broke, and what
	// it was. Got is the bytes that were left where no number could be read at all.
	Want, Got int64
	// Err is what the decompressor said; nil for other checks.
	Err error
}

func (e *BatchError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "record: batch at byte %d", e.Byte)
	if e.Record >= 0 {
		fmt.Fprintf(&s, " (record %d)", e.Record)
	}
	fmt.Fprintf(&s, ": %s: ", e.Check)
	if e.Err != nil {
		s.WriteString(e.Err.Error())
	} else {
		fmt.Fprintf(&s, "want %d, got %d", e.Want, e.Got)
	}
	return s.String()
}

func (e *BatchError) Is(target error) bool { return target == ErrBatch }

func (e *BatchError) Unwrap() error { return e.Err }

// ErrTooLarge is matched by every *TooLargeError.
var ErrTooLarge = errors.New("record: batch too large")

// TooLargeError says that the records of a batch are, or would expand to, more than the limit. It
// does not say how large they are: that is not known without expanding them.
type TooLargeError struct {
	Limit int // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("record: batch too large: its records exceed %d bytes", e.Limit)
}

func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// ErrEmpty is returned for encoding a batch without records.
var ErrEmpty = errors.New("record: batch without records")
