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
	free    []*lane           // closed ones, to be used again
	ready   []*lane
	waiting []*lane // by due time
	workers []worker
	next    uint64 // number of the next record without a key
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

// lane has the records of one lane. Guarded by lanes.mu, but for now while busy is set, which is the
// worker's then.
type lane struct {
	key     laneKey
	now     job   // the one that is handled, or to be tried again; none without handling
	behind  []job // those after it
	holds   bool  // now is one
	busy    bool
	dropped bool // its partition is given up: what is not under way is not begun
	due     time.Duration
}

// job is a record, and how often it was tried.
type job struct {
	r      log.Record
	failed int
}

// worker is what one worker does. seen is at when hangs last found another lane there, since is when that
// was.
type worker struct {
	at, seen *lane
	since    time.Duration
}

// mostFree bounds how many lanes are kept to be used again, and mostBehind the records that they have room for.
const (
	mostFree   = 1024
	mostBehind = 64
)

func newLanes(clock log.Clock, byKey bool, handle func(context.Context, *job) time.Duration) *lanes {
	return &lanes{clock: clock, byKey: byKey, handle: handle, open: map[laneKey]*lane{}, kick: make(chan struct{}, 1)}
}

// start starts n workers, and the goroutine that wakes lanes by the clock. end waits for them.
func (ls *lanes) start(ctx context.Context, n int) {
	ls.workers = make([]worker, n)
	for i := range n {
		ls.running.Go(func() { ls.worker(ctx, &ls.workers[i]) })
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

// put adds a record, of which it keeps a copy.
func (ls *lanes) put(r *log.Record) {
	tp := TopicPartition{r.Topic, r.Partition}
	j := job{r: keep(r)}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var la *lane
	switch {
	case !ls.byKey:
		if la = ls.open[laneKey{tp: tp}]; la == nil {
			la = ls.openLocked(laneKey{tp: tp})
		}
	case r.Key == nil:
		ls.next++
		la = ls.openLocked(laneKey{tp: tp, number: ls.next})
	default:
		// Looking it up does not copy the key.
		if la = ls.open[laneKey{tp: tp, key: string(r.Key)}]; la == nil {
			la = ls.openLocked(laneKey{tp: tp, key: string(r.Key)})
		}
	}
	if la.holds {
		la.behind = append(la.behind, j)
		return
	}
	la.now, la.holds = j, true
	ls.readyLocked(la)
}

// keep returns a copy of r, as Clone does, with key and value in one piece of memory.
func keep(r *log.Record) log.Record {
	k := *r
	k.Key, k.Value = nil, nil
	k = k.Clone()
	b := append(append(make([]byte, 0, len(r.Key)+len(r.Value)), r.Key...), r.Value...)
	n := len(r.Key)
	if r.Key != nil {
		k.Key = b[:n:n]
	}
	if r.Value != nil {
		k.Value = b[n:]
	}
	return k
}

// openLocked opens a lane, which holds no record yet.
func (ls *lanes) openLocked(k laneKey) *lane {
	la := &lane{}
	if n := len(ls.free); n > 0 {
		la, ls.free = ls.free[n-1], ls.free[:n-1]
	}
	la.key = k
	ls.open[k] = la
	return la
}

// shutLocked forgets a lane that has come to its end, to which nothing else refers.
func (ls *lanes) shutLocked(la *lane) {
	if ls.open[la.key] == la {
		delete(ls.open, la.key)
	}
	if len(ls.free) < mostFree && cap(la.behind) <= mostBehind {
		*la = lane{behind: la.behind[:0]}
		ls.free = append(ls.free, la)
	}
}

func (ls *lanes) readyLocked(la *lane) {
	ls.ready = append(ls.ready, la)
	ls.tellLocked(&ls.work)
}

// worker takes lanes that are ready, one record of each at a time.
func (ls *lanes) worker(ctx context.Context, w *worker) {
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
		if la.dropped {
			ls.mu.Unlock()
			continue
		}
		la.busy, w.at = true, la
		ls.mu.Unlock()
		again := ls.handle(ctx, &la.now)
		ls.mu.Lock()
		w.at, w.seen = nil, nil
		ls.returnLocked(la, again)
		ls.mu.Unlock()
	}
}

// returnLocked takes a lane back whose record was handled, or is to be tried again.
func (ls *lanes) returnLocked(la *lane, again time.Duration) {
	la.busy = false
	ls.tellLocked(&ls.idle)
	switch {
	case la.dropped:
		if ls.open[la.key] == la {
			delete(ls.open, la.key)
		}
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
	case len(la.behind) > 0:
		la.now = la.behind[0]
		la.behind[0] = job{}
		la.behind = la.behind[1:]
		ls.readyLocked(la)
	default:
		ls.shutLocked(la)
	}
}

// hangs reports whether a worker has been at work on a record for longer than most, as far as earlier
// calls tell.
func (ls *lanes) hangs(now, most time.Duration) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	hangs := false
	for i := range ls.workers {
		w := &ls.workers[i]
		if w.at == nil || w.at != w.seen {
			w.seen, w.since = w.at, now
		} else if now-w.since > most {
			hangs = true
		}
	}
	return hangs
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

// partitionsOf returns the partitions of claims.
func partitionsOf(claims []*claim) map[TopicPartition]bool {
	tps := map[TopicPartition]bool{}
	for _, c := range claims {
		tps[c.tp] = true
	}
	return tps
}

// drop drops what is not under way of the partitions of claims.
func (ls *lanes) drop(claims []*claim) {
	ours := partitionsOf(claims)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for k, la := range ls.open {
		if ours[k.tp] {
			la.dropped = true
			if !la.busy {
				delete(ls.open, k)
			}
		}
	}
}

// drained waits until nothing of the partitions of claims, which were dropped, is under way. False says that
// late has come first.
func (ls *lanes) drained(claims []*claim, late <-chan time.Time) bool {
	ours := partitionsOf(claims)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for {
		busy := false
		for k := range ls.open {
			busy = busy || ours[k.tp]
		}
		if !busy {
			return true
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
			return false
		}
	}
}

// abandon drops all of the partitions of claims: nobody waits for what is under way.
func (ls *lanes) abandon(claims []*claim) {
	ls.drop(claims)
	ours := partitionsOf(claims)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for k := range ls.open {
		if ours[k.tp] {
			delete(ls.open, k) // who comes back finds itself dropped
		}
	}
}
