package queue

import "encoding/binary"

// Operations on a queue, as they stand in the records of the topic __strata.queues: a letter, and what
// is said in the package's doc.
const (
	opDeclare  = 'D' // key: the name
	opDeleting = 'Z' // key: the name
	opDelete   = 'X' // key: the name
	opTake     = 't' // key: be64 queue | be64 lease
	opSettle   = 's' // key: be64 queue | be64 lease
	opRemove   = 'x' // key: be64 queue
	opPurge    = 'p' // key: be64 queue
	opDedup    = 'u' // key: be64 queue | id
	opForget   = 'f' // key: be64 queue
	opDrop     = 'k' // key: the key of the view that is dropped
)

// take hands messages out: it moves the head of the backlog, leases what was picked, and sets aside what
// lay in the way.
type take struct {
	head    int64
	owner   string
	leased  []item // with the attempts before this one
	until   int64  // of the lease, µs, or held
	blocked []item // to wait behind their key
	expired []item // to be dropped, or moved to the dead letters in this commit
	gone    []int64
}

func appendItem(b []byte, it *item) []byte {
	b = append(b, byte(it.in), it.level)
	b = binary.AppendUvarint(b, uint64(it.offset))
	b = binary.AppendUvarint(b, uint64(it.attempts))
	b = binary.AppendUvarint(b, uint64(it.size))
	if it.in == inDelayed {
		b = binary.AppendUvarint(b, uint64(it.due))
	}
	return b
}

// item reads an item; keyed says that its key follows.
func (d *decoder) item(keyed bool) (it item) {
	it.in, it.level = source(d.byte()), d.byte()
	it.offset = int64(d.uvarint())
	it.attempts = uint32(d.uvarint())
	it.size = int64(d.uvarint())
	if it.in == inDelayed {
		it.due = int64(d.uvarint())
	}
	if keyed || it.in == inWaiting {
		it.key = d.text()
	}
	if it.in > inWaiting || it.level > MaxPriority {
		d.fail()
	}
	return it
}

func appendItems(b []byte, items []item, keyed bool) []byte {
	b = binary.AppendUvarint(b, uint64(len(items)))
	for i := range items {
		b = appendItem(b, &items[i])
		if keyed || items[i].in == inWaiting {
			b = appendText(b, items[i].key)
		}
	}
	return b
}

func (d *decoder) items(keyed bool) (items []item) {
	n := d.count()
	if n > 0 {
		items = make([]item, 0, n)
	}
	for range n {
		items = append(items, d.item(keyed))
	}
	return items
}

func (t *take) encode() []byte {
	b := append(make([]byte, 0, 48+12*len(t.leased)), opTake)
	b = binary.AppendUvarint(b, uint64(t.head))
	b = binary.AppendUvarint(b, uint64(t.until))
	b = appendText(b, t.owner)
	b = appendItems(b, t.leased, false)
	b = appendItems(b, t.blocked, true)
	b = appendItems(b, t.expired, false)
	b = binary.AppendUvarint(b, uint64(len(t.gone)))
	for _, offset := range t.gone {
		b = binary.AppendUvarint(b, uint64(offset))
	}
	return b
}

func decodeTake(b []byte) (t take, ok bool) {
	d := decoder{b: b}
	if d.byte() != opTake {
		return t, false
	}
	t.head = int64(d.uvarint())
	t.until = int64(d.uvarint())
	t.owner = d.text()
	t.leased, t.blocked, t.expired = d.items(false), d.items(true), d.items(false)
	for range d.count() {
		t.gone = append(t.gone, int64(d.uvarint()))
	}
	return t, !d.bad && len(d.b) == 0
}

// lease returns the lease that t makes.
func (t *take) lease() []byte {
	if len(t.leased) == 0 {
		return nil
	}
	entries := make([]leaseEntry, len(t.leased))
	for i := range t.leased {
		it := &t.leased[i]
		entries[i] = leaseEntry{it.offset, t.until, it.attempts + 1, it.level, it.size}
	}
	return newLease(t.owner, entries)
}

// ending says what becomes of a leased message.
type ending uint8

