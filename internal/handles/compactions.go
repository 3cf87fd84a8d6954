package handles

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Compactions lets a Pebble compact, one at a time, once it is open. While it is being opened Pebble flushes, and a flush
// would begin a compaction; when an error ends the opening after that, Pebble closes its cache of tables under the
// compaction, which panics. It belongs to one Pebble, and has no goroutine of its own. Its methods may be called
// concurrently.
type Compactions struct {
	db pebble.DBForCompaction // set by Register, before any other call

	mu sync.Mutex
	// idle is told when granting has ended.
	idle *sync.Cond
	// The rest is guarded by mu. open says that Pebble was opened, ended that it is being closed, running that a compaction
	// has the grant, or is about to be offered it, granting that a goroutine offers it, and refused that Pebble
	// was told to wait since it was offered.
	open, ended, running, granting, refused bool
}

// NewCompactions returns what is to be the CompactionScheduler of one Pebble.
func NewCompactions() *Compactions {
	c := &Compactions{}
	c.idle = sync.NewCond(&c.mu)
	return c
}

// Opened says that Pebble is open, and lets it begin a compaction that is due. No lock of Pebble may be held.
func (c *Compactions) Opened() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = true
	c.grantLocked()
}

// Register implements pebble.CompactionScheduler, like all below.
func (c *Compactions) Register(_ int, db pebble.DBForCompaction) { c.db = db }

// Unregister returns when nothing of Pebble is called any more.
func (c *Compactions) Unregister() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for c.granting {
		c.idle.Wait()
	}
}

// TrySchedule is called by Pebble, under its lock, before it compacts.
func (c *Compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open || c.ended || c.running {
		c.refused = true
		return false, nil
	}
	c.running = true
	return true, c
}

// UpdateGetAllowedWithoutPermission is for schedulers with a limit that moves.
func (c *Compactions) UpdateGetAllowedWithoutPermission() {}

// Started implements pebble.CompactionGrantHandle, like all below.
func (c *Compactions) Started() {}

// MeasureCPU is for schedulers that look at it.
func (c *Compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats is for schedulers that look at them.
func (c *Compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done ends the compaction that had the grant, and offers it to the next.
func (c *Compactions) Done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	c.grantLocked()
}

// grantLocked offers the grant to Pebble when it is free and Pebble waits for it. mu is not held while Pebble is asked,
// which takes its lock first.
func (c *Compactions) grantLocked() {
	for c.granting {
		c.idle.Wait()
	}
	c.granting = true
	for c.open && !c.ended && !c.running {
		c.running, c.refused = true, false
		c.mu.Unlock()
		waits, _ := c.db.GetWaitingCompaction()
		taken := waits && c.db.Schedule(c)
		c.mu.Lock()
		if taken {
			break
		}
		c.running = false
		if !c.refused {
			break // else it has begun to wait behind the question
		}
	}
	c.granting = false
	c.idle.Broadcast()
}
