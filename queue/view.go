package queue

import (
	"bytes"
	"fmt"

	"github.com/stratalog/strata/log"
)

const (
	viewName = log.SystemPrefix + "queues"
	kind     = "queue" // of the topics of queues

	flagBounded  = 1
	flagDeleting = 2
)

// view knows where every message of every queue is. Its formats are in the package's doc. What it is
// derived from alone decides what it holds; it tells dispatchers what has happened, which changes
// nothing of that.
type view struct{ tell *directory }

func (view) Name() string     { return viewName }
func (view) Topics() []string { return []string{viewName} }
func (view) Kinds() []string  { return []string{kind} }

func (v view) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	for i := range c.Batches {
		b := &c.Batches[i]
		var err error
		switch {
		case b.Topic == viewName:
			for r, readErr := range b.Records() {
				if err = readErr; err == nil {
					err = v.operate(tx, c, r.Key, r.Value)
				}
				if err != nil {
					return fmt.Errorf("queue: position %d: %w", r.Position, err)
				}
			}
		case b.Kind == kind:
			err = v.sent(tx, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// declared is the value under a queue's name.
type declared struct {
	id      uint64
	flags   byte
	options []byte // as JSON
}

func (d *declared) encode() []byte {
	b := be.AppendUint64(make([]byte, 0, 9+len(d.options)), d.id)
	return append(append(b, d.flags), d.options...)
}

func decodeDeclared(b []byte) (d declared, ok bool) {
	if len(b) < 9 {
		return d, false
	}
	return declared{be.Uint64(b), b[8], b[9:]}, true
}

// sent folds in a batch of a queue's topic.
func (v view) sent(tx *log.ViewTx, b *log.AppliedBatch) error {
	value, err := tx.Get(keyName(b.Topic))
	if err != nil {
		return err
	}
	q, ok := decodeDeclared(value)
	if !ok || q.flags&flagDeleting != 0 {
		return nil
	}
	s, err := getState(tx, q.id)
	if err != nil {
		return err
	}
	backlog := false
	for r, err := range b.Records() {
		if err != nil {
			return err
		}
		n := size(&r)
		s.sent++
		s.sentBytes += n
		s.bytes += n
		t := readTraits(r.Headers)
		it := item{in: inBacklog, level: t.level, size: n, offset: r.Offset, due: t.due}
		switch {
		case t.due > 0:
			it.in = inDelayed
		case t.level > 0:
			it.in = inReady
		}
		s.enter(&it)
		if it.in == inBacklog {
			s.backlogBytes += n
			backlog = true
			continue
		}
		tx.Set(it.viewKey(q.id), it.viewValue())
		v.tell.placed(q.id, 0, it)
	}
	s.end = b.Offset + int64(b.Count)
	if err := s.set(tx, q.id); err != nil {
		return err
	}
	if q.flags&flagBounded != 0 {
		tx.Set(keyOf(prefixTotals, q.id), totals(s.sent, s.sentBytes))
	}
	if backlog { // of the others who waits was told when they can be received, or is when they are due
		v.tell.sent(q.id)
	}
	return nil
}

func getState(tx *log.ViewTx, id uint64) (state, error) {
	b, err := tx.Get(keyOf(prefixState, id))
	if err != nil {
		return state{}, err
	}
	return decodeState(b)
}

// operate folds in a record of the view's own topic.
func (v view) operate(tx *log.ViewTx, c *log.AppliedCommit, key, value []byte) error {
	if len(value) == 0 {
		return ErrCorrupt
	}
	switch value[0] {
	case opDeclare, opDeleting, opDelete:
		return v.declare(tx, c, key, value)
	case opDrop:
		tx.Delete(key)
		return nil
	}
	if len(key) < 8 {
		return ErrCorrupt
	}
	id := be.Uint64(key)
	switch value[0] {
	case opDedup:
		return noteDedup(tx, c, id, string(key[8:]), value)
	case opForget:
		ids, ok := decodeForget(value)
		if !ok {
			return ErrCorrupt
		}
		for i := range ids {
			if err := forget(tx, id, &ids[i]); err != nil {
				return err
			}
		}
		return nil
	}
	b, err := tx.Get(keyOf(prefixState, id))
	if err != nil {
		return err
	}
	if b == nil {
		return nil // the queue has ended, or never had a message
	}
	s, err := decodeState(b)
	if err != nil {
		return err
	}
	switch {
	case value[0] == opTake && len(key) == 16:
		t, ok := decodeTake(value)
		if !ok {
			return ErrCorrupt
		}
		applyTake(tx, id, be.Uint64(key[8:]), &s, &t)
	case value[0] == opSettle && len(key) == 16:
		o, ok := decodeSettle(value)
		if !ok {
			return ErrCorrupt
		}
		if err := v.applySettle(tx, c, id, be.Uint64(key[8:]), &s, &o); err != nil {
			return err
		}
	case value[0] == opRemove:
		head, items, ok := decodeRemove(value)
		if !ok {
			return ErrCorrupt
		}
		applyRemove(tx, id, &s, head, items)
		v.tell.freed(id)
	case value[0] == opPurge:
		s.head = s.end
		s.bytes -= s.backlogBytes
		s.dropped += s.backlog
		s.backlog, s.backlogBytes = 0, 0
		v.tell.freed(id)
	default:
		return ErrCorrupt
	}
	return s.set(tx, id)
}

// declare folds in the beginning and the end of a queue.
func (v view) declare(tx *log.ViewTx, c *log.AppliedCommit, name, value []byte) error {
	key := keyName(string(name))
	if value[0] == opDeclare {
		q, err := newDeclared(c.Position, value[1:])
		if err != nil {
			return err
		}
		tx.Set(key, q.encode())
		return nil
	}
	old, err := tx.Get(key)
	if err != nil {
		return err
	}
	q, ok := decodeDeclared(old)
	if !ok {
		return nil
	}
	if value[0] == opDeleting {
		q.flags |= flagDeleting
		tx.Set(key, q.encode())
		return nil
	}
	tx.Delete(key)
	tx.Delete(keyOf(prefixState, q.id))
	tx.Delete(keyOf(prefixTotals, q.id))
	return nil
}

// newDeclared returns the value under a queue's name, of a queue that is declared by the commit at
// position.
func newDeclared(position uint64, options []byte) (declared, error) {
	o, err := decodeOptions(options)
	if err != nil {
		return declared{}, err
	}
	q := declared{id: position, options: options}
	if o.bounded() {
		q.flags |= flagBounded
	}
	return q, nil
}

// leaveView takes it out of where it lies.
func leaveView(tx *log.ViewTx, id uint64, s *state, it *item) {
	s.leave(it)
	if it.in != inBacklog {
		tx.Delete(it.viewKey(id))
	}
}

func applyTake(tx *log.ViewTx, id, lease uint64, s *state, t *take) {
	s.head = max(s.head, t.head)
	for i := range t.leased {
		leaveView(tx, id, s, &t.leased[i])
		s.leased++
	}
	if blob := t.lease(); blob != nil {
		tx.Set(keyOf(prefixLease, id, lease), blob)
	}
	for i := range t.blocked {
		it := t.blocked[i]
		leaveView(tx, id, s, &it)
		it.in = inWaiting
		s.enter(&it)
		tx.Set(it.viewKey(id), it.viewValue())
	}
	for i := range t.expired {
		it := &t.expired[i]
		leaveView(tx, id, s, it)
		drop(tx, id, s, it.offset, it.size)
		s.dropped++
	}
	for _, offset := range t.gone {
		tx.Delete(keyOf(prefixGone, id, uint64(offset)))
	}
	if s.head >= s.end { // what is left of the backlog was lost to damage
		s.bytes -= s.backlogBytes
		s.dropped += s.backlog
		s.backlog, s.backlogBytes = 0, 0
	}
}

// drop forgets a message that leaves the queue.
func drop(tx *log.ViewTx, id uint64, s *state, offset, size int64) {
	s.bytes -= size
	tx.Delete(keyOf(prefixHistory, id, uint64(offset)))
}

func applyRemove(tx *log.ViewTx, id uint64, s *state, head int64, items []item) {
	s.head = max(s.head, head)
	for i := range items {
		it := &items[i]
		leaveView(tx, id, s, it)
		drop(tx, id, s, it.offset, it.size)
		s.dropped++
		if it.in == inBacklog && it.offset >= s.head {
			tx.Set(keyOf(prefixGone, id, uint64(it.offset)), it.viewValue())
		}
	}
}

func (v view) applySettle(tx *log.ViewTx, c *log.AppliedCommit, id, lease uint64, s *state, o *settle) error {
	key := keyOf(prefixLease, id, lease)
	blob, err := tx.Get(key)
	if err != nil || blob == nil {
		return err
	}
	var failed error
	left := settled(blob, o.outcomes, func(e leaseEntry, o *outcome) {
		it := item{in: inReady, level: e.level, attempts: e.attempts, size: e.size, offset: e.offset}
		switch o.what {
		case extended:
			v.tell.extended(id, lease, e.offset, o.until)
			return
		case done, dead:
			s.leased--
			if o.what == done {
				s.done++
			} else {
				s.dead++
			}
			drop(tx, id, s, e.offset, e.size)
			v.tell.settled(id, lease, e.offset)
			return
		case released:
			it.attempts--
		case delayed:
			it.in, it.due = inDelayed, o.until
		}
		s.leased--
		s.enter(&it)
		tx.Set(it.viewKey(id), it.viewValue())
		if o.what != released && failed == nil {
			failed = addHistory(tx, id, c, e.offset, o.cause)
		}
		v.tell.placed(id, lease, it)
	})
	if left == nil {
		tx.Delete(key)
	} else if !bytes.Equal(left, blob) {
		tx.Set(key, left)
	}
	return failed
}
