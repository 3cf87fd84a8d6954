package queue

import (
	"context"
	"errors"

	"github.com/stratalog/strata/log"
)

// Cancel takes a message off the queue that nobody has leased, say one that is delayed. One that is leased
// is a *LeasedError, one that is not there, or not any more, a *NoMessageError. It is durable as the log's
// default says.
func (q *Queue) Cancel(ctx context.Context, id int64) error {
	rs := []removal{{id: id}}
	return errors.Join(q.d.remove(ctx, rs, nil), rs[0].refused)
}

// removal is a message that is to be taken out of where it is without having been leased.
type removal struct {
	id      int64
	refused error // a *NoMessageError or *LeasedError: the others are taken out
}

// remove takes the messages out that are not refused, in one commit, to which more adds for each.
func (d *dispatcher) remove(ctx context.Context, rs []removal, more func(c *log.Commit, i int)) error {
	a, err := d.sequenceRemove(ctx, rs, more)
	if err != nil || a == nil {
		return err
	}
	_, err = a.Wait(ctx)
	return err
}

// sequenceRemove returns nil when all are refused.
func (d *dispatcher) sequenceRemove(ctx context.Context, rs []removal, more func(*log.Commit, int)) (*log.Ack, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	if err := d.settleView(ctx); err != nil {
		return nil, err
	}
	c := d.dir.l.NewCommit()
	var items []item
	for i := range rs {
		it, err := d.locate(ctx, rs[i].id)
		switch {
		case errors.Is(err, ErrNoMessage) || errors.Is(err, ErrLeased):
			rs[i].refused = err
			continue
		case err != nil:
			return nil, err
		}
		items = append(items, it)
		if more != nil {
			more(c, i)
		}
	}
	if len(items) == 0 {
		return nil, nil
	}
	// What the view told of what was looked at must not come as news when it is gone.
	if err := d.drain(ctx); err != nil {
		return nil, err
	}
	head, first := int64(0), d.headNow()
	for i := range items {
		if items[i].in == inBacklog && items[i].offset == first {
			first++
			head = first
		}
	}
	c.Require(condition(conditionNote, queueKey(d.id), encodeRemove(head, items)))
	a := c.CommitAsync(context.WithoutCancel(ctx))
	if !a.Sequenced() {
		_, err := a.Wait(context.Background())
		return nil, err
	}
	d.underway = append(d.underway, a)
	for i := range items {
		d.forgetItem(&items[i], head)
	}
	return a, nil
}

// locate returns where the message is. mu is held and the memory up to date.
func (d *dispatcher) locate(ctx context.Context, id int64) (it item, err error) {
	if l := d.byOffset[id]; l != nil {
		return it, &LeasedError{Queue: d.name, ID: id, Owner: l.lease.owner, Until: timeOf(l.deadline)}
	}
	if _, gone := d.gone[id]; gone || id < 0 {
		return it, &NoMessageError{d.name, id}
	}
	d.awaitUnderway()
	r, err := d.read(id)
	if errors.Is(err, log.ErrRange) || errors.Is(err, log.ErrLost) {
		return it, &NoMessageError{d.name, id}
	}
	if err != nil {
		return it, err
	}
	t := readTraits(r.Headers)
	if id >= d.headNow() && t.due == 0 && t.level == 0 {
		return item{offset: id, size: size(&r)}, nil
	}
	places := []item{
		{in: inReady, level: t.level, offset: id},
		{in: inDelayed, due: t.due, offset: id},
		{in: inWaiting, key: string(r.Key), offset: id},
	}
	for i := range places {
		key := places[i].viewKey(d.id)
		value, ok, err := d.dir.view.Get(ctx, key)
		if err != nil {
			return it, err
		}
		if ok {
			if it, ok = parseItem(key, value); !ok {
				return it, ErrCorrupt
			}
			return it, nil
		}
	}
	_, failed, err := d.dir.view.Get(ctx, keyOf(prefixHistory, d.id, uint64(id)))
	if err != nil {
		return it, err
	}
	if !failed {
		return it, &NoMessageError{d.name, id}
	}
	return d.locateRetried(id)
}

