package queue

import (
	"container/heap"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratalog/strata/log"
)

// dispatcher hands out the messages of one queue. All that it knows it has from the view, by looking
// once and by what the view tells it afterwards, so that it can begin anew at any moment. Memory is
// bounded by what is leased and by the buffers, not by the backlog.
type dispatcher struct {
	dir   *directory
	id    uint64
	name  string
	o     Options
	topic *log.Topic
	p     *log.Partition
	in    inbox

	// removed and removedBytes are how much has left a bounded queue at least; they only grow.
	removed, removedBytes atomic.Int64
	// dead is the dispatcher of the dead letters, nil until the first one.
	dead atomic.Pointer[dispatcher]
	// unsettled says that this process has made changes that the view may not have told yet.
	unsettled atomic.Bool
	// staged says that commits of others may bring messages with a priority or a delay: the view may not have
	// told of the last ones, whenever one looks.
	staged atomic.Bool
	// skimmed says that no message before it is in the backlog; Stats looks from there on. It only grows, but for
	// two calls that overtake each other, of which either is right.
	skimmed atomic.Int64
	// early has the ids of the leases whose call of Receive has not returned: their owner has not received them yet.
	early sync.Map
	// consumers counts Run and Consume.
	consumers atomic.Int64

	// mu is held while messages are picked and while the memory below changes. What it guards may be
	// read from the view under it; the view never waits for it.
	mu     sync.Mutex
	loaded bool // otherwise the rest is to be looked up
	was    bool // loaded before
	ended  bool // the queue was deleted
	events []event

	head      int64     // where the backlog begins
	ahead     []message // read from the backlog, from head on
	readTo    int64     // behind those
	ready     [MaxPriority + 1]*buffer
	delayed   *buffer
	due       [MaxPriority + 1][]item // of delayed, by offset: their time has come
	gone      map[int64]item          // removed from the middle of the backlog
	passed    []int64                 // of these, what lies before the head now, and the view need not keep
	keys      map[string]*keyLock     // of an ordered queue, those that are locked
	runnable  []string                // keys that are free, with messages that wait; the longest first
	leases    map[uint64]*lease
	byOffset  map[int64]*leased
	deadlines deadlines
	abandoned map[int64]uint64 // leases that are held by nobody, by message; kept when all is looked up anew
	serial    uint64           // of the last message that was handed out
	favoured  int              // messages handed out in a row before others of lower priority
	underway  []*log.Ack       // takes that may not show in the view yet

	dedupAt int64 // when the pump looks for DedupIDs to forget; set by the pump alone

	// nextWake is when the pump looks by itself, in µs of the log's time, 0 for never.
	nextWake atomic.Int64
}

// message is one that is to be handed out, with its record.
type message struct {
	item
	record log.Record
	traits traits
	absent bool // taken out of the backlog before its turn
	lost   bool // damage has taken the record
}

// lease is one call's claim.
type lease struct {
	id      uint64
	owner   string
	entries map[int64]*leased
}

// leased is a message of a lease.
type leased struct {
	lease    *lease
	offset   int64
	deadline int64 // µs, or held
	attempt  int
	level    uint8
	size     int64
	key      string // of an ordered queue
	locks    bool   // key is locked by it
	serial   uint64
	place    int // in deadlines, -1 when not
}

// keyLock is a key of an ordered queue of which a message is under way, or waits.
type keyLock struct {
	holder  int64 // the offset of the message that goes first, -1 when that is to be chosen
	waiting *buffer
	listed  bool // is in runnable
}

func newDispatcher(dir *directory, name string, id uint64, o Options, topic *log.Topic) *dispatcher {
	d := &dispatcher{abandoned: map[int64]uint64{}, dir: dir, id: id, name: name, o: o, topic: topic, p: topic.Partition(0)}
	d.in.kick = make(chan struct{}, 1)
	d.in.most, d.in.lazy = dir.limits.events, dir.limits.lazyEvents
	return d
}

