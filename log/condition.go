package log

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
)

// ErrCondition is returned for a condition that nobody can answer.
var ErrCondition = errors.New("log: unknown condition")

// Condition is what must hold for a commit to happen. It is data: what is asked (Kind), of what
// (Key), and what the answer must be (Want), in the encoding of the view that answers.
type Condition struct {
	// View names the view that answers; "" is the log itself.
	View string
	Kind uint8
	Key  []byte
	Want []byte

	// piece is one more than the index of the piece of the commit that stands and falls with this.
	piece int
}

// conditionOffset is the one kind that the log itself answers: Key is the number of the partition in
// the log, 4 bytes, Want the offset, 8 bytes, both little-endian.
const conditionOffset = 1

// ExpectOffset holds when next is the offset that p's next record gets. Otherwise the commit gets an
// *OffsetError.
func ExpectOffset(p *Partition, next int64) Condition {
	return Condition{
		Kind: conditionOffset,
		Key:  binary.LittleEndian.AppendUint32(nil, p.number),
		Want: binary.LittleEndian.AppendUint64(nil, uint64(next)),
	}
}

// checkOffsetLocked answers a condition on an offset.
func (l *Log) checkOffsetLocked(c *Condition) (p *Partition, err error) {
	if c.Kind != conditionOffset || len(c.Key) != 4 || len(c.Want) != 8 {
		return nil, ErrCondition
	}
	p = l.partition(binary.LittleEndian.Uint32(c.Key))
	if p == nil {
		return nil, ErrPartition
	}
	if want := int64(binary.LittleEndian.Uint64(c.Want)); p.next != want {
		return p, &OffsetError{Topic: p.topic.name, Partition: p.index, Expected: want, Actual: p.next}
	}
	return p, nil
}

// answer is what a commit knows towards the verdict on one of its conditions.
type answer struct {
	condition int
	view      *view
	key       string
	value     []byte // of the key, as of applied or later; nil when it has none
	applied   uint64
	// piece is one more than the index of the piece that stands and falls with the condition, or 0.
	piece int
	// earlier is one more than the index of the last answer before it with the same key, or 0: this one
	// is given as if what that stands for had happened. later says that one behind it has its key.
	earlier int
	later   bool
	after   []byte // of the key, when the commit happens
}

// resolve finds who answers c's conditions, and waits while those are too far behind.
func (c *Commit) resolve(ctx context.Context) error {
	l := c.l
	c.answers = c.answers[:0]
	for i := range c.conditions {
		cond := &c.conditions[i]
		if cond.View == "" {
			continue
		}
		v, err := l.answerer(ctx, cond.View)
		if err != nil {
			return err
		}
		key, err := v.answers.Key(cond)
		if err != nil {
			return err
		}
		c.answers = append(c.answers, answer{condition: i, view: v, key: string(key), piece: cond.piece})
	}
	c.chain()
	seen := len(c.answers) > 0
	for _, pc := range c.pieces {
		seen = seen || pc.p.viewed.Load() != 0
	}
	if seen && l.applier.active.Load() {
		return l.applier.makeWay(ctx)
	}
	return nil
}

// chain links the answers that rest on the same key.
func (c *Commit) chain() {
	if len(c.answers) < 2 {
		return
	}
	last := make(map[windowKey]int, len(c.answers))
	for i := range c.answers {
		a := &c.answers[i]
		k := windowKey{a.view, a.key}
		if a.earlier = last[k]; a.earlier > 0 {
			c.answers[a.earlier-1].later = true
		}
		last[k] = i + 1
	}
}

// answerer returns the view that answers conditions for name. The engine's own are registered by
// their first use.
func (l *Log) answerer(ctx context.Context, name string) (*view, error) {
	v := l.findView(name)
	if v == nil {
		own := engineView(name)
		if own == nil {
			return nil, ErrCondition
		}
		h, err := l.Register(ctx, own)
		if err != nil {
			return nil, err
		}
		v = h.v
	}
	if v.answers == nil {
		return nil, ErrCondition
	}
	return v, v.usable()
}

// readAnswers reads what the verdict on c's conditions rests on, as it is applied.
func (c *Commit) readAnswers() error {
	for i := range c.answers {
		a := &c.answers[i]
		a.applied = c.l.applier.applied.Load() // before the value, which may be newer
		cell, err := a.view.get(a.key)
		if err != nil {
			return err
		}
		a.value = cell.value
	}
	return nil
}

// freshLocked reports whether what c has read can be brought up to date by the window.
func (l *Log) freshLocked(c *Commit) bool {
	for i := range c.answers {
		if c.answers[i].applied < l.window.floor {
			return false
		}
	}
	return true
}

// addCarried adds the records that c's conditions bring.
func (c *Commit) addCarried() error {
	if c.carried {
		return nil // c was refused before, and is tried again
	}
	c.told = len(c.pieces)
	for i := range c.answers {
		a := &c.answers[i]
		topic, records := a.view.answers.Carry(&c.conditions[a.condition], c.told)
		if len(records) == 0 {
			continue
		}
		t, err := c.l.Topic(topic)
		if err != nil {
			return err
		}
		was := c.system
		c.system = true
		c.AppendTo(t.Partition(0), records...)
		c.system = was
		if c.err != nil {
			return c.err
		}
	}
	c.carried = true
	return nil
}

