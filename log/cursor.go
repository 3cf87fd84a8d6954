package log

import (
	"errors"
	"io"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/segment"
)

// cursor walks the frames of the log in order, or those that hold batches of one partition. It
// belongs to one goroutine.
type cursor struct {
	l        *Log
	unsynced bool

	ps  parts
	i   int // of the current segment in ps
	seg *segment.Segment
	sc  segment.Scanner

	// only is the partition whose batches are wanted, by the index; without byIndex all frames are.
	byIndex bool
	only    uint32
	from    int64 // lowest offset of only that is wanted
	idx     index.Cursor
	peeked  index.Entry
	has     bool // peeked is the next entry
}

// end returns the end of what the cursor may see.
func (c *cursor) end() place {
	c.l.endMu.Lock()
	defer c.l.endMu.Unlock()
	if c.unsynced {
		return c.l.written
	}
	return c.l.synced
}

// enter makes the segment at i the current one, from byte position at on; 0 is its first frame.
func (c *cursor) enter(i int, at int64) error {
	seg, err := c.ps[i].open()
	if err != nil {
		return err
	}
	c.i, c.seg, c.has = i, seg, false
	if at == 0 {
		if at, err = dataStart(seg, c.mostLimit()); err != nil {
			return err
		}
	}
	c.sc.Reset(seg, at, at)
	if c.byIndex {
		idx, err := c.l.index(c.ps, i)
		if err != nil {
			return err
		}
		c.idx = idx.Scan(c.only, c.from)
	}
	return nil
}

// mostLimit returns a byte position that the frames of the current segment do not pass, for the case
// that its catalog does not tell where they begin.
func (c *cursor) mostLimit() int64 {
	if limit, _, err := c.limit(); err == nil {
		return limit
	}
	return segment.HeadBytes
}

// limit returns where the visible frames of the current segment end, and whether it is sealed.
func (c *cursor) limit() (limit int64, sealed bool, err error) {
	if c.i == len(c.ps)-1 {
		end := c.end()
		if end.part == c.ps[c.i] {
			return end.byte, false, nil
		}
		c.ps = *c.l.parts.Load()
		if c.i == len(c.ps)-1 {
			// The end is in an earlier segment: nothing of this one is visible.
			return 0, false, nil
		}
	}
	limit, _, err = c.l.sealedEnd(c.ps, c.i)
	return limit, true, err
}

// next fills f with the next frame, whose bytes are valid until the next call. The error is io.EOF
// when there is none yet. After a *CorruptError, skip moves behind the damage.
func (c *cursor) next(f *segment.Frame) error {
	for {
		more, err := c.seek(c.sc.Limit())
		if err != nil {
			return err
		}
		if more {
			err := c.sc.Next(f)
			if err == nil {
				c.l.count.readFrames.Add(1)
				c.l.count.readBytes.Add(int64(f.Length))
			}
			return err
		}
		limit, sealed, err := c.limit()
		switch {
		case err != nil:
			return err
		case limit > c.sc.Limit():
			c.sc.Extend(limit)
			continue
		case !sealed:
			return io.EOF
		}
		if err := c.enter(c.i+1, 0); err != nil {
			return err
		}
	}
}

// seek moves to the next wanted frame and reports whether there is one before limit.
func (c *cursor) seek(limit int64) (bool, error) {
	if !c.byIndex {
		return c.sc.At() < limit, nil
	}
	for {
		if !c.has {
			e, ok, err := c.idx.Next()
			if err != nil {
				return false, err
			}
			if !ok {
				return false, nil
			}
			c.peeked, c.has = e, true
		}
		if c.peeked.Byte >= limit {
			return false, nil
		}
		if c.peeked.Byte < c.sc.At() {
			c.has = false // another batch of the frame that was read last
			continue
		}
		c.sc.MoveTo(c.peeked.Byte)
		c.has = false
		return true, nil
	}
}

// skip moves behind damage that next has reported.
func (c *cursor) skip() error {
	if c.byIndex {
		c.sc.MoveTo(c.sc.At() + segment.FrameAlign)
		return nil
	}
	if err := c.sc.Resync(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
