package segment

import (
	"encoding/binary"
	"io"
)

// Read-ahead starts small, so that a point read costs little, and doubles while reading goes on.
const (
	firstRead   = 4 << 10
	longestRead = 1 << 20
)

// Scanner reads the frames of a segment in order, checking each. It belongs to one goroutine.
type Scanner struct {
	seg   *Segment
	at    int64  // byte position of the next frame
	limit int64  // frames end here at the latest
	buf   []byte // bytes of the file from bufAt on
	bufAt int64
	ahead int
}

// Scan returns a scanner over the frames of s that lie in [from, limit).
func (s *Segment) Scan(from, limit int64) *Scanner {
	sc := &Scanner{}
	sc.Reset(s, from, limit)
	return sc
}

// Reset makes sc scan the frames of s that lie in [from, limit). It keeps its buffer.
func (sc *Scanner) Reset(s *Segment, from, limit int64) {
	*sc = Scanner{seg: s, at: from, limit: limit, buf: sc.buf[:0], bufAt: from, ahead: firstRead}
}

// Rest makes sc forget the segment. It keeps its buffer if that is no larger than kept bytes. Reset makes it
// usable again.
func (sc *Scanner) Rest(kept int) {
	if cap(sc.buf) > kept {
		sc.buf = nil
	}
	*sc = Scanner{buf: sc.buf[:0]}
}

// At returns the byte position of the next frame.
func (sc *Scanner) At() int64 { return sc.at }

// Limit returns where the scan ends.
func (sc *Scanner) Limit() int64 { return sc.limit }

// Extend moves the end of the scan to limit.
func (sc *Scanner) Extend(limit int64) { sc.limit = max(sc.limit, limit) }

// Supply hands sc bytes of the file, from where it stands on, in place of those that it would read. It copies them.
func (sc *Scanner) Supply(b []byte) {
	sc.buf, sc.bufAt = append(sc.buf[:0], b...), sc.at
}

// MoveTo moves to the frame at byte position at. What was read ahead is kept where it covers that.
func (sc *Scanner) MoveTo(at int64) {
	if at < sc.bufAt || at > sc.bufAt+int64(len(sc.buf)) {
		sc.buf, sc.bufAt, sc.ahead = sc.buf[:0], at, firstRead
	}
	sc.at = at
}

// Next fills f with the next frame. Its bytes are valid until the next call. The error is io.EOF at
// the limit, a *CorruptError, after which the scanner stands where it stood, or one of reading.
func (sc *Scanner) Next(f *Frame) error {
	if err := sc.peek(f); err != nil {
		return err
	}
	if p := f.checkBody(); p != nil {
		return sc.seg.corrupt(sc.at, f.Position, p)
	}
	sc.at = f.End()
	return nil
}

// Head fills only the head of the next frame, which stays the next one. It reads no further than
// that and checks nothing else. Use MoveTo(f.End()) to pass it.
func (sc *Scanner) Head(f *Frame) error {
	b, p, err := sc.head(f)
	if err != nil {
		return err
	}
	if p != nil {
		return sc.seg.corrupt(sc.at, 0, p)
	}
	f.Bytes = b[:FrameHeadBytes:FrameHeadBytes]
	return nil
}

func (sc *Scanner) head(f *Frame) ([]byte, *problem, error) {
	if sc.at >= sc.limit {
		return nil, nil, io.EOF
	}
	b, err := sc.bytes(sc.at, FrameHeadBytes)
	if err != nil {
		return nil, nil, err
	}
	if len(b) < FrameHeadBytes {
		return nil, &problem{"length", FrameHeadBytes, uint64(len(b))}, nil
	}
	h, p := parseFrameHead(b, sc.seg.salt, sc.at)
	if p != nil {
		return nil, p, nil
	}
	if sc.at+int64(h.Length) > sc.limit {
		return nil, &problem{"length", uint64(sc.limit - sc.at), uint64(h.Length)}, nil
	}
	f.FrameHead, f.At, f.positions = h, sc.at, 0
	return b, nil, nil
}

