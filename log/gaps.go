package log

import (
	"context"
	"errors"

	"github.com/stratalog/strata/segment"
)

// Gap is a stretch of positions, [From, To), whose records are gone: damage took them, and repair gave them up.
type Gap struct{ From, To uint64 }

// Gaps returns the gaps at and behind a position, in order, up to where readers end. Damage that was not repaired is
// none, nor is a gap next to it: who reads is told of them. A log whose set of segments was never changed has no gaps, and is not read for that;
// of another one the frames behind position are, until ctx ends.
func (l *Log) Gaps(ctx context.Context, position uint64) ([]Gap, error) {
	if err := l.readable(); err != nil {
		return nil, err
	}
	if l.manifest == nil {
		return nil, nil
	}
	return l.gaps(ctx, position)
}

func (l *Log) gaps(ctx context.Context, position uint64) ([]Gap, error) {
	c := cursor{l: l}
	end := c.end().position
	if position >= end {
		return nil, nil
	}
	if err := c.startPosition(position); err != nil {
		return nil, err
	}
	var gaps []Gap
	next, known := position, true // where the next commit should begin, unless there was damage before it
	gone := func(to uint64) {
		if known && to > next {
			gaps = append(gaps, Gap{next, to})
		}
	}
	var f segment.Frame
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err := c.next(&f)
		switch {
		case isEOF(err):
			gone(end)
			return gaps, nil
		case errors.Is(err, ErrCorrupt):
			known = false
			if err := c.skip(); err != nil {
				return gaps, err
			}
		case err != nil:
			return nil, err
		case f.Kind != segment.Commit:
		case f.Position >= end:
			gone(end)
			return gaps, nil
		default:
			if behind := f.Position + f.Positions(); behind > position {
				gone(f.Position)
				next, known = behind, true
			}
		}
	}
}
