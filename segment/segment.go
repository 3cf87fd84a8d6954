package segment

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/osfs"
)

// Segment is one open file of frames. Its methods may be called concurrently, but for those that
// write (Write, Sync), which belong to one caller at a time.
type Segment struct {
	name Name   // immutable
	path string // immutable
	salt uint64 // immutable
	file vfs.File
	// head and headErr are what the head said at Open. Immutable.
	head    Head
	headErr error
	// data is the byte position behind the catalog frame, or 0 when that did not check. Immutable.
	data int64
}

// Open opens the segment called name of the log id for reading, or for writing as well. An error is
// one of opening or reading the file. What is wrong with its content is told by Head and Catalog, so
// that its intact frames can be read although the head is damaged.
func Open(fs vfs.FS, dir string, id LogID, name Name, write bool) (*Segment, error) {
	path := fs.PathJoin(dir, name.String())
	// OpenReadWrite would create a missing file, and an empty segment is damage.
	if _, err := fs.Stat(path); err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	var file vfs.File
	var err error
	if write {
		file, err = fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	} else {
		file, err = fs.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	s := &Segment{name: name, path: path, salt: Salt(id, name), file: file}
	if err := s.readHead(id); err != nil {
		_ = file.Close()
		return nil, err
	}
	return s, nil
}

// readHead reads head and catalog frame. Its error is one of reading; damage is kept in s.
func (s *Segment) readHead(id LogID) error {
	b := make([]byte, HeadBytes)
	n, err := readFull(s.file, b, 0)
	if err != nil {
		return s.ioError("read", 0, err)
	}
	s.head, s.headErr = decodeHead(s.name, b[:n])
	if s.headErr == nil && s.head.LogID != id {
		s.headErr = &CorruptError{File: s.name.String(), Position: s.name.Position, Check: "identity"}
	}
	switch f, err := s.Catalog(); {
	case err == nil:
		s.data = f.End()
	case !errors.Is(err, ErrCorrupt):
		return err
	}
	return nil
}

// Name returns the name of s.
func (s *Segment) Name() Name { return s.name }

// Salt returns what the checks of the frames of s are mixed with.
func (s *Segment) Salt() uint64 { return s.salt }

// Head returns the head of s, or a *CorruptError or *FormatError.
func (s *Segment) Head() (Head, error) { return s.head, s.headErr }

// Catalog reads the catalog frame of s. An error is a *CorruptError or one of reading.
func (s *Segment) Catalog() (Frame, error) {
	f, err := s.ReadFrame(nil, HeadBytes, math.MaxInt64)
	if err != nil {
		return f, err
	}
	if f.Kind != Catalog {
		return f, s.corrupt(HeadBytes, s.name.Position, &problem{"catalog", uint64(Catalog), uint64(f.Kind)})
	}
	return f, nil
}

// Data returns the byte position of the first frame behind the catalog, or 0 when the catalog frame
// is damaged.
func (s *Segment) Data() int64 { return s.data }

// Size returns the size of the file, prepared zeros included.
func (s *Segment) Size() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, s.ioError("stat", 0, err)
	}
	return info.Size(), nil
}

// Write writes b at byte position at. After an error the content of the file from at on is unknown.
func (s *Segment) Write(b []byte, at int64) error {
	n, err := s.file.WriteAt(b, at)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return s.ioError("write", at, err)
	}
	return nil
}

// Sync makes everything that was written durable. After an error nothing may be assumed of any byte
// that was written since the last Sync without one.
func (s *Segment) Sync() error {
	if err := s.file.SyncData(); err != nil {
		return s.ioError("sync", 0, err)
	}
	return nil
}

// Preallocate claims room on disk for n bytes from byte position at, without changing the size.
func (s *Segment) Preallocate(at, n int64) error {
	if err := s.file.Preallocate(at, n); err != nil {
		return s.ioError("preallocate", at, err)
	}
	return nil
}

// Window is a stretch of a segment that is mapped for writing.
type Window = osfs.Window

// MapTail maps n bytes of the file for writing, from a byte position on that is a multiple of 64 KiB, where
// the file system offers that: what is stored there is written as by Write. Otherwise it is
// errors.ErrUnsupported.
func (s *Segment) MapTail(from, n int64) (Window, error) { return MapTail(s.file, from, n) }

// MapTail is Segment.MapTail of a file.
func MapTail(f vfs.File, from, n int64) (Window, error) {
	if m, ok := f.(interface {
		MapTail(from, n int64) (Window, error)
	}); ok {
		return m.MapTail(from, n)
	}
	return Window{}, errors.ErrUnsupported
}

