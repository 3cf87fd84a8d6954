package segment

import (
	"errors"
	"io"
)

// recoverRead is how much Recover reads at first: it goes on to the end.
const recoverRead = 128 << 10

// End is where a segment's frames end, and what they leave behind.
type End struct {
	Byte     int64  // behind the last frame
	Position uint64 // of the next record
	Time     int64  // of the last frame
	Epoch    int32  // the highest leader epoch of its frames
	Durable  int64  // bytes that the frames prove to have been synced
	Last     Kind   // of the last frame
	// LastCommit is the position of the last commit, LastBody its body; Commits says how many there are.
	LastCommit uint64
	LastBody   uint64
	Commits    int
	// FileBytes is the size of the file, Torn how many of the bytes behind Byte are not zero, counted
	// to the last of them: 0 is a clean end.
	FileBytes int64
	Torn      int64
}

// Mark returns the end mark to stand at e, but for its kind.
func (e *End) Mark() Mark { return Mark{Position: e.Position, Time: e.Time, Epoch: e.Epoch} }

// Follow moves e behind f, which was checked and is the next frame.
func (e *End) Follow(f *Frame) {
	e.Byte = f.End()
	e.Time = f.Time
	e.Epoch = max(e.Epoch, f.Epoch())
	e.Durable = max(e.Durable, f.Durable)
	e.Last = f.Kind
	if f.Kind == Commit {
		e.Position = f.Position + f.Positions()
		e.LastCommit, e.LastBody = f.Position, f.Body
		e.Commits++
	} else {
		e.Position = f.Position
	}
}

// Start returns the end of s as if it had no frame behind its catalog, or why that is not known.
func (s *Segment) Start() (End, error) {
	if s.headErr != nil {
		return End{}, s.headErr
	}
	catalog, err := s.Catalog()
	if err != nil {
		return End{}, err
	}
	if catalog.Position != s.name.Position {
		return End{}, s.corrupt(HeadBytes, s.name.Position, &problem{"position", s.name.Position, catalog.Position})
	}
	e := End{Durable: s.data}
	e.Follow(&catalog)
	return e, nil
}

// Recover reads all frames of s, the last segment of a log, hands each to visit, and tells where
// they end by the rules of the package comment. It changes nothing. Frames are valid only during
// the call of visit. A segment whose acknowledged bytes are damaged is a *CorruptError.
func (s *Segment) Recover(visit func(*Frame) error) (End, error) {
	e, err := s.Start()
	if err != nil {
		return e, err
	}
	return s.RecoverFrom(e, visit)
}

// RecoverFrom is Recover of the frames behind e, which is where some of them end, and which tells what is known of those.
func (s *Segment) RecoverFrom(e End, visit func(*Frame) error) (_ End, err error) {
	if e.FileBytes, err = s.Size(); err != nil {
		return e, err
	}
	sc := s.Scan(e.Byte, e.FileBytes)
	sc.ahead = recoverRead
	for {
		err := s.follow(sc, &e, visit)
		if final := (finalError{}); errors.As(err, &final) {
			return e, final.err
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, ErrCorrupt) {
			return e, err
		}
		again, judged := s.judge(sc, &e)
		if judged != nil || !again {
			return e, judged
		}
	}
}

// follow reads on until the frames end, which is told by io.EOF or a *CorruptError.
func (s *Segment) follow(sc *Scanner, e *End, visit func(*Frame) error) error {
	var f Frame
	for {
		if err := sc.Next(&f); err != nil {
			return err
		}
		if err := s.CheckNext(e, &f); err != nil {
			// The frame is intact, so this is no torn tail, whatever follows.
			return finalError{err}
		}
		if visit != nil {
			if err := visit(&f); err != nil {
				return finalError{err}
			}
		}
		e.Follow(&f)
	}
}

// finalError keeps an error from being taken for the end of the frames.
type finalError struct{ err error }

func (f finalError) Error() string { return f.err.Error() }

// CheckNext checks that f may follow e in s: that positions have no gap, but in a repaired segment.
func (s *Segment) CheckNext(e *End, f *Frame) error {
	if f.Kind == Catalog {
		return s.corrupt(f.At, e.Position, &problem{"kind", uint64(Commit), uint64(f.Kind)})
	}
	if f.Position == e.Position || f.Position > e.Position && s.headErr == nil && s.head.Origin&(Repaired|Rewritten) != 0 {
		return nil
	}
	return s.corrupt(f.At, e.Position, &problem{"position", e.Position, f.Position})
}

// judge decides what the bytes from e.Byte on are: zeros, a torn tail, or damage. again says that
// the frame there has become valid meanwhile, as it may beside a live writer.
func (s *Segment) judge(sc *Scanner, e *End) (again bool, err error) {
	p := e.Byte
	last, err := s.lastNonZero(p, e.FileBytes)
	if err != nil || last < 0 {
		return false, err
	}
	e.Torn = last + 1 - p
	damage := s.corrupt(p, e.Position, &problem{check: "checksum"})
	var f Frame
	sc.MoveTo(p)
	if err := sc.Next(&f); errors.Is(err, ErrCorrupt) {
		damage = err
		var c *CorruptError
		if errors.As(damage, &c) {
			c.Position = e.Position
		}
	}
	b := make([]byte, FrameHeadBytes)
	n, err := readFull(s.file, b, p)
	if err != nil {
		return false, s.ioError("read", p, err)
	}
	if damagedMark(b[:n], e.Mark(), s.salt, p) {
		return s.reread(sc, p, s.corrupt(p, e.Position, &problem{check: "mark"}))
	}
	witness, err := s.findHead(p+FrameAlign, e.FileBytes, func(h FrameHead) bool { return h.Durable > p })
	if err != nil || witness < 0 {
		return false, err
	}
	return s.reread(sc, p, damage)
}

// reread reads the frame at p once more, after there was a witness against it: a writer in another
// process may have been at work in between.
func (s *Segment) reread(sc *Scanner, p int64, damage error) (again bool, err error) {
	var f Frame
	size, err := s.Size()
	if err != nil {
		return false, err
	}
	sc.Reset(s, p, size)
	switch err := sc.Next(&f); {
	case err == nil:
		sc.Reset(s, p, size)
		return true, nil
	case errors.Is(err, ErrCorrupt) || errors.Is(err, io.EOF):
		return false, damage
	default:
		return false, err
	}
}

// lastNonZero returns the byte position of the last byte in [from, to) that is not zero, or -1.
func (s *Segment) lastNonZero(from, to int64) (int64, error) {
	last := int64(-1)
	buf := make([]byte, min(longestRead, max(0, to-from)))
	for at := from; at < to; {
		n, err := readFull(s.file, buf[:min(int64(len(buf)), to-at)], at)
		if err != nil {
			return 0, s.ioError("read", at, err)
		}
		if n == 0 {
			break
		}
		if !zeros(buf[:n]) {
			for i := n - 1; i >= 0; i-- {
				if buf[i] != 0 {
					last = at + int64(i)
					break
				}
			}
		}
		at += int64(n)
	}
	return last, nil
}
