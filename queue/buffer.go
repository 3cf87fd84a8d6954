package queue

import (
	"iter"
	"slices"

	"github.com/stratalog/strata/log"
)

// buffer holds the first of the messages that lie in one stretch of the view's keys, in their order, so
// that handing them out needs no look at the view for each, and no look passes over those that went
// before. The rest stays in the view until the buffer has run empty.
type buffer struct {
	id   uint64
	item item // what all of them have in common: in, level, key
	most int
	// items are in order. Every message that is in the view and lies before place is among them.
	items []item
	place pos
	// complete says that every message of the stretch is among items, whatever the place.
	complete bool
}

// pos is the order within a stretch.
type pos struct{ due, offset int64 }

func (it *item) pos() pos { return pos{it.due, it.offset} }

func (p pos) compare(q pos) int {
	switch {
	case p.due < q.due || p.due == q.due && p.offset < q.offset:
		return -1
	case p == q:
		return 0
	}
	return 1
}

// next is the position right behind p.
func (p pos) next() pos { return pos{p.due, p.offset + 1} }

func newBuffer(id uint64, common item, most int) *buffer {
	return &buffer{id: id, item: common, most: most}
}

func (b *buffer) search(p pos) (int, bool) {
	return slices.BinarySearchFunc(b.items, p, func(it item, p pos) int { return it.pos().compare(p) })
}

// add takes in a message that came into the stretch.
func (b *buffer) add(it item) {
	p := it.pos()
	if !b.complete && p.compare(b.place) >= 0 {
		return // it is met when the view is looked at
	}
	i, found := b.search(p)
	if found {
		return
	}
	b.items = slices.Insert(b.items, i, it)
	if len(b.items) > b.most {
		last := len(b.items) - 1
		b.place, b.complete = b.items[last].pos(), false
		b.items = b.items[:last]
	}
}

// remove takes a message out, if it is there.
func (b *buffer) remove(p pos) {
	if i, found := b.search(p); found {
		b.items = slices.Delete(b.items, i, i+1)
	}
}

// pop takes the first one out.
func (b *buffer) pop() {
	b.items = b.items[1:]
	if len(b.items) == 0 {
		b.items = nil
	}
}

// empty reports whether there is no message in the stretch, as far as is known without a look.
func (b *buffer) empty() bool { return b.complete && len(b.items) == 0 }

// bounds returns the keys of the stretch, from the place on.
func (b *buffer) bounds() (from, to []byte) {
	it := b.item
	it.due, it.offset = b.place.due, b.place.offset
	switch it.in {
	case inReady:
		return it.viewKey(b.id), after(append(keyOf(prefixReady, b.id), MaxPriority-it.level))
	case inDelayed:
		return it.viewKey(b.id), after(keyOf(prefixDelayed, b.id))
	default:
		return it.viewKey(b.id), after(waitingPrefix(b.id, it.key))
	}
}

// fill takes in what the view has, when the buffer is empty. What is taken already by skip is left out.
func (b *buffer) fill(scan func(from, to []byte) iter.Seq2[log.KeyValue, error], skip func(offset int64) bool) error {
	if len(b.items) > 0 || b.complete {
		return nil
	}
	for kv, err := range scan(b.bounds()) {
		if err != nil {
			return err
		}
		it, ok := parseItem(kv.Key, kv.Value)
		if !ok {
			return ErrCorrupt
		}
		if len(b.items) == b.most {
			return nil
		}
		b.place = it.pos().next()
		if !skip(it.offset) {
			b.items = append(b.items, it)
		}
	}
	b.complete = true
	return nil
}
