package log

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
)

// Producer numbers its batches, so that the log knows a batch that it is sent again: an append whose
// reply was lost is repeated with the same sequence number, and is stored once. Its methods may be
// called concurrently.
//
// A producer is known by its name. Its id stays; each registration raises its epoch, which fences the
// handles of earlier ones off: a restarted program shuts out what is left of itself. Sequence numbers
// count records, per partition, from 0 in each epoch up to 2^31-1, behind which 0 follows.
type Producer struct {
	l     *Log
	name  string
	id    int64
	epoch int16

	// sending is held by Send from numbering until the commit has its place, so that the numbers are
	// in log order. It guards next: by partition, the number that its next record gets.
	sending sync.Mutex
	next    map[uint32]int32
}

// ErrFenced is matched by every *FencedError.
var ErrFenced = errors.New("log: fenced")

// FencedError is returned for a batch of a producer that was registered again since, or never was.
type FencedError struct {
	ID int64
	// Epoch is the batch's, Current the one in force, or -1 for a producer that was never registered.
	Epoch, Current int16
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("log: producer %d has epoch %d, not %d", e.ID, e.Current, e.Epoch)
}

// Is makes errors.Is(err, ErrFenced) true.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// ErrSequence is matched by every *SequenceError.
var ErrSequence = errors.New("log: out of sequence")

// SequenceError is returned for a batch that does not follow the producer's last one in its partition,
// and is none of the last five.
type SequenceError struct {
	ID            int64
	Expected, Got int32
	// Old says that the batch lies before what is remembered: it may be there already. Otherwise there
	// is a gap in front of it, or its range differs from that of the batch that was sent before.
	Old bool
}

func (e *SequenceError) Error() string {
	what := ""
	if e.Old {
		what = ", which lies too far back"
	}
	return fmt.Sprintf("log: producer %d: sequence number %d is expected, not %d%s", e.ID, e.Expected, e.Got, what)
}

// Is makes errors.Is(err, ErrSequence) true.
func (e *SequenceError) Is(target error) bool { return target == ErrSequence }