// Close closes the file without syncing it.
func (s *Segment) Close() error {
	if err := s.file.Close(); err != nil {
		return s.ioError("close", 0, err)
	}
	return nil
}

// ReadFrame reads and checks the frame at byte position at, which must end at limit or before. The
// frame's bytes are in buf where that is large enough. Errors are a *CorruptError or one of reading.
func (s *Segment) ReadFrame(buf []byte, at, limit int64) (Frame, error) {
	return s.ReadFrameOf(buf, at, limit, 4<<10)
}

// ReadFrameOf is ReadFrame of a frame that has probably so many bytes: then it is read at once.
func (s *Segment) ReadFrameOf(buf []byte, at, limit int64, length int) (Frame, error) {
	first := min(max(length+FrameAlign-1, 0)&^(FrameAlign-1), longestRead)
	first = max(first, FrameHeadBytes)
	buf = sized(buf, first)
	n, err := readFull(s.file, buf[:min(int64(first), max(0, limit-at))], at)
	if err != nil {
		return Frame{}, s.ioError("read", at, err)
	}
	if n < FrameHeadBytes {
		return Frame{}, s.corrupt(at, 0, &problem{"length", FrameHeadBytes, uint64(n)})
	}
	h, p := parseFrameHead(buf, s.salt, at)
	if p != nil {
		return Frame{}, s.corrupt(at, 0, p)
	}
	if at+int64(h.Length) > limit {
		return Frame{}, s.corrupt(at, h.Position, &problem{"length", uint64(limit - at), uint64(h.Length)})
	}
	if int(h.Length) > n {
		// Do not believe a length that the file does not have.
		if size, err := s.Size(); err != nil {
			return Frame{}, err
		} else if at+int64(h.Length) > size {
			return Frame{}, s.corrupt(at, h.Position, &problem{"length", uint64(h.Length), uint64(size - at)})
		}
		if int(h.Length) > len(buf) {
			buf = append(make([]byte, 0, h.Length), buf[:n]...)[:h.Length]
		}
		m, err := readFull(s.file, buf[n:h.Length], at+int64(n))
		if err != nil {
			return Frame{}, s.ioError("read", at, err)
		}
		if n += m; n < int(h.Length) {
			return Frame{}, s.corrupt(at, h.Position, &problem{"length", uint64(h.Length), uint64(n)})
		}
	}
	f := Frame{FrameHead: h, At: at, Bytes: buf[:h.Length:h.Length]}
	if p := f.checkBody(); p != nil {
		return Frame{}, s.corrupt(at, h.Position, p)
	}
	return f, nil
}

// corrupt ties a failed check to the file.
func (s *Segment) corrupt(at int64, position uint64, p *problem) error {
	return &CorruptError{File: s.name.String(), Byte: at, Position: position, Check: p.check, Want: p.want, Got: p.got}
}

func (s *Segment) ioError(op string, at int64, err error) error {
	return fmt.Errorf("segment: %s %s at byte %d: %w", op, s.name, at, err)
}

// readFull reads into b from byte position at. It returns fewer bytes only at the end of the file.
func readFull(f vfs.File, b []byte, at int64) (int, error) {
	n := 0
	for n < len(b) {
		m, err := f.ReadAt(b[n:], at+int64(n))
		n += m
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}

// sized returns a slice of n bytes, buf's where it is large enough.
func sized(buf []byte, n int) []byte {
	if cap(buf) < n {
		return make([]byte, n)
	}
	return buf[:max(n, len(buf))]
}

// PeekID returns the id of the log that wrote the segment called name, as its head says.
func PeekID(fs vfs.FS, dir string, name Name) (LogID, error) {
	file, err := fs.Open(fs.PathJoin(dir, name.String()))
	if err != nil {
		return LogID{}, fmt.Errorf("segment: %w", err)
	}
	defer func() { _ = file.Close() }()
	b := make([]byte, HeadBytes)
	n, err := readFull(file, b, 0)
	if err != nil {
		return LogID{}, fmt.Errorf("segment: read %s: %w", name, err)
	}
	h, err := decodeHead(name, b[:n])
	return h.LogID, err
}

// Rewrite writes the bytes of [from, to) again, the same in place, and returns how many they were.
func (s *Segment) Rewrite(from, to int64) (int64, error) {
	buf := make([]byte, min(longestRead, max(0, to-from)))
	for at := from; at < to; {
		b := buf[:min(int64(len(buf)), to-at)]
		n, err := readFull(s.file, b, at)
		if err == nil && n < len(b) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return at - from, s.ioError("read", at, err)
		}
		if err := s.Write(b, at); err != nil {
			return at - from, err
		}
		at += int64(n)
	}
	return max(0, to-from), nil
}
