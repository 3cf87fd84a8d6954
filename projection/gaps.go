package projection

import (
	"context"
	"errors"

	"github.com/stratalog/strata/log"
)

// lost returns the gaps in the log behind a position that have taken records of the topics which are handled.
func (p *Projection[T]) lost(ctx context.Context, position uint64) ([]*LostError, error) {
	gaps, err := p.l.Gaps(ctx, position)
	if err != nil {
		return nil, err
	}
	var list []*LostError
	for _, g := range gaps {
		e := &LostError{Projection: p.d.name, From: g.From, To: g.To}
		for _, info := range p.l.Topics() {
			t, err := p.l.Topic(info.Name)
			if errors.Is(err, log.ErrNoTopic) || err == nil && !p.d.Wants(t) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for i := range info.Partitions {
				one, err := lostBefore(t.Partition(int32(i)), g.To)
				if err != nil {
					return nil, err
				}
				if one != nil {
					e.Lost = append(e.Lost, one)
				}
			}
		}
		if len(e.Lost) > 0 {
			list = append(list, e)
		}
	}
	return list, nil
}

// lostBefore returns what is missing in front of the first record of a partition at or behind a position, or
// nil. Where a partition has no record between two gaps, what one has taken may be told of the other as well.
func lostBefore(p *log.Partition, position uint64) (*log.LostError, error) {
	next := p.Next()
	for r, err := range p.Read(log.AtPosition(position)) {
		if errors.Is(err, log.ErrLost) || errors.Is(err, log.ErrCorrupt) {
			continue // who reads is told
		}
		if err != nil {
			return nil, err
		}
		next = r.Offset
		break
	}
	if next == 0 {
		return nil, nil
	}
	_, err := p.Get(next - 1)
	var lost *log.LostError
	switch {
	case errors.As(err, &lost):
		return lost, nil
	case errors.Is(err, log.ErrCorrupt):
		return nil, nil
	}
	return nil, err
}

// carryPastGaps is carry, which stops in front of each gap, or says that it passes over it.
func (r *running[T]) carryPastGaps(ctx context.Context, limit uint64) error {
	for len(r.gaps) > 0 && r.gaps[0].From < limit {
		g := r.gaps[0]
		if r.p.d.o.Poison == PoisonStops {
			if err := r.carry(ctx, g.From); err != nil || r.at < g.From {
				return err // or it is paused: the gap is not met yet
			}
			return g
		}
		r.p.l.Options().Logger.Warn("records passed over", "projection", r.p.d.name, "error", g.Error())
		r.gaps = r.gaps[1:]
	}
	return r.carry(ctx, limit)
}