// locateRetried looks for a message that waits to be tried again.
func (d *dispatcher) locateRetried(id int64) (it item, err error) {
	prefix := keyOf(prefixDelayed, d.id)
	for kv, err := range d.scan(prefix, after(prefix)) {
		if err != nil {
			return it, err
		}
		it, ok := parseItem(kv.Key, kv.Value)
		if !ok {
			return it, ErrCorrupt
		}
		if it.offset == id {
			return it, nil
		}
	}
	return it, &NoMessageError{d.name, id}
}

// forgetItem takes it out of the memory.
func (d *dispatcher) forgetItem(it *item, head int64) {
	switch it.in {
	case inBacklog:
		if it.offset < head {
			if len(d.ahead) > 0 && d.ahead[0].offset == it.offset {
				d.ahead = d.ahead[1:]
			}
			d.readTo = max(d.readTo, it.offset+1)
			return
		}
		d.gone[it.offset] = *it
		for i := range d.ahead {
			if d.ahead[i].offset == it.offset {
				d.ahead[i].absent = true
			}
		}
	case inReady:
		d.ready[it.level].remove(it.pos())
	case inDelayed:
		d.delayed.remove(it.pos())
		for i, due := range d.due[it.level] {
			if due.offset == it.offset {
				d.due[it.level] = append(d.due[it.level][:i:i], d.due[it.level][i+1:]...)
				break
			}
		}
	case inWaiting:
		if k := d.keys[it.key]; k != nil {
			k.waiting.remove(it.pos())
		}
		return
	}
	if d.o.Ordered {
		d.unlockHolder(it.offset)
		d.in.wake()
	}
}

// Purge drops all messages that nobody has leased, and returns how many. It is not one commit: after a
// crash during the call some may be there still. It is durable when Purge returns. Messages that are sent meanwhile may be dropped or not.
func (q *Queue) Purge(ctx context.Context) (int64, error) {
	d := q.d
	if d.dir.l.Options().ReadOnly {
		return 0, log.ErrReadOnly
	}
	n, err := d.purge(ctx)
	if err != nil {
		return n, err
	}
	return n, d.dir.l.Sync(ctx)
}

// purge is Purge before it is synced, for which nobody else is to wait.
func (d *dispatcher) purge(ctx context.Context) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.settle(ctx); err != nil {
		return 0, err
	}
	d.awaitUnderway()
	before, err := d.state(ctx)
	if err != nil {
		return 0, err
	}
	d.loaded = false
	// Not cut short: nobody may look at the view before what was sequenced is in it.
	if err := d.conclude(context.WithoutCancel(ctx), false, condition(conditionNote, queueKey(d.id), []byte{opPurge})); err != nil {
		return 0, err
	}
	for _, p := range []byte{prefixReady, prefixDelayed, prefixWaiting} {
		if err := d.purgeKeys(ctx, keyOf(p, d.id)); err != nil {
			return 0, err
		}
	}
	s, err := d.state(ctx)
	return s.dropped - before.dropped, err
}

func (d *dispatcher) purgeKeys(ctx context.Context, from []byte) error {
	to := after(from)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var items []item
		for kv, err := range d.scan(from, to) {
			if err != nil {
				return err
			}
			it, ok := parseItem(kv.Key, kv.Value)
			if !ok {
				return ErrCorrupt
			}
			from = append(append([]byte(nil), kv.Key...), 0)
			if items = append(items, it); len(items) == d.dir.limits.drop {
				break
			}
		}
		if len(items) == 0 {
			return nil
		}
		if err := d.conclude(context.WithoutCancel(ctx), false, condition(conditionNote, queueKey(d.id), encodeRemove(0, items))); err != nil {
			return err
		}
	}
}
