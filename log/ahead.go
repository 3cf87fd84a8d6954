package log

import "github.com/stratalog/strata/segment"

// A sync of a write into blocks that were never written makes the file system commit its journal, one
// into blocks that were costs half as much. Until a prepared segment is there, a small commit group that is
// to be synced is therefore followed, in its own sync, by zeros for those that come behind it.

const (
	// aheadAfter is how much a process must have written in such groups first: a log that is little used
	// has no use for zeros.
	aheadAfter = 64 << 10
	// leastAhead and mostAhead bound how many zeros follow a commit group. They double from one time to
	// the next, so that a small log stays small.
	leastAhead = 16 << 10
	mostAhead  = 256 << 10
	// aheadGroup is the largest commit group that is followed by zeros: for those of large ones it would
	// take as long to write them twice as to have them allocated once.
	aheadGroup = 32 << 10
	// aheadPiece bounds one write. The page cache keeps folios about as large as the write that made
	// them, and small writes into large folios are slow.
	aheadPiece = 64 << 10
	blockBytes = 4 << 10
)

// ahead is what the holder of the pen knows of the zeros in the active segment.
type ahead struct {
	to    int64 // the byte up to which all blocks were written
	last  int64 // how many zeros were written the last time, in any segment
	after int64 // bytes of such groups since Open, until they are enough
}

var aheadZeros [aheadPiece]byte

// behind writes zeros behind a synced commit group of n bytes that ends at byte position end, within the
// room that is claimed.
func (a *ahead) behind(seg *segment.Segment, n, end, claimed int64) error {
	if end <= a.to || n > aheadGroup {
		return nil
	}
	if a.after < aheadAfter {
		a.after += n
		return nil
	}
	a.last = min(max(2*a.last, leastAhead), mostAhead)
	to := min((end+a.last+blockBytes-1)&^(blockBytes-1), claimed)
	return a.zeroTo(seg, end, to)
}

// zeroTo writes zeros up to byte position to where there are none yet. Everything written must end at from or before.
func (a *ahead) zeroTo(seg *segment.Segment, from, to int64) error {
	for at := max(from, a.to); at < to; {
		piece := min((at+aheadPiece)&^(aheadPiece-1), to) - at
		if err := seg.Write(aheadZeros[:piece], at); err != nil {
			return err
		}
		at += piece
	}
	a.to = max(a.to, to)
	return nil
}
