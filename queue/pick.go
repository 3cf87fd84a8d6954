package queue

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/stratalog/strata/log"
)

// picked is what one look has found: what to hand out, and what lay in the way.
type picked struct {
	out     []message
	blocked []message
	expired []message
	more    bool // there may be more to hand out
}

func (p *picked) nothing() bool { return len(p.out)+len(p.blocked)+len(p.expired) == 0 }

// favour is how many messages are handed out in a row before one of lower priority is, if there is any.
const favour = 15

// pick takes up to most messages out of the memory. mu is held, and the memory up to date. Behind an
// error the memory is not to be used: what was taken out is lost to it.
func (d *dispatcher) pick(most int) (p picked, err error) {
	now := d.now()
	aside := d.dir.limits.aside
	most = min(most, aside)
	if d.o.MaxInFlight > 0 {
		most = min(most, d.o.MaxInFlight-len(d.byOffset))
	}
	if err := d.ripen(now); err != nil {
		return p, err
	}
	dropped := 0 // bytes for the dead letters
	for len(p.out) < most && len(p.blocked)+len(p.expired) < aside && dropped < d.dir.together() {
		m, ok, err := d.next(&p)
		if err != nil {
			return p, err
		}
		if !ok {
			// More are due than there was room for.
			p.more = len(d.delayed.items) > 0 && d.delayed.items[0].due <= now
			return p, nil
		}
		switch {
		case m.absent:
			if _, removed := d.gone[m.offset]; removed {
				delete(d.gone, m.offset)
				d.passed = append(d.passed, m.offset)
			}
		case m.traits.expires > 0 && m.traits.expires <= now:
			p.expired = append(p.expired, m)
			if !d.o.Discard {
				dropped += letterRoom(&m.record, int(m.attempts))
			}
			d.unlockPicked(&m)
		case d.o.Ordered && m.record.Key != nil && !d.mayGo(&m):
			p.blocked = append(p.blocked, m)
		default:
			p.out = append(p.out, m)
		}
	}
	p.more = most > 0
	return p, nil
}

// mayGo reports whether no other message of its key goes before m, and locks the key for it.
func (d *dispatcher) mayGo(m *message) bool {
	key := string(m.record.Key)
	k := d.keys[key]
	if k == nil {
		d.lock(key, m.offset)
		return true
	}
	if k.holder == m.offset {
		return true
	}
	if k.holder >= 0 || m.in != inWaiting && !k.waiting.empty() {
		return false
	}
	k.holder = m.offset
	return true
}

// unlockPicked lets the next message of its key go, when m was to go first and will not.
func (d *dispatcher) unlockPicked(m *message) {
	if !d.o.Ordered {
		return
	}
	switch {
	case m.in == inWaiting:
		if k := d.keys[m.key]; k != nil && k.holder < 0 {
			k.holder = m.offset // it was chosen
			d.unlock(m.key, m.offset, true)
		}
	case m.lost:
		d.unlockHolder(m.offset)
	case m.record.Key != nil:
		d.unlock(string(m.record.Key), m.offset, true)
	}
}

// ripen moves those of the delayed to the others whose time has come.
func (d *dispatcher) ripen(now int64) error {
	if err := d.fill(d.delayed); err != nil {
		return err
	}
	moved := 0
	for len(d.delayed.items) > 0 && d.delayed.items[0].due <= now && moved < d.dir.limits.buffer {
		it := d.delayed.items[0]
		if len(d.due[it.level]) >= d.dir.limits.buffer {
			break
		}
		d.delayed.pop()
		moved++
		list := d.due[it.level]
		i, _ := slices.BinarySearchFunc(list, it.offset, func(it item, offset int64) int {
			return pos{0, it.offset}.compare(pos{0, offset})
		})
		d.due[it.level] = slices.Insert(list, i, it)
		if err := d.fill(d.delayed); err != nil {
			return err
		}
	}
	if moved > 0 && len(d.delayed.items) > 0 {
		d.wakeAt(d.delayed.items[0].due)
	}
	return nil
}

// fill has b look at the view, when it has run empty.
func (d *dispatcher) fill(b *buffer) error {
	if len(b.items) > 0 || b.complete {
		return nil
	}
	d.awaitUnderway()
	if err := b.fill(d.scan, d.taken); err != nil {
		return err
	}
	// What the view told of what it has shown is taken in at once: later, when the message was handed out,
	// it would look like news.
	return d.drainShown()
}

// errReload is returned inside of the package when the memory has to be looked up anew.
var errReload = errors.New("queue: the view has told too much")

// drainShown is drain where the memory cannot be looked up anew, since some of it was taken out.
func (d *dispatcher) drainShown() error {
	events, overflow := d.in.take(d.events)
	d.events = events
	if overflow {
		return errReload
	}
	for i := range events {
		d.take(&events[i])
	}
	return nil
}

// awaitUnderway waits until the view shows the commits that were sequenced: they have to be written for that, and
// need not be synced. When the log fails before, it takes no commit that could rest on what the view lacks.
func (d *dispatcher) awaitUnderway() {
	end := uint64(0)
	for _, a := range d.underway {
		end = max(end, a.End())
	}
	if d.underway = nil; end > 0 {
		_ = d.dir.view.Wait(context.Background(), end)
	}
}