// peek fills f with head and bytes of the next frame, of which only the head was checked.
func (sc *Scanner) peek(f *Frame) error {
	_, p, err := sc.head(f)
	if err != nil {
		return err
	}
	if p != nil {
		return sc.seg.corrupt(sc.at, 0, p)
	}
	b, err := sc.bytes(sc.at, int(f.Length))
	if err != nil {
		return err
	}
	if len(b) < int(f.Length) {
		return sc.seg.corrupt(sc.at, f.Position, &problem{"length", uint64(f.Length), uint64(len(b))})
	}
	f.Bytes = b[:f.Length:f.Length]
	return nil
}

// bytes returns at least n bytes of the file from byte position at, which lies in the buffer or at
// its end, or fewer at the limit or the end of the file.
func (sc *Scanner) bytes(at int64, n int) ([]byte, error) {
	have := sc.buf[at-sc.bufAt:]
	if len(have) >= n {
		return have, nil
	}
	want := min(int64(max(n, sc.ahead)), sc.limit-at)
	sc.ahead = min(2*sc.ahead, longestRead)
	if want > longestRead && int64(n) == want {
		// A length is believed only as far as the file goes.
		size, err := sc.seg.Size()
		if err != nil {
			return nil, err
		}
		want = min(want, size-at)
		if want <= int64(len(have)) {
			return have, nil
		}
	}
	if int64(cap(sc.buf)) < want {
		grown := make([]byte, want)
		copy(grown, have)
		sc.buf = grown[:len(have)]
	} else {
		copy(sc.buf[:len(have)], have)
		sc.buf = sc.buf[:len(have)]
	}
	sc.bufAt = at
	got, err := readFull(sc.seg.file, sc.buf[len(sc.buf):want], at+int64(len(sc.buf)))
	sc.buf = sc.buf[:len(sc.buf)+got]
	if err != nil {
		return nil, sc.seg.ioError("read", at, err)
	}
	return sc.buf, nil
}

// Resync moves behind damage: to the next valid frame head after the frame at which Next failed. It
// reports io.EOF when there is none before the limit. A frame whose head is intact and whose body is
// not is passed by its length.
func (sc *Scanner) Resync() error {
	from := sc.at + FrameAlign
	var f Frame
	if _, p, err := sc.head(&f); err == nil && p == nil {
		from = f.End()
		sc.MoveTo(from)
		if _, p, err := sc.head(&f); err == nil && p == nil {
			return nil
		}
	}
	at, err := sc.seg.findHead(from, sc.limit, func(FrameHead) bool { return true })
	if err != nil {
		return err
	}
	if at < 0 {
		sc.at = sc.limit
		return io.EOF
	}
	sc.MoveTo(at)
	return nil
}

// findHead returns the byte position of the first valid frame head of s in [from, limit) that want
// accepts, or -1.
func (s *Segment) findHead(from, limit int64, want func(FrameHead) bool) (int64, error) {
	buf := make([]byte, min(longestRead, max(FrameHeadBytes, limit-from)))
	for at := from; at < limit; {
		n, err := readFull(s.file, buf[:min(int64(len(buf)), limit-at)], at)
		if err != nil {
			return -1, s.ioError("read", at, err)
		}
		if n < FrameHeadBytes {
			return -1, nil
		}
		for i := 0; i+FrameHeadBytes <= n; i += FrameAlign {
			if binary.LittleEndian.Uint16(buf[i:]) != frameMagic {
				continue
			}
			if h, p := parseFrameHead(buf[i:], s.salt, at+int64(i)); p == nil && want(h) {
				return at + int64(i), nil
			}
		}
		step := int64(n-FrameHeadBytes+FrameAlign) &^ (FrameAlign - 1)
		at += max(step, FrameAlign)
	}
	return -1, nil
}
