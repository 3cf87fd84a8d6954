package segment

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// PeekHead reads the head of the segment called name, whatever log it is of. A head that does not check
// is a *CorruptError, one of a newer version a *FormatError.
func PeekHead(fs vfs.FS, dir string, name Name) (Head, error) {
	file, err := fs.Open(fs.PathJoin(dir, name.String()))
	if err != nil {
		return Head{}, fmt.Errorf("segment: %w", err)
	}
	defer func() { _ = file.Close() }()
	b := make([]byte, HeadBytes)
	n, err := readFull(file, b, 0)
	if err != nil {
		return Head{}, fmt.Errorf("segment: read %s: %w", name, err)
	}
	return decodeHead(name, b[:n])
}

// Judge says what the bytes from e.Byte on are, at which no valid frame was found, by the rules of
// Recover: damage is a *CorruptError, and nil for zeros and for a torn tail, whose length is then in
// e.Torn. again says that the frame there has become valid meanwhile, as it may beside a live writer.
// e.FileBytes is set.
func (s *Segment) Judge(e *End) (damage error, again bool, err error) {
	if e.FileBytes, err = s.Size(); err != nil {
		return nil, false, err
	}
	e.Torn = 0
	again, err = s.judge(s.Scan(e.Byte, e.FileBytes), e)
	if _, ok := err.(*CorruptError); ok {
		return err, false, nil
	}
	return nil, again, err
}

// NonZero reports whether there is a byte that is not zero in [from, to) of the file.
func (s *Segment) NonZero(from, to int64) (bool, error) {
	last, err := s.lastNonZero(from, to)
	return last >= 0, err
}

// Corrupt returns the *CorruptError that says that the bytes of s at byte position at failed check.
func (s *Segment) Corrupt(at int64, position uint64, check string, want, got uint64) error {
	return s.corrupt(at, position, &problem{check, want, got})
}
