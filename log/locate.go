package log

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/stratalog/strata/index"
)

// startAt moves c to where reading of the partition p begins, and returns the first offset wanted.
func (c *cursor) startAt(p *Partition, s Start) (int64, error) {
	c.byIndex, c.only = true, p.number
	end := c.visible(p) // before the search, which may pass over what comes later
	c.ps = *c.l.parts.Load()
	var err error
	switch s.kind {
	case fromOldest:
		c.from = 0
	case fromNewest:
		c.from = end
	case fromOffset:
		if s.n < 0 {
			return 0, fmt.Errorf("%w: offset %d", ErrOptions, s.n)
		}
		c.from = s.n
	case fromPosition:
		if c.from, err = c.l.offsetAtPosition(p, uint64(s.n)); err != nil {
			return 0, err
		}
	case fromTime:
		if c.from, err = c.l.offsetAtTime(c.ps, p, s.n); err != nil {
			return 0, err
		}
		if c.from == math.MaxInt64 {
			c.from = end
		}
	}
	i, err := c.l.locate(c.ps, p.number, c.from)
	if err != nil {
		return 0, err
	}
	return c.from, c.enter(i, 0)
}

// visible returns the offset behind the last record of p that c may see.
func (c *cursor) visible(p *Partition) int64 {
	if c.unsynced {
		return p.written.Load()
	}
	return p.synced.Load()
}

// locate returns the index of the segment in which the partition's batch with offset is, if there is
// one, and otherwise of one before the next.
func (l *Log) locate(ps parts, number uint32, offset int64) (int, error) {
	lo, hi := 0, len(ps) // the segment is in [lo, hi)
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		next, err := l.catalogNextOf(ps[mid], number)
		if errors.Is(err, ErrCorrupt) {
			// A damaged catalog must not hide what lies elsewhere: walk from the left.
			return l.locateLinear(ps, lo, hi, number, offset)
		}
		if err != nil {
			return 0, err
		}
		if next > offset {
			hi = mid
		} else {
			lo = mid
		}
	}
	return lo, nil
}

func (l *Log) locateLinear(ps parts, lo, hi int, number uint32, offset int64) (int, error) {
	at := lo
	for i := lo + 1; i < hi; i++ {
		next, err := l.catalogNextOf(ps[i], number)
		if errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if next > offset {
			break
		}
		at = i
	}
	return at, nil
}

// catalogNextOf returns the offset that the partition gave next when the segment began.
func (l *Log) catalogNextOf(p *part, number uint32) (int64, error) {
	if tables := p.tables.Load(); tables != nil {
		return catalogNext(*tables, number), nil
	}
	seg, err := p.open()
	if err != nil {
		return 0, err
	}
	f, err := seg.Catalog()
	if err != nil {
		return 0, err
	}
	tables := f.Tables()
	if len(tables) <= keptTablesBytes {
		kept := bytes.Clone(tables)
		p.tables.Store(&kept)
	}
	return catalogNext(tables, number), nil
}

// keptTablesBytes is up to which size the tables of a catalog stay in memory: those of a log with many
// partitions do not.
const keptTablesBytes = 4 << 10

// offsetAtTime returns the first offset of p whose timestamp is at or after ms, or math.MaxInt64.
func (l *Log) offsetAtTime(ps parts, p *Partition, ms int64) (int64, error) {
	for i := range ps {
		idx, err := l.index(ps, i)
		if errors.Is(err, ErrCorrupt) {
			continue // its file is missing
		}
		if err != nil {
			return 0, err
		}
		e, ok, err := idx.FindTime(p.number, ms)
		if errors.Is(err, index.ErrCorrupt) {
			ps[i].forgetIndex()
			if idx, err = l.index(ps, i); err == nil {
				e, ok, err = idx.FindTime(p.number, ms)
			}
		}
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		return l.offsetInBatch(p, e.Offset, func(r *Record) bool { return r.Timestamp.UnixMilli() >= ms })
	}
	return math.MaxInt64, nil
}