// Producer registers the producer called name, durably, and returns a handle on it. Handles that were
// returned before, also in other processes, are fenced off.
func (l *Log) Producer(ctx context.Context, name string) (*Producer, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	v, err := l.answerer(ctx, producersView{}.Name())
	if err != nil {
		return nil, err
	}
	for {
		id, err := l.producerID(ctx, name, nil)
		if err != nil {
			return nil, err
		}
		epoch, err := l.raiseEpoch(ctx, v, id)
		if errors.Is(err, errEpochs) {
			// The next registration finds another id under the name.
			if _, err = l.producerID(ctx, name, binary.BigEndian.AppendUint64(nil, uint64(id))); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		return &Producer{l: l, name: name, id: id, epoch: epoch, next: map[uint32]int32{}}, nil
	}
}

// producerID returns the id that belongs to name: the offset of the record that gave it. spent is one
// whose epochs are used up, and which is to be replaced.
func (l *Log) producerID(ctx context.Context, name string, spent []byte) (int64, error) {
	c := l.NewCommit()
	c.Durability(Synced)
	c.Require(Condition{View: producersView{}.Name(), Kind: conditionName, Key: []byte(name), Want: spent})
	r, err := c.Commit(ctx)
	return r.Offset, err
}

// raiseEpoch registers the producer once more and returns its epoch.
func (l *Log) raiseEpoch(ctx context.Context, v *view, id int64) (int16, error) {
	c := l.NewCommit()
	c.Durability(Synced)
	c.Require(Condition{View: v.name, Kind: conditionRaise, Key: binary.BigEndian.AppendUint64(nil, uint64(id))})
	if _, err := c.Commit(ctx); err != nil {
		return 0, err
	}
	return decodeEpoch(c.answers[0].after), nil
}

// Name returns the producer's name.
func (p *Producer) Name() string { return p.name }

// ID returns what the producer's batches carry. It is the same for every registration of the name,
// until its 32,768 epochs are used up.
func (p *Producer) ID() int64 { return p.id }

// Epoch returns the number of this registration.
func (p *Producer) Epoch() int16 { return p.epoch }

// Append appends records to part as one batch whose first record has this sequence number, in a
// commit of its own, with the log's default durability. A batch that is one of the producer's last
// five in the partition is not written again: its first Result is returned, with Duplicate set. Any
// other that does not follow the last one is a *SequenceError.
func (p *Producer) Append(ctx context.Context, part *Partition, sequence int32, records ...Record) (Result, error) {
	c := p.l.borrow()
	c.AppendSequenced(part, p, sequence, records...)
	return p.l.finish(ctx, c)
}

// AppendSequenced adds records to part as one batch of the producer, with the sequence number of its
// first record. A commit can have one batch of a producer for each partition. When all such batches of
// a commit were appended before, it is not written again and its Result tells where they are, and of
// nothing else; when only some were, it is refused.
func (c *Commit) AppendSequenced(part *Partition, p *Producer, sequence int32, records ...Record) {
	if c.err != nil || len(records) == 0 {
		return
	}
	if sequence < 0 || p.l != c.l {
		c.fail(fmt.Errorf("%w: sequence number %d", ErrOptions, sequence))
		return
	}
	at := len(c.pieces)
	for _, pc := range c.pieces {
		if pc.p == part && pc.producer == p.id+1 {
			c.fail(fmt.Errorf("%w: two batches of a producer for one partition in a commit", ErrOptions))
			return
		}
	}
	c.fresh = true
	for i := range records {
		c.add(part, &records[i])
		c.fresh = false
	}
	c.fresh = false
	if c.err != nil {
		return
	}
	pc := c.pieces[at]
	pc.producer = p.id + 1
	pc.builder.Producer(p.id, p.epoch, sequence)
	c.requireSequence(part, at, p.id, p.epoch, sequence, len(records))
}

// requireSequence adds the conditions of a batch that carries a producer id.
func (c *Commit) requireSequence(part *Partition, at int, id int64, epoch int16, sequence int32, count int) {
	be := binary.BigEndian
	key := be.AppendUint64(nil, uint64(id))
	view := producersView{}.Name()
	c.conditions = append(c.conditions,
		Condition{View: view, Kind: conditionEpoch, Key: key, Want: be.AppendUint16(nil, uint16(epoch))},
		Condition{
			View: view, Kind: conditionSequence, Key: be.AppendUint32(key[:8:8], part.number), piece: at + 1,
			Want: be.AppendUint32(be.AppendUint32(be.AppendUint16(nil, uint16(epoch)), uint32(sequence)), uint32(count)),
		})
}

// SendError is returned by Send when it is not known what became of a batch. To find out, and to have
// it stored if it is not, repeat it by Append with this sequence number.
type SendError struct {
	// Sequences are the numbers of the first records, by partition.
	Sequences map[*Partition]int32
	Cause     error
}

func (e *SendError) Error() string { return "log: send: " + e.Cause.Error() }

// Unwrap returns the cause, which matches ErrUnknown or ErrFailed.
func (e *SendError) Unwrap() error { return e.Cause }

// Send appends records to t, each to the partition of its key, in one commit, and numbers them by
// itself. Calls from several goroutines are numbered in the order in which their commits take place
// in the log. An error other than a *SendError means that nothing was stored. Do not mix Send with
// Append on the same partition, but to repeat what a *SendError left open.
func (p *Producer) Send(ctx context.Context, t *Topic, records ...Record) (Result, error) {
	byPart := map[*Partition][]Record{}
	var order []*Partition
	parts := *t.partitions.Load()
	keyless := -1
	for _, r := range records {
		var part *Partition
		switch {
		case r.Key == nil && len(parts) > 1:
			if keyless < 0 {
				keyless = int(t.keyless.Add(1) % uint32(len(parts)))
			}
			part = parts[keyless]
		default:
			part = parts[t.options.Load().Partitioner.place(r.Key, len(parts))]
		}
		if byPart[part] == nil {
			order = append(order, part)
		}
		byPart[part] = append(byPart[part], r)
	}
	return p.send(ctx, order, byPart)
}

// SendTo is Send to the partition part, whatever the keys.
func (p *Producer) SendTo(ctx context.Context, part *Partition, records ...Record) (Result, error) {
	return p.send(ctx, []*Partition{part}, map[*Partition][]Record{part: records})
}

func (p *Producer) send(ctx context.Context, order []*Partition, records map[*Partition][]Record) (Result, error) {
	c := p.l.NewCommit()
	p.sending.Lock()
	used := map[*Partition]int32{}
	for _, part := range order {
		used[part] = p.next[part.number]
		c.AppendSequenced(part, p, used[part], records[part]...)
	}
	ack := c.CommitAsync(ctx)
	refused := !ack.sequenced
	if !refused {
		for _, part := range order {
			p.next[part.number] = addSequence(used[part], len(records[part]))
		}
	}
	p.sending.Unlock()
	if refused {
		// Nothing waits for it: the error is there.
		<-ack.done
		return ack.result, ack.err
	}
	r, err := ack.Wait(ctx)
	if err != nil {
		return r, &SendError{Sequences: used, Cause: err}
	}
	return r, nil
}

// addSequence returns the number n behind sequence.
func addSequence(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}