// taken reports that the message at offset is out of the view's places already, which may not show.
func (d *dispatcher) taken(offset int64) bool {
	if d.byOffset[offset] != nil {
		return true
	}
	for level := range d.due {
		if _, found := slices.BinarySearchFunc(d.due[level], offset, func(it item, offset int64) int {
			return pos{0, it.offset}.compare(pos{0, offset})
		}); found {
			return true
		}
	}
	return false
}

// next takes the message out that is handed out next.
func (d *dispatcher) next(p *picked) (m message, ok bool, err error) {
	top, low := -1, -1 // the highest level with messages, and that of the oldest message below it
	oldest := int64(0)
	for level := MaxPriority; level >= 0; level-- {
		has, err := d.has(level)
		if err != nil {
			return m, false, err
		}
		switch {
		case has && top < 0:
			top, low = level, level
		case has:
			if first := d.first(level); low == top || first < oldest {
				low, oldest = level, first
			}
		}
		if top > 0 && level > 0 && d.favoured < favour {
			break // no other is asked for
		}
	}
	if top < 0 {
		return m, false, nil
	}
	level := top
	switch {
	case d.favoured >= favour && low < top:
		level, d.favoured = low, 0
	case d.favoured >= favour:
		d.favoured = 0
	case top > 0:
		d.favoured++
	default:
		d.favoured = 0
	}
	return d.pop(level)
}

// first returns the offset of the first message of a level that has one, whatever its key.
func (d *dispatcher) first(level int) int64 {
	first := int64(math.MaxInt64)
	if items := d.ready[level].items; len(items) > 0 {
		first = items[0].offset
	}
	if due := d.due[level]; len(due) > 0 {
		first = min(first, due[0].offset)
	}
	if level == 0 && len(d.ahead) > 0 {
		first = min(first, d.ahead[0].offset)
	}
	return first
}

// has reports whether there is a message of the level.
func (d *dispatcher) has(level int) (bool, error) {
	if err := d.fill(d.ready[level]); err != nil {
		return false, err
	}
	if len(d.ready[level].items) > 0 || len(d.due[level]) > 0 {
		return true, nil
	}
	if level > 0 {
		return false, nil
	}
	if len(d.runnable) > 0 {
		return true, nil
	}
	err := d.readAhead()
	return len(d.ahead) > 0, err
}

// pop takes the first message of the level out: the one that was sent first, but before the others those that
// wait behind their key. Others of the key would have to wait behind them in turn.
func (d *dispatcher) pop(level int) (m message, ok bool, err error) {
	b := d.ready[level]
	due := d.due[level]
	switch {
	case level == 0 && len(d.runnable) > 0:
		found, err := d.popWaiting(&m)
		if err != nil {
			return m, false, err
		}
		if !found {
			m.absent = true
			m.offset = -1
			return m, true, nil
		}
	case len(b.items) > 0 && (len(due) == 0 || b.items[0].offset < due[0].offset):
		m.item = b.items[0]
		b.pop()
	case len(due) > 0:
		m.item = due[0]
		d.due[level] = due[1:]
	default:
		if len(d.ahead) == 0 {
			return m, false, nil
		}
		m = d.ahead[0]
		d.ahead = d.ahead[1:]
		return m, true, nil
	}
	return m, true, d.fetch(&m)
}

// popWaiting takes the first message out that waits behind a key which is free.
func (d *dispatcher) popWaiting(m *message) (bool, error) {
	key := d.runnable[0]
	d.runnable = d.runnable[1:]
	k := d.keys[key]
	if k == nil {
		return false, nil
	}
	k.listed = false
	if k.holder >= 0 {
		return false, nil
	}
	if err := d.fill(k.waiting); err != nil {
		return false, err
	}
	if len(k.waiting.items) == 0 {
		delete(d.keys, key)
		return false, nil
	}
	m.item = k.waiting.items[0]
	k.waiting.pop()
	return true, nil
}

// fetch reads the record of a message.
func (d *dispatcher) fetch(m *message) error {
	r, err := d.read(m.offset)
	if errors.Is(err, log.ErrLost) {
		// Damage has taken it, and repair has given it up.
		m.traits.expires, m.lost = 1, true
		return nil
	}
	m.record, m.traits = r, readTraits(r.Headers)
	return err
}

// readAhead reads the backlog, when nothing of it is in memory.
func (d *dispatcher) readAhead() error {
	if len(d.ahead) > 0 {
		return nil
	}
	d.ahead = nil
	bytes := int64(0)
	for r, err := range d.p.Read(log.AtOffset(d.readTo), log.ReadOptions{Unsynced: true}) {
		var lost *log.LostError
		switch {
		case errors.As(err, &lost):
			d.readTo = max(d.readTo, lost.To)
			continue
		case err != nil:
			return err
		}
		d.readTo = r.Offset + 1
		m := message{record: r.Clone(), traits: readTraits(r.Headers)}
		m.item = item{offset: r.Offset, size: size(&r)}
		_, gone := d.gone[r.Offset]
		m.absent = gone || m.traits.due > 0 || m.traits.level > 0
		if m.absent && !gone {
			continue // it has a place of its own
		}
		d.ahead = append(d.ahead, m)
		if bytes += m.size; len(d.ahead) >= d.dir.limits.aheadRecords || bytes >= d.dir.limits.aheadBytes {
			break
		}
	}
	return nil
}