// now returns the log's time in µs.
func (d *dispatcher) now() int64 { return d.dir.l.Now().UnixMicro() }

// settle brings the memory up to date: what has come of calls that have returned is in it. mu is held.
func (d *dispatcher) settle(ctx context.Context) error {
	if d.ended {
		return &NoQueueError{d.name}
	}
	if !d.loaded {
		return d.load(ctx)
	}
	if d.unsettled.Load() || d.staged.Load() {
		return d.settleView(ctx)
	}
	return d.drain(ctx)
}

// settleView is settle when the view is to be waited for.
func (d *dispatcher) settleView(ctx context.Context) error {
	d.unsettled.Store(false)
	if _, err := d.state(ctx); err != nil {
		return err
	}
	return d.drain(ctx)
}

func (d *dispatcher) drain(ctx context.Context) error {
	events, overflow := d.in.take(d.events)
	d.events = events
	if overflow {
		return d.load(ctx)
	}
	for i := range events {
		d.take(&events[i])
	}
	return nil
}

// take takes in what the view told.
func (d *dispatcher) take(e *event) {
	l := d.byOffset[e.item.offset]
	if e.lease != 0 && (l == nil || l.lease.id != e.lease) {
		// It is known already, or of a lease that was not there when the memory was looked up.
		l = nil
	}
	switch e.what {
	case wasExtended:
		if l != nil {
			l.deadline = e.item.due
			d.schedule(l)
		}
	case wasSettled:
		if l != nil {
			d.unlease(l)
			d.unlock(l.key, l.offset, l.locks)
		}
	case wasPlaced:
		if l == nil && d.byOffset[e.item.offset] != nil {
			return // handed out again since
		}
		if l != nil {
			d.unlease(l)
		}
		d.place(e.item)
	}
}

// place puts a message where it can be picked.
func (d *dispatcher) place(it item) {
	switch it.in {
	case inReady:
		d.ready[it.level].add(it)
	case inDelayed:
		d.delayed.add(it)
		if len(d.delayed.items) > 0 && d.delayed.items[0].offset == it.offset {
			d.wakeAt(it.due)
		}
	}
}

func (d *dispatcher) unlease(l *leased) {
	delete(l.lease.entries, l.offset)
	delete(d.byOffset, l.offset)
	if len(l.lease.entries) == 0 {
		delete(d.leases, l.lease.id)
	}
	if l.place >= 0 {
		heap.Remove(&d.deadlines, l.place)
	}
	delete(d.abandoned, l.offset)
}

// unlock lets the next message of a key go, when the one at offset held it.
func (d *dispatcher) unlock(key string, offset int64, locks bool) {
	if !locks {
		return
	}
	k := d.keys[key]
	if k == nil || k.holder != offset {
		return
	}
	k.holder = -1
	if k.waiting.empty() && !k.listed {
		delete(d.keys, key)
		return
	}
	d.makeRunnable(key, k)
}

// makeRunnable notes that a message of the key can be chosen.
func (d *dispatcher) makeRunnable(key string, k *keyLock) {
	if !k.listed {
		k.listed = true
		d.runnable = append(d.runnable, key)
	}
}

// unlockHolder is unlock when the key of the message is not known.
func (d *dispatcher) unlockHolder(offset int64) {
	for key, k := range d.keys {
		if k.holder == offset {
			d.unlock(key, offset, true)
			return
		}
	}
}

// enlease notes that a message is leased.
func (d *dispatcher) enlease(ls *lease, e leaseEntry, key string, locks bool) *leased {
	d.serial++
	l := &leased{
		lease: ls, offset: e.offset, deadline: e.deadline, attempt: int(e.attempts), level: e.level,
		size: e.size, key: key, locks: locks, serial: d.serial, place: -1,
	}
	ls.entries[e.offset] = l
	d.byOffset[e.offset] = l
	d.schedule(l)
	return l
}