const (
	done      ending = iota // handled
	dead                    // given up: moved to the dead letters in this commit, or dropped
	returned                // can be received again, after an attempt that failed
	released                // can be received again; the attempt does not count
	delayed                 // can be received again from until on
	extended                // stays leased, until then
	unchanged               // stays leased: for a condition that only asks
)

// outcome is what becomes of one leased message.
type outcome struct {
	what   ending
	offset int64
	// until, in µs, is of delayed and extended. Of dead and returned it is, when it is not 0, by when the
	// lease must have ended: one that was extended meanwhile is not touched.
	until int64
	cause string // of an attempt that failed
}

// holds reports whether the lease of e has ended by when o says that it must have.
func (o *outcome) holds(e *leaseEntry) bool {
	return o.until == 0 || o.what != dead && o.what != returned || e.deadline <= o.until
}

// settle is what becomes of messages of one lease.
type settle struct {
	// strict says that the commit is refused when one of them is not leased any more; otherwise that one
	// is passed over.
	strict   bool
	outcomes []outcome
}

func (s *settle) encode() []byte {
	b := append(make([]byte, 0, 8+12*len(s.outcomes)), opSettle, 0)
	if s.strict {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, uint64(len(s.outcomes)))
	for i := range s.outcomes {
		o := &s.outcomes[i]
		b = binary.AppendUvarint(append(b, byte(o.what)), uint64(o.offset))
		switch o.what {
		case delayed, extended, dead, returned:
			b = binary.AppendUvarint(b, uint64(o.until))
		}
		switch o.what {
		case delayed, returned:
			b = appendText(b, o.cause)
		}
	}
	return b
}

func decodeSettle(b []byte) (s settle, ok bool) {
	d := decoder{b: b}
	if d.byte() != opSettle {
		return s, false
	}
	s.strict = d.byte() == 1
	n := d.count()
	s.outcomes = make([]outcome, 0, n)
	for range n {
		o := outcome{what: ending(d.byte()), offset: int64(d.uvarint())}
		switch o.what {
		case done, released, unchanged:
		case extended, dead:
			o.until = int64(d.uvarint())
		case delayed, returned:
			o.until = int64(d.uvarint())
			o.cause = d.text()
		default:
			d.fail()
		}
		s.outcomes = append(s.outcomes, o)
	}
	return s, !d.bad && len(d.b) == 0
}

// encodeRemove encodes messages that are taken out without having been leased.
func encodeRemove(head int64, items []item) []byte {
	b := binary.AppendUvarint([]byte{opRemove}, uint64(head))
	return appendItems(b, items, false)
}

func decodeRemove(b []byte) (head int64, items []item, ok bool) {
	d := decoder{b: b}
	if d.byte() != opRemove {
		return 0, nil, false
	}
	head = int64(d.uvarint())
	items = d.items(false)
	return head, items, !d.bad && len(d.b) == 0
}

// dedup notes that a message with a DedupID is in the commit.
type dedup struct {
	now, until int64 // µs; until is 0 for ever
	told       int   // how many batches the commit has without what is carried
}

func (u *dedup) encode() []byte {
	b := binary.AppendUvarint([]byte{opDedup}, uint64(u.now))
	b = binary.AppendUvarint(b, uint64(u.until))
	return binary.AppendUvarint(b, uint64(u.told))
}

func decodeDedup(b []byte) (u dedup, ok bool) {
	d := decoder{b: b}
	if d.byte() != opDedup {
		return u, false
	}
	u.now, u.until, u.told = int64(d.uvarint()), int64(d.uvarint()), int(d.uvarint())
	return u, !d.bad && len(d.b) == 0
}

// expiredID is a DedupID whose window has ended.
type expiredID struct {
	until int64
	id    string
}

func encodeForget(ids []expiredID) []byte {
	b := binary.AppendUvarint([]byte{opForget}, uint64(len(ids)))
	for i := range ids {
		b = appendText(binary.AppendUvarint(b, uint64(ids[i].until)), ids[i].id)
	}
	return b
}

func decodeForget(b []byte) (ids []expiredID, ok bool) {
	d := decoder{b: b}
	if d.byte() != opForget {
		return nil, false
	}
	for range d.count() {
		ids = append(ids, expiredID{int64(d.uvarint()), d.text()})
	}
	return ids, !d.bad && len(d.b) == 0
}
