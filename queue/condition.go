package queue

import (
	"encoding/binary"

	"github.com/stratalog/strata/log"
)

// The Key of a condition is that of the record that it carries, and Want the record's value, but for
// conditionRoom, which carries none.
const (
	conditionNote    = 1 // holds always
	conditionDeclare = 2 // holds while there is no queue of the name
	conditionLease   = 3 // opTake: holds always; opSettle, when strict: while all are leased
	conditionRoom    = 4 // Want: i64 messages | i64 bytes | i64 most ever sent | i64 most bytes ever sent
	conditionDedup   = 5 // holds unless the DedupID counts
	conditionEnd     = 6 // a queue's name goes; holds always
	conditionDrop    = 7 // what the view has under Key is dropped, of a queue that ends; holds always
)

func condition(kind uint8, key, want []byte) log.Condition {
	return log.Condition{View: viewName, Kind: kind, Key: key, Want: want}
}

func queueKey(id uint64) []byte { return be.AppendUint64(nil, id) }

func leaseKey(id, lease uint64) []byte {
	return be.AppendUint64(be.AppendUint64(make([]byte, 0, 16), id), lease)
}

func (v view) Key(c *log.Condition) ([]byte, error) {
	switch {
	case c.Kind == conditionNote && len(c.Key) >= 8 && len(c.Want) > 0:
		return append([]byte{prefixNote}, c.Key[:8]...), nil
	case (c.Kind == conditionDeclare || c.Kind == conditionEnd) && len(c.Want) > 0:
		return keyName(string(c.Key)), nil
	case c.Kind == conditionLease && len(c.Key) == 16 && len(c.Want) > 0:
		return append([]byte{prefixLease}, c.Key...), nil
	case c.Kind == conditionRoom && len(c.Key) == 8 && len(c.Want) == 32:
		return append([]byte{prefixTotals}, c.Key...), nil
	case c.Kind == conditionDrop && len(c.Key) > 8:
		return c.Key, nil
	case c.Kind == conditionDedup && len(c.Key) > 8:
		return append([]byte{prefixDedup}, c.Key...), nil
	}
	return nil, log.ErrCondition
}

func (v view) Carry(c *log.Condition, batches int) (string, []log.Record) {
	switch c.Kind {
	case conditionRoom:
		return "", nil
	case conditionDedup:
		u, _ := decodeDedup(c.Want)
		u.told = batches
		return viewName, []log.Record{{Key: c.Key, Value: u.encode()}}
	}
	return viewName, []log.Record{{Key: c.Key, Value: c.Want}}
}

func (v view) Verdict(c *log.Condition, value []byte) (*log.Duplicate, error) {
	switch c.Kind {
	case conditionDeclare:
		if value != nil {
			return nil, errDeclared
		}
	case conditionRoom:
		return nil, v.room(c, value)
	case conditionDedup:
		u, _ := decodeDedup(c.Want)
		there := duplicateOf(value, u.now)
		if there != nil {
			there.Twice = &RepeatedError{v.tell.name(be.Uint64(c.Key)), string(c.Key[8:])}
		}
		return there, nil
	case conditionLease:
		s, ok := decodeSettle(c.Want)
		if !ok || !s.strict {
			return nil, nil // a lease that is made has an id that no other has
		}
		_, entries, _ := splitLease(value)
		for i := range s.outcomes {
			o := &s.outcomes[i]
			at := findEntry(entries, o.offset)
			if at >= 0 {
				if e := decodeEntry(entries[at:]); o.holds(&e) {
					continue
				}
			}
			return nil, &LeaseError{Queue: v.tell.name(be.Uint64(c.Key)), ID: o.offset}
		}
	}
	return nil, nil
}

// room decides whether a bounded queue takes what is sent.
func (v view) room(c *log.Condition, value []byte) error {
	w := func(i int) int64 { return int64(be.Uint64(c.Want[8*i:])) }
	sent, bytes := sentTotals(value)
	if sent+w(0) <= w(2) && bytes+w(1) <= w(3) {
		return nil
	}
	d := v.tell.find(be.Uint64(c.Key))
	if d == nil {
		return &FullError{} // the queue is not open, so nobody hears it
	}
	return &FullError{
		Queue: d.name, Depth: sent - d.removed.Load(), Bytes: bytes - d.removedBytes.Load(), MaxDepth: d.o.MaxDepth, MaxBytes: d.o.MaxBytes,
	}
}

func sentTotals(value []byte) (sent, bytes int64) {
	if len(value) != 16 {
		return 0, 0
	}
	return int64(be.Uint64(value)), int64(be.Uint64(value[8:]))
}

func (v view) After(c *log.Condition, value []byte, s *log.Sequenced) []byte {
	switch c.Kind {
	case conditionDeclare:
		if q, err := newDeclared(s.Position, c.Want[1:]); err == nil {
			return q.encode()
		}
	case conditionEnd:
		q, ok := decodeDeclared(value)
		if !ok || c.Want[0] == opDelete {
			return nil
		}
		q.flags |= flagDeleting
		return q.encode()
	case conditionRoom:
		sent, bytes := sentTotals(value)
		return totals(sent+int64(be.Uint64(c.Want)), bytes+int64(be.Uint64(c.Want[8:])))
	case conditionDedup:
		u, _ := decodeDedup(c.Want)
		return encodeSent(u.until, s.Batches, s.Told)
	case conditionLease:
		return afterLease(c, value)
	case conditionDrop:
		return nil
	}
	return value
}

func afterLease(c *log.Condition, value []byte) []byte {
	if t, ok := decodeTake(c.Want); ok {
		return t.lease()
	}
	if s, ok := decodeSettle(c.Want); ok && value != nil {
		return settled(value, s.outcomes, nil)
	}
	return value
}

// room returns the condition that a bounded queue takes messages of so many bytes when no more than
// these were ever sent.
func room(id uint64, messages, bytes, most, mostBytes int64) log.Condition {
	want := make([]byte, 0, 32)
	for _, n := range []int64{messages, bytes, most, mostBytes} {
		want = binary.BigEndian.AppendUint64(want, uint64(n))
	}
	return condition(conditionRoom, queueKey(id), want)
}