// schedule has the pump look when the lease ends.
func (d *dispatcher) schedule(l *leased) {
	switch {
	case l.deadline == held && l.place >= 0:
		heap.Remove(&d.deadlines, l.place)
	case l.deadline == held:
	case l.place >= 0:
		heap.Fix(&d.deadlines, l.place)
	default:
		heap.Push(&d.deadlines, l)
	}
	if l.deadline != held {
		d.wakeAt(l.deadline)
	}
}

// wakeAt makes sure that the pump looks then.
func (d *dispatcher) wakeAt(at int64) {
	if next := d.nextWake.Load(); next == 0 || at < next {
		d.in.kickPump()
	}
}

// scan looks at the view.
func (d *dispatcher) scan(from, to []byte) iter.Seq2[log.KeyValue, error] {
	return d.dir.view.Scan(d.dir.ctx, from, to)
}

// load looks everything up in the view.
func (d *dispatcher) load(ctx context.Context) error {
	d.awaitUnderway()
	d.loaded = false
	d.events, _ = d.in.take(d.events)
	s, err := d.state(ctx)
	if err != nil {
		return err
	}
	d.head, d.ahead = s.head, nil
	if s.backlog == 0 {
		d.head = s.end
	}
	d.readTo = d.head
	for level := range d.ready {
		d.ready[level] = newBuffer(d.id, item{in: inReady, level: uint8(level)}, d.dir.limits.buffer)
		d.due[level] = nil
	}
	d.delayed = newBuffer(d.id, item{in: inDelayed}, d.dir.limits.buffer)
	d.gone, d.passed, d.keys, d.runnable = map[int64]item{}, nil, map[string]*keyLock{}, nil
	d.leases, d.byOffset, d.deadlines = map[uint64]*lease{}, map[int64]*leased{}, nil
	if err := d.loadGone(); err != nil {
		return err
	}
	// In this order: a message that is given back in between is found in one of both, and its key locked.
	if err := d.loadLeases(); err != nil {
		return err
	}
	if d.o.Ordered {
		if err := d.loadKeys(); err != nil {
			return err
		}
	}
	d.loaded = true
	d.noteRemoved(&s)
	// What was told before the looks is among what they have shown; what came since is taken in here.
	return d.drain(ctx)
}

func (d *dispatcher) state(ctx context.Context) (state, error) {
	b, _, err := d.dir.view.Get(ctx, keyOf(prefixState, d.id))
	if err != nil {
		return state{}, err
	}
	return decodeState(b)
}

func (d *dispatcher) noteRemoved(s *state) {
	d.removed.Store(max(d.removed.Load(), s.sent-s.depth()))
	d.removedBytes.Store(max(d.removedBytes.Load(), s.sentBytes-s.bytes))
}

func (d *dispatcher) loadGone() error {
	prefix := keyOf(prefixGone, d.id)
	for kv, err := range d.scan(prefix, after(prefix)) {
		if err != nil {
			return err
		}
		if len(kv.Key) == len(prefix)+8 {
			offset := int64(be.Uint64(kv.Key[len(prefix):]))
			if offset < d.head {
				d.passed = append(d.passed, offset)
				continue
			}
			d.gone[offset] = item{offset: offset}
		}
	}
	return nil
}

func (d *dispatcher) loadLeases() error {
	prefix := keyOf(prefixLease, d.id)
	var orphans []*leased
	for kv, err := range d.scan(prefix, after(prefix)) {
		if err != nil {
			return err
		}
		owner, entries, ok := splitLease(kv.Value)
		if !ok || len(kv.Key) != len(prefix)+8 {
			return ErrCorrupt
		}
		ls := &lease{id: be.Uint64(kv.Key[len(prefix):]), owner: owner, entries: map[int64]*leased{}}
		d.leases[ls.id] = ls
		for ; len(entries) > 0; entries = entries[entryBytes:] {
			e := decodeEntry(entries)
			key, locks, err := d.keyOf(e.offset)
			if err != nil {
				return err
			}
			l := d.enlease(ls, e, key, locks)
			if locks {
				d.lock(key, e.offset)
			}
			if e.deadline == held && (!d.was || d.abandoned[e.offset] == ls.id) {
				orphans = append(orphans, l)
			}
		}
	}
	for offset, lease := range d.abandoned {
		if l := d.byOffset[offset]; l == nil || l.lease.id != lease {
			delete(d.abandoned, offset)
		}
	}
	// Leases that are held end with the process that holds them, and there is none when a log is opened.
	for _, l := range orphans {
		l.deadline = 1
		d.schedule(l)
	}
	d.was = true
	return nil
}