// headNow returns where the backlog begins now.
func (d *dispatcher) headNow() int64 {
	if len(d.ahead) > 0 {
		return d.ahead[0].offset
	}
	return d.readTo
}

// handOut leases what is there as o says, until then, and returns it in order. more says that others may find
// something too. Nothing is there when nothing is returned.
func (d *dispatcher) handOut(ctx context.Context, o *ReceiveOptions, until func(now int64) int64) (out []*Delivery, more bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.settle(ctx); err != nil {
		return nil, false, err
	}
	for settled := false; ; {
		p, err := d.pick(max(o.Max, 1))
		if errors.Is(err, errReload) {
			if err := d.load(ctx); err != nil {
				return nil, false, err
			}
			continue
		}
		if err != nil {
			d.loaded = false
			return nil, false, err
		}
		if p.nothing() {
			if settled {
				return nil, false, nil
			}
			settled = true
			d.awaitUnderway() // what has expired is gone when there was nothing
			if err := d.settleView(ctx); err != nil {
				return nil, false, err
			}
			continue
		}
		t := take{head: d.headNow(), owner: o.Owner, until: until(d.now()), gone: d.passed[:min(len(d.passed), d.dir.limits.aside)]}
		t.leased, t.blocked, t.expired = items(p.out), items(p.blocked), items(p.expired)
		id := d.dir.lease.Add(1)
		for d.leases[id] != nil { // of an opening that has drawn alike
			id = d.dir.lease.Add(1)
		}
		a, err := d.commitTake(ctx, id, &t, p.expired, o.Synced)
		if err != nil {
			d.loaded = false
			return nil, false, err
		}
		if out = d.took(id, &t, &p, a); len(out) > 0 {
			return out, p.more, nil
		}
	}
}

func items(ms []message) []item {
	if len(ms) == 0 {
		return nil
	}
	out := make([]item, len(ms))
	for i := range ms {
		out[i] = ms[i].item
		out[i].key = string(ms[i].record.Key)
		if ms[i].in == inWaiting {
			out[i].key = ms[i].item.key
		}
	}
	return out
}

// commitTake has t sequenced, and what has expired moved.
func (d *dispatcher) commitTake(ctx context.Context, id uint64, t *take, expired []message, synced bool) (*log.Ack, error) {
	c := d.newCommit(synced)
	if !d.o.Discard {
		for i := range expired {
			if expired[i].lost {
				continue
			}
			if err := d.buryExpired(ctx, c, &expired[i]); err != nil {
				return nil, err
			}
		}
	}
	c.Require(condition(conditionLease, leaseKey(d.id, id), t.encode()))
	a := c.CommitAsync(context.WithoutCancel(ctx))
	if !a.Sequenced() {
		_, err := a.Wait(context.Background())
		switch {
		case err == nil:
			err = ErrCorrupt // a take is never a duplicate
		case errors.Is(err, log.ErrNoTopic):
			err = errNoDead // no other topic is in the commit
		}
		return nil, err
	}
	return a, nil
}

func (d *dispatcher) buryExpired(ctx context.Context, c *log.Commit, m *message) error {
	var history []Attempt
	if m.attempts > 0 {
		var err error
		if history, err = d.history(ctx, m.offset); err != nil {
			return err
		}
	}
	return d.bury(c, &m.record, int(m.attempts), "expired", history)
}

// took notes what was taken by the lease id.
func (d *dispatcher) took(id uint64, t *take, p *picked, a *log.Ack) []*Delivery {
	d.head = t.head
	d.passed = d.passed[len(t.gone):]
	kept := d.underway[:0]
	for _, u := range d.underway {
		select {
		case <-u.Done():
		default:
			kept = append(kept, u)
		}
	}
	d.underway = append(kept, a)
	for i := range t.blocked {
		it := t.blocked[i]
		it.in, it.due = inWaiting, 0
		k := d.lock(it.key, -1)
		k.waiting.add(it)
		if k.holder < 0 { // what it waited for has expired meanwhile
			d.makeRunnable(it.key, k)
			p.more = true
		}
	}
	if len(t.leased) == 0 {
		return nil
	}
	ls := &lease{id: id, owner: t.owner, entries: make(map[int64]*leased, len(t.leased))}
	d.leases[id] = ls
	d.early.Store(id, nil)
	out := make([]*Delivery, len(t.leased))
	for i := range t.leased {
		it := &t.leased[i]
		r := &p.out[i].record
		e := leaseEntry{it.offset, t.until, it.attempts + 1, it.level, it.size}
		l := d.enlease(ls, e, string(r.Key), d.o.Ordered && r.Key != nil)
		out[i] = newDelivery(d, l, *r, p.out[i].traits, a)
	}
	return out
}