// offsetAtPosition returns the first offset of p that has at least this position. Where the record that has
// it may be damaged, that is the first one that may be: who reads from there is told.
func (l *Log) offsetAtPosition(p *Partition, position uint64) (int64, error) {
	if position == 0 {
		return 0, nil
	}
	// Both ends at one moment, before the search, which may pass over what comes later.
	l.endMu.Lock()
	offset, end := p.written.Load(), l.written.position
	l.endMu.Unlock()
	if position >= end {
		return offset, nil
	}
	c := cursor{l: l, unsynced: true}
	if err := c.startPosition(position); err != nil {
		return 0, err
	}
	w := walker{c: &c, want: func(n uint32) bool { return n == p.number }, fromPosition: position}
	before := int64(-1) // offset behind what p has in front of the first damage
	for {
		err := w.nextBatch()
		var damage *CorruptError
		switch {
		case isEOF(err) && before >= 0:
			return before, nil
		case isEOF(err):
			return offset, nil
		case errors.As(err, &damage) && before < 0:
			var lookup error
			if before, lookup = l.offsetAtByte(c.ps, c.i, p, damage.Byte); lookup != nil {
				return 0, lookup
			}
		}
		if err == nil || w.lost != nil {
			break
		}
		if !w.passable(err) {
			return 0, err
		}
	}
	if before >= 0 && w.entry.Position > position {
		return before, nil
	}
	offset = w.entry.Head.BaseOffset
	if w.entry.Position < position {
		offset += int64(position - w.entry.Position)
	}
	return offset, nil
}

// offsetAtByte returns the offset behind the last batch that p has in the segment at i before a byte
// position.
func (l *Log) offsetAtByte(ps parts, i int, p *Partition, at int64) (int64, error) {
	next, err := l.catalogNextOf(ps[i], p.number)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return 0, err
	}
	idx, err := l.index(ps, i)
	if errors.Is(err, ErrCorrupt) {
		return next, nil // its file is missing
	}
	if err != nil {
		return 0, err
	}
	for c := idx.Scan(p.number, next); ; {
		e, ok, err := c.Next()
		if err != nil && !errors.Is(err, index.ErrCorrupt) {
			return 0, err
		}
		if err != nil || !ok || e.Byte >= at {
			return next, nil
		}
		next = e.End()
	}
}

// offsetInBatch returns the offset of the first record from offset on that is accepted, or offset itself
// where a record that may be that one is damaged: who reads from there is told, and shown what is behind.
func (l *Log) offsetInBatch(p *Partition, offset int64, accept func(*Record) bool) (int64, error) {
	c := cursor{l: l, unsynced: true}
	if _, err := c.startAt(p, AtOffset(offset)); err != nil {
		return 0, err
	}
	w := walker{c: &c, want: func(n uint32) bool { return n == p.number }, fromOffset: func(*Partition) int64 { return offset }}
	var r Record
	for {
		switch err := w.next(&r); {
		case isEOF(err):
			return math.MaxInt64, nil
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrLost):
			return offset, nil
		case err != nil:
			return 0, err
		case accept(&r):
			return r.Offset, nil
		}
	}
}

// nearest returns the entry of the stride that holds position, or of the last one.
func nearest(idx index.Reader, position uint64) (index.Entry, bool, error) {
	e, ok, err := idx.Find(positionRun, int64(position))
	if err == nil && !ok {
		return idx.Last(positionRun)
	}
	return e, ok, err
}

// startPosition moves c to the frame that holds position, or to one not far before.
func (c *cursor) startPosition(position uint64) error {
	c.byIndex = false
	c.ps = *c.l.parts.Load()
	if len(c.ps) == 0 {
		return ErrClosed
	}
	i := c.ps.at(position)
	at := int64(0)
	idx, err := c.l.index(c.ps, i)
	if errors.Is(err, ErrCorrupt) {
		return c.enter(i, 0) // its file is missing, which next tells
	}
	if err != nil {
		return err
	}
	e, ok, err := nearest(idx, position)
	if errors.Is(err, index.ErrCorrupt) {
		c.ps[i].forgetIndex()
		if idx, err = c.l.index(c.ps, i); err == nil {
			e, ok, err = nearest(idx, position)
		}
	}
	if err != nil {
		return err
	}
	if ok && e.Offset <= int64(position) {
		at = e.Byte
	}
	return c.enter(i, at)
}