// keyOf returns the key of the message, on an ordered queue.
func (d *dispatcher) keyOf(offset int64) (key string, locks bool, err error) {
	if !d.o.Ordered {
		return "", false, nil
	}
	r, err := d.read(offset)
	if errors.Is(err, log.ErrLost) {
		return "", false, nil // it is dropped when its turn comes
	}
	if err != nil {
		return "", false, err
	}
	return string(r.Key), r.Key != nil, nil
}

// loadKeys finds the keys that are locked: messages of theirs wait, or have failed.
func (d *dispatcher) loadKeys() error {
	prefix := keyOf(prefixWaiting, d.id)
	for from := prefix; ; {
		key, found := "", false
		for kv, err := range d.scan(from, after(prefix)) {
			if err != nil {
				return err
			}
			it, ok := parseItem(kv.Key, kv.Value)
			if !ok {
				return ErrCorrupt
			}
			key, found = it.key, true
			break
		}
		if !found {
			break
		}
		k := d.lock(key, -1)
		k.waiting.complete = false
		d.makeRunnable(key, k)
		from = after(waitingPrefix(d.id, key))
	}
	for _, p := range []byte{prefixReady, prefixDelayed} {
		prefix := keyOf(p, d.id)
		for kv, err := range d.scan(prefix, after(prefix)) {
			if err != nil {
				return err
			}
			it, ok := parseItem(kv.Key, kv.Value)
			if !ok {
				return ErrCorrupt
			}
			if it.in == inDelayed && it.attempts == 0 {
				continue // it was never handed out
			}
			key, locks, err := d.keyOf(it.offset)
			if err != nil {
				return err
			}
			if locks {
				d.lock(key, it.offset)
			}
		}
	}
	return nil
}

// lock notes that the message at offset goes first of its key; -1 is to be chosen.
func (d *dispatcher) lock(key string, offset int64) *keyLock {
	k := d.keys[key]
	if k == nil {
		k = &keyLock{holder: -1, waiting: newBuffer(d.id, item{in: inWaiting, key: key}, d.dir.limits.keyBuffer)}
		k.waiting.complete = true // the keys behind which messages wait are all known
		d.keys[key] = k
	}
	if offset >= 0 {
		k.holder = offset
	}
	return k
}

// read returns the record at offset; it is the caller's. What was written and not synced is read too.
func (d *dispatcher) read(offset int64) (log.Record, error) {
	r, err := d.p.Get(offset)
	if err == nil {
		return r, nil
	}
	for r, again := range d.p.Read(log.AtOffset(offset), log.ReadOptions{Unsynced: true}) {
		if again != nil {
			return log.Record{}, again
		}
		return r.Clone(), nil
	}
	return log.Record{}, err
}

// deadlines is a heap of leased messages.
type deadlines []*leased

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].deadline < h[j].deadline }
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *deadlines) Push(x any) {
	l := x.(*leased)
	l.place = len(*h)
	*h = append(*h, l)
}
func (h *deadlines) Pop() any {
	old := *h
	l := old[len(old)-1]
	l.place = -1
	old[len(old)-1] = nil
	*h = slices.Delete(old, len(old)-1, len(old))
	return l
}

func timeOf(us int64) time.Time {
	if us == held {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
