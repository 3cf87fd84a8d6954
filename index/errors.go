package index

import (
	"errors"
	"fmt"
)

var (
	// ErrOrder is matched by every *OrderError, which Memory.Add returns.
	ErrOrder = errors.New("index: entry out of order")
	// ErrCorrupt is matched by every *CorruptError. The index has to be rebuilt from its segment.
	ErrCorrupt = errors.New("index: corrupt")
	// ErrMismatch is matched by every *MismatchError, which Open returns.
	ErrMismatch = errors.New("index: of another segment")
	// ErrFormat is matched by every *FormatError, which Open returns.
	ErrFormat = errors.New("index: unknown format")
	// ErrClosed is returned by the methods of a File that was closed.
	ErrClosed = errors.New("index: closed")
)

// OrderError says which entry was refused because it does not continue its run, or because a
// field is out of range.
type OrderError struct {
	Partition  uint32
	Entry      Entry
	NextOffset int64 // lowest offset that would have been taken
	LastByte   int64 // lowest byte position that would have been taken
}

func (e *OrderError) Error() string {
	return fmt.Sprintf("index: partition %d: entry of offsets [%d, %d) at byte %d with %d bytes: want offset >= %d, byte >= %d, count >= 1, bytes >= 0",
		e.Partition, e.Entry.Offset, e.Entry.End(), e.Entry.Byte, e.Entry.Bytes, e.NextOffset, e.LastByte)
}

// Is reports whether target is ErrOrder.
func (e *OrderError) Is(target error) bool { return target == ErrOrder }

// CorruptError says which bytes of an index file failed which check.
type CorruptError struct {
	File string // base name
	Byte int64  // first byte, in the file, of the block, row or entry that failed
	// Check is what failed:
	//
	//	"magic"     the file does not begin as an index does
	//	"checksum"  a block is not what was written
	//	"length"    the file is not as long as its head says
	//	"head"      the numbers in the head contradict each other
	//	"block"     a block is not of the level, or has not the number, that belongs there
	//	"rows"      a block has no rows or more than fit
	//	"child"     a row names a child that cannot be
	//	"group"     a group's number of entries or place of deltas cannot be
	//	"varint"    a delta ends behind its block or is too large
	//	"entry"     an entry is out of range, or does not continue its run
	//	"order"     rows or entries are not sorted
	//	"sum"       a sum or a number of entries is not what the entries make
	//	"zero"      bytes that should be zero are not
	Check     string
	Want, Got uint64
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("index: %s at byte %d: %s: want %#x, got %#x", e.File, e.Byte, e.Check, e.Want, e.Got)
}

// Is reports whether target is ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// MismatchError says in what an index differs from the segment it was opened for. The index may
// be sound; it is of no use for this segment.
type MismatchError struct {
	File       string // base name
	Field      string // "log", "name", "end byte" or "end position"
	Have, Want string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("index: %s: %s of the segment: have %s, want %s", e.File, e.Field, e.Have, e.Want)
}

// Is reports whether target is ErrMismatch.
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

// FormatError says that an index is sound but of a version that this code does not know.
type FormatError struct {
	File    string // base name
	Version uint8
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("index: %s: version %d, want %d", e.File, e.Version, version)
}

// Is reports whether target is ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }
