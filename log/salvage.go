package log

import (
	"errors"
	"io"

	"github.com/stratalog/strata/segment"
)

// salvage reads the intact frames of one segment in order, passing over damage, which it reports. It
// belongs to one goroutine.
type salvage struct {
	seg *segment.Segment
	sc  segment.Scanner
	// end is behind the last frame that was returned.
	end segment.End
	// sealed is where the frames of a sealed segment end: every byte before it is judged. It is 0 in
	// the last segment of a log, where only damage for which there is a witness is told.
	sealed int64
	// gap says that the next frame may begin behind end.Position: there was damage, or the segment was
	// made by repair.
	gap bool
	// polling makes next return io.EOF at bytes that are no frame, as long as a writer may be at work
	// there; stuck counts how often that was.
	polling bool
	stuck   int
}

// newSalvage begins behind the catalog frame. The error is one of reading.
func newSalvage(seg *segment.Segment, sealed int64) (*salvage, error) {
	s := &salvage{seg: seg, sealed: sealed}
	if h, err := seg.Head(); err != nil || h.Origin != segment.Born {
		s.gap = true
	}
	end, err := seg.Start()
	if err == nil {
		s.end = end
	} else if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
		return nil, err
	} else {
		s.gap = true
		limit := sealed
		if limit == 0 {
			if limit, err = seg.Size(); err != nil {
				return nil, err
			}
		}
		at, err := dataStart(seg, limit)
		if err != nil {
			return nil, err
		}
		s.end = segment.End{Byte: at, Position: seg.Name().Position}
		if f, err := seg.Catalog(); err == nil {
			s.end.Time, s.end.Epoch = f.Time, f.Epoch()
		}
	}
	return s, s.refresh()
}

// refresh makes s see what was written since it last looked.
func (s *salvage) refresh() error {
	limit := s.sealed
	if limit == 0 {
		size, err := s.seg.Size()
		if err != nil {
			return err
		}
		limit = size
	}
	s.sc.Reset(s.seg, s.end.Byte, limit)
	return nil
}

// next fills f with the next intact frame. When damage is not nil, f is not filled, and the next call
// goes on behind the damage. The error is io.EOF at the end, or one of reading.
func (s *salvage) next(f *segment.Frame) (damage *CorruptError, err error) {
	for {
		err := s.sc.Next(f)
		if err == nil {
			if p := s.follow(f); p != nil {
				return p, nil
			}
			return nil, nil
		}
		if !errors.As(err, &damage) && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if s.sealed > 0 {
			if damage == nil {
				return nil, io.EOF
			}
			return damage, s.pass(damage)
		}
		again, damage, err := s.judge()
		if err != nil {
			return nil, err
		}
		if damage != nil {
			return damage, s.pass(damage)
		}
		if !again {
			return nil, io.EOF
		}
	}
}

// follow checks that f may stand where it does. When not, it is passed over.
func (s *salvage) follow(f *segment.Frame) *CorruptError {
	check, want, got := "", s.end.Position, f.Position
	switch {
	case f.Kind == segment.Catalog:
		check, want, got = "kind", uint64(segment.Commit), uint64(f.Kind)
	case f.Position < s.end.Position, f.Position > s.end.Position && !s.gap:
		check = "position"
	}
	if check == "" {
		s.end.Follow(f)
		s.stuck = 0
		if h, err := s.seg.Head(); err == nil && h.Origin == segment.Born {
			s.gap = false
		}
		return nil
	}
	var damage *CorruptError
	errors.As(s.seg.Corrupt(f.At, s.end.Position, check, want, got), &damage)
	s.end.Byte = f.End()
	if f.Kind == segment.Commit && f.Position > s.end.Position {
		// The frame itself is intact: what is missing lies before it, and reading goes on with it.
		s.end.Byte, s.gap = f.At, true
		s.sc.MoveTo(f.At)
	}
	return damage
}

// judge tells what stands where there is no frame, in the last segment.
func (s *salvage) judge() (again bool, damage *CorruptError, err error) {
	if s.polling {
		some, err := s.seg.NonZero(s.end.Byte, min(s.end.Byte+segment.FrameHeadBytes, s.sc.Limit()))
		if err != nil || !some {
			return false, nil, err
		}
		// A writer is given a while before a search through the rest of the file.
		if s.stuck++; s.stuck != 8 && s.stuck%800 != 0 {
			return false, nil, nil
		}
	}
	found, again, err := s.seg.Judge(&s.end)
	if err != nil {
		return false, nil, err
	}
	if found != nil {
		errors.As(found, &damage)
		return false, damage, nil
	}
	if again {
		return true, nil, s.refresh()
	}
	return false, nil, nil
}

// pass moves behind damage, which begins at s.end.Byte.
func (s *salvage) pass(damage *CorruptError) error {
	damage.Position = s.end.Position
	s.gap = true
	s.sc.MoveTo(s.end.Byte)
	if err := s.sc.Resync(); err != nil && !isEOF(err) {
		return err
	}
	if s.sealed > 0 || s.sc.At() < s.sc.Limit() {
		s.end.Byte = s.sc.At()
	} else {
		// Nothing is left. Where the last segment ends is in front of what nobody can read, but not so
		// that the damage would be found again.
		s.end.Byte = s.sc.Limit()
	}
	return nil
}
