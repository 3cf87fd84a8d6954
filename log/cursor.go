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
	// sleeper is c's when it waits; nil before it does so for the first time.
	sleeper *sleeper

	// only is the partition whose batches are wanted, by the index; without byIndex all frames are.
	byIndex bool
	only    uint32
	from    int64 // lowest offset of only that is wanted
	reader  index.Reader
	idx     index.Cursor // behind the first entry; nil before
	after   int64        // the offset behind the first entry
	found   bool         // the first entry was found
	peeked  index.Entry
	has     bool // peeked is the next entry

	// report is damage of the current segment as a whole, which next is to return once.
	report error
	// void says that the current segment cannot be read at all.
	void bool
	// atFrame says that the damage that next returned last is that of the frame it stands at.
	atFrame bool
}

// end returns the end of what the cursor may see.
func (c *cursor) end() place {
	c.l.endMu.Lock()
	defer c.l.endMu.Unlock()
	return c.endLocked()
}

// endLocked is end for who holds endMu.
func (c *cursor) endLocked() place {
	if c.unsynced {
		return c.l.written
	}
	return c.l.synced
}

// enter makes the segment at i the current one, from byte position at on; 0 is its first frame. Damage
// of the segment is left to next.
func (c *cursor) enter(i int, at int64) error {
	c.i, c.has, c.void, c.report = i, false, false, nil
	seg, err := c.ps[i].open()
	if errors.Is(err, ErrCorrupt) {
		c.void, c.report = true, err
		return nil
	}
	if err != nil {
		return err
	}
	c.seg = seg
	if c.byIndex {
		idx, err := c.l.index(c.ps, i)
		if err != nil {
			return err
		}
		c.reader, c.idx, c.found = idx, nil, false
		c.report = c.ps[i].damaged()
		c.sc.Reset(seg, segment.HeadBytes, segment.HeadBytes)
		return nil
	}
	if at == 0 && seg.Data() == 0 {
		_, c.report = seg.Catalog()
		limit, _, err := c.limit()
		if err != nil {
			return err
		}
		if at, err = dataStart(seg, limit); err != nil {
			return err
		}
	} else if at == 0 {
		at = seg.Data()
	}
	c.sc.Reset(seg, at, at)
	return nil
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
		if err := c.report; err != nil {
			c.report, c.atFrame = nil, false
			return err
		}
		if !c.void {
			more, err := c.seek(c.sc.Limit())
			if err != nil {
				return err
			}
			if more {
				return c.read(f)
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
		} else if c.i == len(c.ps)-1 {
			return io.EOF
		}
		doubt := c.ps[c.i].doubted()
		if err := c.enter(c.i+1, 0); err != nil {
			return err
		}
		if c.report == nil {
			c.report = doubt
		}
	}
}

// read reads the frame at which the cursor stands.
func (c *cursor) read(f *segment.Frame) error {
	c.atFrame = true
	if err := c.sc.Next(f); err != nil {
		return err
	}
	c.l.count.readFrames.Add(1)
	c.l.count.readBytes.Add(int64(f.Length))
	return nil
}

// nextEntry returns the next entry of the index. A loop over one record gets by without a cursor of that.
func (c *cursor) nextEntry() (index.Entry, bool, error) {
	switch {
	case c.idx != nil:
	case !c.found:
		e, ok, err := c.reader.Find(c.only, c.from)
		if err == nil && ok {
			c.found, c.after = true, e.End()
		}
		return e, ok, err
	default:
		c.idx = c.reader.Scan(c.only, c.after)
	}
	return c.idx.Next()
}

// seek moves to the next wanted frame and reports whether there is one before limit.
func (c *cursor) seek(limit int64) (bool, error) {
	if !c.byIndex {
		return c.sc.At() < limit, nil
	}
	for {
		if !c.has {
			e, ok, err := c.nextEntry()
			if errors.Is(err, index.ErrCorrupt) {
				// Begin again with one made by reading. What was read lies before sc.
				c.ps[c.i].forgetIndex()
				var idx index.Reader
				if idx, err = c.l.index(c.ps, c.i); err == nil {
					c.reader, c.idx = idx, idx.Scan(c.only, c.from)
					if err = c.ps[c.i].damaged(); err == nil {
						continue
					}
					c.atFrame = false // reading it has met damage, which an index passes over
				}
			}
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

// damaged reports whether damage was told of the current segment, or of the one before it, that an index
// passes over: what is missing there was told with it.
func (c *cursor) damaged() bool {
	return c.byIndex && (c.ps[c.i].damaged() != nil || c.i > 0 && c.ps[c.i-1].damaged() != nil)
}

// skip moves behind damage that next has reported.
func (c *cursor) skip() error {
	if !c.atFrame {
		return nil
	}
	if c.byIndex {
		c.sc.MoveTo(c.sc.At() + segment.FrameAlign)
		return nil
	}
	if err := c.sc.Resync(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