// errMixed is returned for a commit of which a part is there already, and a part is not.
var errMixed = errors.New("log: some batches of the commit are duplicates, and some are not")

// checkOffsetsLocked answers those of c's conditions that the log itself answers.
func (l *Log) checkOffsetsLocked(c *Commit) error {
	for i := range c.conditions {
		if c.conditions[i].View != "" {
			continue
		}
		if p, err := l.checkOffsetLocked(&c.conditions[i]); err != nil {
			if p != nil && p.next > p.synced.Load() {
				c.rests = l.position
			}
			return err
		}
	}
	return nil
}

// verdictLocked decides on c's conditions. What the answer rests on may not be durable yet: see rest.
// That the commit is there already comes before what its other conditions say: they were met when it
// happened, and that it happened may be what has made an end of them.
func (l *Log) verdictLocked(c *Commit) (*Result, error) {
	c.rests = 0
	refused := l.checkOffsetsLocked(c)
	if len(c.answers) == 0 {
		return nil, refused
	}
	var dup *Result
	bound, bounded := 0, 0
	s := l.foreseeLocked(c)
	for i := range c.answers {
		a := &c.answers[i]
		rests := max(a.applied, l.applier.applied.Load())
		if e, ok := l.window.entries[windowKey{a.view, a.key}]; ok {
			a.value, rests = e.value, max(rests, e.position)
		}
		if a.earlier > 0 {
			a.value = c.answers[a.earlier-1].after
		}
		a.after = a.value
		d, err := a.view.answers.Verdict(&c.conditions[a.condition], a.value)
		if err != nil || d != nil {
			c.rests = max(c.rests, rests)
		}
		if err != nil {
			if refused == nil {
				refused = err
			}
			continue
		}
		if a.piece > 0 {
			bound++
		}
		if d != nil && a.earlier > 0 && a.piece == 0 {
			if refused == nil {
				refused = d.Twice
			}
			continue // of this very commit: the same condition twice
		}
		if d == nil {
			a.after = a.view.answers.After(&c.conditions[a.condition], a.value, s)
			continue
		}
		if a.piece == 0 {
			dup = l.duplicate(d)
			if len(c.refs) > 0 && len(d.Batches) == c.told && c.told > 1 {
				dup.refs = slices.Clone(c.refs)
			}
			return dup, nil
		}
		bounded++
		if dup == nil {
			dup = l.duplicate(d)
		} else {
			dup.batches = append(dup.Batches(), l.duplicate(d).AppendedBatch)
		}
	}
	if refused != nil {
		return nil, refused
	}
	if bounded > 0 && bounded < bound {
		return nil, errMixed
	}
	return dup, nil
}

// duplicate returns the result of a commit that was there already.
func (l *Log) duplicate(d *Duplicate) *Result {
	r := &Result{Duplicate: true}
	batches := make([]AppendedBatch, 0, len(d.Batches))
	for _, b := range d.Batches {
		out := AppendedBatch{Offset: b.Offset, Count: b.Count, Position: b.Position}
		if p := l.partition(b.Number); p != nil {
			out.Topic, out.Partition = p.topic, p.index
		} else {
			out.Topic = l.goneTopic()
		}
		batches = append(batches, out)
	}
	if len(batches) > 0 {
		r.AppendedBatch = batches[0]
	}
	if len(batches) > 1 {
		r.batches = batches
	}
	return r
}

// goneTopic is the handle of a topic that was deleted since.
func (l *Log) goneTopic() *Topic {
	t := &Topic{l: l}
	t.options.Store(&TopicOptions{})
	t.partitions.Store(&[]*Partition{})
	t.deleted.Store(true)
	return t
}

// rest waits until what a verdict rests on has the durability that c asks for.
func (l *Log) rest(c *Commit) error {
	if c.rests == 0 || c.durability == Buffered {
		return nil
	}
	if l.writtenPosition.Load() < c.rests {
		if err := l.writeOut(); err != nil {
			return err
		}
	}
	if c.durability == Synced && l.syncedPosition.Load() < c.rests {
		if err := l.syncWritten(); err != nil {
			return l.fail(err, nil)
		}
	}
	return nil
}

// sequencedLocked notes what c, which has its place, makes of the keys of its conditions.
func (l *Log) sequencedLocked(c *Commit) {
	if c.durability == Buffered {
		l.bufferedTo = l.position
	}
	for i := range c.answers {
		a := &c.answers[i]
		if a.later || a.earlier == 0 && sameBytes(a.after, a.value) {
			continue
		}
		l.window.put(windowKey{a.view, a.key}, a.after, l.position, l.applier.applied.Load())
	}
}

// foreseeLocked returns the place that c gets if it happens.
func (l *Log) foreseeLocked(c *Commit) *Sequenced {
	s := &Sequenced{Position: l.position, Told: c.told, Batches: make([]BatchPlace, 0, len(c.pieces))}
	position := l.position
	for _, pc := range c.pieces {
		s.Batches = append(s.Batches, BatchPlace{Number: pc.p.number, Offset: pc.p.next, Count: pc.count, Position: position})
		position += uint64(pc.count)
		pc.p.next += int64(pc.count) // a later piece may be of the same partition
	}
	for _, pc := range c.pieces {
		pc.p.next -= int64(pc.count)
	}
	return s
}

// sameBytes reports whether a and b are the very same slice.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (a == nil) == (b == nil) && (len(a) == 0 || &a[0] == &b[0])
}
