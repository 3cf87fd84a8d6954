package consumer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stratalog/strata/log"
)

// lanes hand records to workers: those of one lane one after the other, in order, different lanes at the
// same time. A lane is a partition, or a key within one; a record without a key has one of its own. A lane
// whose record is to be tried again later holds up nobody else: it waits by the clock, not in a worker.
type lanes struct {
	clock log.Clock
	byKey bool
	// handle handles a record. It returns how long to wait before the next attempt, 0 for none.
	handle func(ctx context.Context, j *job) (again time.Duration)

	mu      sync.Mutex
	open    map[laneKey]*lane // guarded by mu, like the rest
	ready   []*lane
	waiting []*lane // by due time
	next    uint64  // number of the next record without a key
	closed  bool
	work    chan struct{} // closed when there is work, or none will come; made by who waits
	idle    chan struct{} // closed when a job has ended; made by who waits
	kick    chan struct{} // tells the clock's goroutine of an earlier due time
	running sync.WaitGroup
}

type laneKey struct {
	tp     TopicPartition
	key    string
	number uint64 // of a record without a key, when lanes are keys
}

type lane struct {
	key     laneKey
	jobs    []*job
	busy    bool
	dropped bool // its partition is given up: what is not under way is not begun
	due     time.Duration
}

// job is a record, and how often it was tried.
type job struct {
	r      log.Record
	failed int
}

func newLanes(clock log.Clock, byKey bool, handle func(context.Context, *job) time.Duration) *lanes {
	return &lanes{clock: clock, byKey: byKey, handle: handle, open: map[laneKey]*lane{}, kick: make(chan struct{}, 1)}
}

// start starts n workers, and the goroutine that wakes lanes by the clock. end waits for them.
func (ls *lanes) start(ctx context.Context, n int) {
	for range n {
		ls.running.Go(func() { ls.worker(ctx) })
	}
	ls.running.Go(func() { ls.wakeUp(ctx) })
}

// end waits for what is under way. The context of start has ended.
func (ls *lanes) end() {
	ls.mu.Lock()
	ls.closed = true
	ls.tellLocked(&ls.work)
	ls.mu.Unlock()
	ls.running.Wait()
}

// tellLocked wakes those who wait for c.
func (ls *lanes) tellLocked(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// put adds a record, whose bytes it keeps.
func (ls *lanes) put(r log.Record) {
	k := laneKey{tp: TopicPartition{r.Topic, r.Partition}}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	switch {
	case ls.byKey && r.Key == nil:
		ls.next++
		k.number = ls.next
	case ls.byKey:
		k.key = string(r.Key)
	}
	la := ls.open[k]
	if la == nil {
		la = &lane{key: k}
		ls.open[k] = la
	}
	la.jobs = append(la.jobs, &job{r: r})
	if len(la.jobs) == 1 && !la.busy {
		ls.readyLocked(la)
	}
}

func (ls *lanes) readyLocked(la *lane) {
	ls.ready = append(ls.ready, la)
	ls.tellLocked(&ls.work)
}

// worker takes lanes that are ready, one record of each at a time.
func (ls *lanes) worker(ctx context.Context) {
	for {
		ls.mu.Lock()
		for len(ls.ready) == 0 && !ls.closed && ctx.Err() == nil {
			if ls.work == nil {
				ls.work = make(chan struct{})
			}
			work := ls.work
			ls.mu.Unlock()
			select {
			case <-work:
			case <-ctx.Done():
			}
			ls.mu.Lock()
		}
		if ls.closed || ctx.Err() != nil {
			ls.mu.Unlock()
			return
		}
		la := ls.ready[0]
		ls.ready[0] = nil
		ls.ready = ls.ready[1:]
		if la.dropped || len(la.jobs) == 0 {
			ls.mu.Unlock()
			continue
		}
		la.busy = true
		j := la.jobs[0]
		ls.mu.Unlock()
		again := ls.handle(ctx, j)
		ls.mu.Lock()
		ls.returnLocked(la, again)
		ls.mu.Unlock()
	}
}

// returnLocked takes a lane back whose first record was handled, or is to be tried again.
func (ls *lanes) returnLocked(la *lane, again time.Duration) {
	la.busy = false
	ls.tellLocked(&ls.idle)
	switch {
	case la.dropped:
		if ls.open[la.key] == la {
			delete(ls.open, la.key)
		}
		return
	case again > 0:
		la.due = ls.clock.Monotonic() + again
		i, _ := slices.BinarySearchFunc(ls.waiting, la.due, func(w *lane, due time.Duration) int { return cmp.Compare(w.due, due) })
		ls.waiting = slices.Insert(ls.waiting, i, la)
		if i == 0 {
			select {
			case ls.kick <- struct{}{}:
			default:
			}
		}
		return
	}
	la.jobs[0] = nil
	la.jobs = la.jobs[1:]
	if len(la.jobs) > 0 {
		ls.readyLocked(la)
		return
	}
	if ls.open[la.key] == la {
		delete(ls.open, la.key)
	}
}

// wakeUp makes lanes ready when their time has come.
func (ls *lanes) wakeUp(ctx context.Context) {
	timer := ls.clock.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	for {
		ls.mu.Lock()
		now := ls.clock.Monotonic()
		for len(ls.waiting) > 0 && ls.waiting[0].due <= now {
			if la := ls.waiting[0]; !la.dropped {
				ls.readyLocked(la)
			}
			ls.waiting = ls.waiting[1:]
		}
		if len(ls.waiting) > 0 {
			timer.Reset(ls.waiting[0].due - now)
		}
		ls.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ls.kick:
		case <-timer.C():
		}
	}
}

// drain drops what is not under way of the partitions of claims, and waits for the rest until late.
func (ls *lanes) drain(claims []*claim, late <-chan time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ours := map[TopicPartition]bool{}
	for _, c := range claims {
		ours[c.tp] = true
	}
	for k, la := range ls.open {
		if ours[k.tp] {
			la.dropped = true
			if !la.busy {
				delete(ls.open, k)
			}
		}
	}
	for {
		busy := false
		for k := range ls.open {
			busy = busy || ours[k.tp]
		}
		if !busy {
			return
		}
		if ls.idle == nil {
			ls.idle = make(chan struct{})
		}
		idle := ls.idle
		ls.mu.Unlock()
		select {
		case <-idle:
			ls.mu.Lock()
		case <-late:
			ls.mu.Lock()
			for k := range ls.open {
				if ours[k.tp] {
					delete(ls.open, k) // who comes back finds itself dropped
				}
			}
			return
		}
	}
}
