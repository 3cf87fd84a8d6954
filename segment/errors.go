package segment

import (
	"errors"
	"fmt"
)

// ErrCorrupt is matched by every *CorruptError: bytes that were once written whole are not what
// they were.
var ErrCorrupt = errors.New("corrupt")

// ErrFormat is matched by every *FormatError: a file was written by a newer version of this module.
var ErrFormat = errors.New("format version not supported")

// CorruptError says which bytes failed which check. Nothing was changed on disk.
type CorruptError struct {
	// File is the base name of the damaged file.
	File string
	// Byte is the first byte of the damaged unit: a head, a frame, a whole file (0).
	Byte int64
	// Position is the position of the record that should have been there.
	Position uint64
	// Check names what failed: "magic", "checksum", "body", "length", "padding", "position", "time",
	// "kind", "mark", "catalog", "missing", "predecessor", "successor", "identity", "manifest".
	Check string
	// Want and Got are the two sides of the check, where it has numbers.
	Want, Got uint64
}

func (e *CorruptError) Error() string {
	if e.Want == 0 && e.Got == 0 {
		return fmt.Sprintf("%s: corrupt at byte %d (position %d): %s", e.File, e.Byte, e.Position, e.Check)
	}
	return fmt.Sprintf("%s: corrupt at byte %d (position %d): %s: want %#x, got %#x",
		e.File, e.Byte, e.Position, e.Check, e.Want, e.Got)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// FormatError says which file has a version that this build does not know.
type FormatError struct {
	File    string // base name
	Version uint32 // the version found
	Known   uint32 // the newest version that this build reads
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: format version %d, this build reads up to %d", e.File, e.Version, e.Known)
}

// Is makes errors.Is(err, ErrFormat) true.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }
