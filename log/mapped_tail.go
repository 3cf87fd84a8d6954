package log

import (
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/stratalog/strata/segment"
)

// A small commit group that nobody waits to see synced is copied into a mapping of the active segment. That
// stores it in the very pages of the page cache in which write(2) would put it, so that it is there for every reader,
// survives a process that is killed, and is made durable by the next sync, at a fraction of the cost. Zeros are written
// ahead of the groups, and their pages made present, so that a copy meets no fault. One that it meets all the
// same, of a disk that fails or a file that somebody has cut short, is caught, and the group is written by
// WriteAt, which says what is wrong.
//
// Groups that are synced are written by WriteAt always: a sync makes the pages of a mapping read-only again, and
// the fault of the next store costs as much as a write, and may block, with the processor. The group behind a sync
// is therefore written as well, and one more without a sync between them has the pages made present again.

const (
	// mapTailAfter is how much a process must have written in such groups first: a log that is little used has no
	// use for a mapping.
	mapTailAfter = 64 << 10
	// mappedGroup is the largest commit group that is copied into the mapping. The first store into each page costs
	// some 9 us on a virtual machine whose hypervisor keeps page tables of its own, and large groups meet such a page
	// each time.
	mappedGroup = 2 << 10
	// mappedBytes is how much of the segment is mapped at once, presentStep how much of that is made present at
	// once. Both are multiples of any page size.
	mappedBytes = 1 << 20
	presentStep = 64 << 10
)

// mappedTail is what the holder of the pen knows of the mapping.
type mappedTail struct {
	seg     *segment.Segment // of which window is a part; nil when there is none
	window  segment.Window
	from    int64 // the byte position at which window begins
	present int64 // the byte position up to which the file reaches and its pages were asked to be present
	after   int64 // bytes of such groups since Open, until they are enough
	never   bool  // it cannot be mapped
	stale   bool  // pages may have become read-only
	seen    int64 // syncs, when a group was last written

	// syncs counts the beginnings and ends of syncs. Anybody may add to it.
	syncs atomic.Int64
}

// write copies g into the mapping, and reports whether that was possible.
func (m *mappedTail) write(g *group, seg *segment.Segment, zeros *ahead, claimed int64, logger *slog.Logger) bool {
	if m.never || g.sync || g.bytes > mappedGroup {
		return false
	}
	if now := m.syncs.Load(); now != m.seen {
		m.seen, m.stale = now, true
		return false
	}
	if m.after < mapTailAfter {
		m.after += g.bytes
		return false
	}
	end := g.start + g.bytes
	if m.seg != seg || end > m.present {
		if err := m.extend(seg, g.start, end, zeros, claimed); err != nil {
			if m.never = !errors.Is(err, errNoWindow); m.never && !errors.Is(err, errors.ErrUnsupported) {
				logger.Warn("segment not mapped for writing", "segment", seg.Name().String(), "error", err.Error())
			}
			return false
		}
	}
	at := g.start - m.from
	if m.stale {
		m.window.Touch(at, m.present-m.from)
		m.stale = false
	}
	for _, s := range g.stretches {
		b := g.frames(s)
		if !copyMapped(m.window.Bytes[at:], b) {
			logger.Warn("memory fault in a segment that is mapped for writing", "segment", seg.Name().String(), "byte", m.from+at)
			m.close()
			m.never = true
			return false
		}
		at += int64(len(b))
	}
	return true
}

// errNoWindow says that the room that is claimed ends too early.
var errNoWindow = errors.New("log: no room for zeros")

// extend makes [start, end) of seg present, and more behind it, as far as room is claimed.
func (m *mappedTail) extend(seg *segment.Segment, start, end int64, zeros *ahead, claimed int64) error {
	if m.seg != seg || end > m.from+mappedBytes {
		m.close()
		from := start &^ (presentStep - 1)
		w, err := seg.MapTail(from, mappedBytes)
		if err != nil {
			return err
		}
		m.seg, m.window, m.from, m.present = seg, w, from, start
	}
	to := min((end+presentStep)&^(presentStep-1), claimed&^(blockBytes-1), m.from+mappedBytes)
	if to < end {
		return errNoWindow
	}
	if err := zeros.zeroTo(seg, start, to); err != nil {
		return err
	}
	m.window.Touch(m.present-m.from, to-m.from)
	m.present = to
	return nil
}

// close ends the mapping.
func (m *mappedTail) close() {
	if m.seg != nil {
		_ = m.window.Close() // what was stored is in the file, however this ends
		m.seg, m.window = nil, segment.Window{}
	}
}
