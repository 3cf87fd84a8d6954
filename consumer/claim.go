package consumer

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/stratalog/strata/log"
)

// claim is a partition that a member owns, and how far it is.
type claim struct {
	tp         TopicPartition // immutable, like the next two
	p          *log.Partition
	generation uint32 // in which the member got it

	mu sync.Mutex // guards the rest
	// next is the offset behind the last record that was delivered. open are the delivered records that
	// are not finished, or behind one that is not, in order; the first of them is unfinished.
	next int64
	open []openRecord
	// committed is what this process has committed.
	committed int64
	metadata  string
	// done and before are set by Done: the offset behind the last record that was given to it, and the least
	// one that must be committed for that.
	done, before  int64
	transactional bool // Done is used: the offset moves by commits of the caller only
	busy          bool // the record at is in the body of a loop
	at            int64
	revoked       bool // to be given up: nothing more is delivered
	lost          bool // somebody else owns it
	paused        bool
	quiet         chan struct{} // closed when it is not busy any more; made by who waits
	// turns counts the records that were delivered; seen is what it was when hangs last found another one
	// in the body, since is when that was.
	turns, seen uint64
	since       time.Duration
}

// openRecord is twice the offset of a delivered record, and one more when it is finished: there can be hundreds of
// thousands behind one that takes long.
type openRecord int64

func (o openRecord) offset() int64  { return int64(o >> 1) }
func (o openRecord) finished() bool { return o&1 != 0 }

// leastOpen is for how many delivered records there is room at first.
const leastOpen = 64

// deliver notes that the body of the loop is over for the record before, which is finished when finished is
// set, and that the next one goes out. False says that nothing must go out any more.
func (c *claim) deliver(offset int64, most int, finished bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy && finished {
		c.finishLocked(c.at)
	}
	if c.revoked || c.lost || c.paused || len(c.open) >= most {
		c.restLocked()
		return false
	}
	c.busy, c.at = true, offset
	c.turns++
	if len(c.open) == cap(c.open) {
		c.open = slices.Grow(c.open, max(leastOpen, len(c.open))) // append by itself grows large ones by a quarter
	}
	c.open = append(c.open, openRecord(offset<<1))
	c.next = offset + 1
	return true
}

// skip notes that there is nothing to deliver in front of offset to.
func (c *claim) skip(to int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.lost && !c.revoked {
		c.next = max(c.next, to)
	}
}

// back notes that the body of the loop is over. With finished set its record, if there was one, is finished.
func (c *claim) back(finished bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy && finished {
		c.finishLocked(c.at)
	}
	c.restLocked()
}

// hangs reports whether a record has been in the body for longer than most, as far as earlier calls tell.
func (c *claim) hangs(now, most time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.busy || c.seen != c.turns {
		c.seen, c.since = c.turns, now
		return false
	}
	return now-c.since > most
}

// finish marks a record. It reports whether that makes room for more, of which there may be most.
func (c *claim) finish(offset int64, most int) (room bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	full := len(c.open) >= most
	c.finishLocked(offset)
	return full && len(c.open) < most
}

// isFirst reports whether the record at offset is the first unfinished one.
func (c *claim) isFirst(offset int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.lost && c.firstLocked() == offset
}

func (c *claim) finishLocked(offset int64) {
	if len(c.open) > 0 && c.open[0].offset() == offset { // the common case
		n := 1
		for n < len(c.open) && c.open[n].finished() {
			n++
		}
		if n == len(c.open) {
			c.open = c.open[:0]
		} else {
			c.open = c.open[n:]
		}
		return
	}
	if len(c.open) == 0 || offset < c.open[0].offset() {
		return
	}
	// Without gaps between the offsets it is there, and never behind.
	i := int(min(offset-c.open[0].offset(), int64(len(c.open)-1)))
	if c.open[i].offset() != offset {
		var found bool
		i, found = slices.BinarySearchFunc(c.open[:i], offset, func(o openRecord, at int64) int { return cmp.Compare(o.offset(), at) })
		if !found {
			return
		}
	}
	c.open[i] |= 1
}

// firstLocked returns the offset of the first unfinished record.
func (c *claim) firstLocked() int64 {
	if len(c.open) > 0 {
		return c.open[0].offset()
	}
	return c.next
}

// restLocked notes that no record is in a body, and tells who waits for that.
func (c *claim) restLocked() {
	c.busy = false
	if c.quiet != nil {
		close(c.quiet)
		c.quiet = nil
	}
}

// revoke stops the deliveries, and returns a channel that is closed when the body of the loop is over;
// nil when nothing is under way.
func (c *claim) revoke() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revoked = true
	if !c.busy || c.lost {
		return nil
	}
	if c.quiet == nil {
		c.quiet = make(chan struct{})
	}
	return c.quiet
}

// wanted reports whether there is something to deliver, and from where.
func (c *claim) wanted(most int) (from int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next, !c.revoked && !c.lost && !c.paused && len(c.open) < most
}

// due returns the offset to commit, when it has moved.
func (c *claim) due() (offset int64, metadata string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.firstLocked()
	return first, c.metadata, !c.lost && !c.transactional && first > c.committed
}

// noteCommitted notes that an offset is committed.
func (c *claim) noteCommitted(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.committed = max(c.committed, offset)
}

func (c *claim) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost, c.revoked = true, true
	if c.quiet != nil { // who waits need not any more
		close(c.quiet)
		c.quiet = nil
	}
}

func (c *claim) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// isOver reports whether nothing more will be delivered.
func (c *claim) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.revoked || c.lost
}

// doing returns the least offset that must be committed for the record at offset to be done.
func (c *claim) doing(offset int64) (must int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.transactional {
		c.transactional = true
		c.done = c.committed
	}
	if offset+1 != c.done { // else the same record once more
		c.before, c.done = min(c.done, offset), offset+1
	}
	c.finishLocked(offset)
	return c.before
}
