package log

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// A view is state that is derived from the log by deterministic code: the fold of the commits that
// have records in its topics. It is kept as keys and values, each view in a key space of its own, in
// a memory layer and behind that in Pebble, and applied behind the acknowledgement of the commits it
// is derived from. Deleting what Pebble has kept costs time, never data.

// View derives state. Apply must be deterministic: no clock, no files, no goroutines, no randomness,
// and no state of its own outside of tx, so that deriving again from the log gives the same bytes.
type View interface {
	// Name identifies the view for ever. The rules are those of topic names; names that begin with
	// SystemPrefix are the engine's.
	Name() string
	// Topics are the topics from whose commits the view is derived. Those that begin with SystemPrefix
	// are created, with one partition, when the view is registered. A topic that a view is derived from
	// cannot be deleted.
	Topics() []string
	// Apply folds in a commit. It is called in log order, by one goroutine at a time. c and its bytes
	// are valid only during the call. An error ends the view: its reads and conditions give a
	// *ViewError until the log is opened again.
	Apply(tx *ViewTx, c *AppliedCommit) error
}

// ProducerView is a View that is also derived from every commit with a batch that carries a producer
// id, whatever its topic.
type ProducerView interface {
	View
	// ProducerBatches reports whether the view wants those.
	ProducerBatches() bool
}

// KindView is a View that is also derived from every topic of certain kinds, those that are created
// later too. Such topics can be deleted: a view must not rest on the records of one that was, which a
// derivation anew does not see.
type KindView interface {
	View
	// Kinds are the kinds of topics, as in TopicOptions.Kind.
	Kinds() []string
}

// Answerer is a View that answers conditions: those whose View field has its name. All but Key are
// called with the log's mutex held, so they must be quick, and they are as deterministic as Apply.
//
// The conditions of a commit are answered in order, each as if what those before it stand for had
// happened. Whatever changes the value of a key on which verdicts rest must itself come with a
// condition on that key, one that always holds if need be: between two looks at what is applied, the
// log knows of changes by After alone.
type Answerer interface {
	View
	// Key returns the key whose value the verdict on c rests on. It is called without a lock.
	Key(c *Condition) ([]byte, error)
	// Carry returns records that the log adds to the commit, so that the effect of c is in the log:
	// they go to partition 0 of topic, one of the view's own. batches is how many batches the commit
	// has without what is carried.
	Carry(c *Condition, batches int) (topic string, records []Record)
	// Verdict decides on c. value is nil when the key has none. A nil error and a nil Duplicate let
	// the commit happen, as far as c is concerned.
	Verdict(c *Condition, value []byte) (*Duplicate, error)
	// After returns the value that the key has when the commit, which is s, is applied: the very bytes
	// that Apply will set, or value itself when it stays.
	After(c *Condition, value []byte, s *Sequenced) []byte
}

// Duplicate says that a commit was there already, and where its batches are.
type Duplicate struct {
	Batches []BatchPlace
	// Twice is what a commit gets of which one condition makes another one, of the same key, a duplicate. Nil lets
	// it happen: it has required the same thing twice.
	Twice error
}

// BatchPlace is where a batch is. Number is that of the partition in the log.
type BatchPlace struct {
	Number   uint32
	Offset   int64
	Count    int
	Position uint64
}

// Sequenced is a commit that has its place in the log.
type Sequenced struct {
	Position uint64 // of its first record
	// Batches are all batches of the commit, in order, those that were carried behind the others.
	Batches []BatchPlace
	// Told is how many of them are not carried.
	Told int
}

// AppliedCommit is a commit as a view sees it.
type AppliedCommit struct {
	Position uint64    // of its first record
	Time     time.Time // the log's time when it was sequenced
	// Batches are all batches of the commit, of topics of the view and others.
	Batches []AppliedBatch
}

// AppliedBatch is a batch of an AppliedCommit.
type AppliedBatch struct {
	BatchPlace
	// Topic and Partition are where it is, "" and 0 when the topic was deleted since: a view must not
	// rest on them but for its own topics, which are never deleted.
	Topic     string
	Partition int32
	Kind      string // of the topic
	Head      record.Head

	bytes   []byte
	decoder *record.Decoder
}

// Records decodes the batch. The records are valid inside the loop body only.
func (b *AppliedBatch) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := b.decoder.Reset(b.bytes, maxDecodedBytes); err != nil {
			yield(Record{}, err)
			return
		}
		var r Record
		for {
			more, err := b.decoder.Next(&r)
			if err != nil {
				yield(Record{}, err)
				return
			}
			if !more {
				return
			}
			r.Topic, r.Partition = b.Topic, b.Partition
			r.Position = b.Position + uint64(r.Offset-b.Offset)
			if !yield(r, nil) {
				return
			}
		}
	}
}

// fill makes c the commit of f.
func (c *AppliedCommit) fill(l *Log, f *segment.Frame, d *record.Decoder) {
	c.Position, c.Time, c.Batches = f.Position, time.UnixMicro(f.Time).UTC(), c.Batches[:0]
	r := segment.NewEntryReader(f)
	var e segment.Entry
	for r.Next(&e) {
		b := AppliedBatch{
			BatchPlace: BatchPlace{Number: e.Partition, Offset: e.Head.BaseOffset, Count: int(e.Records()), Position: e.Position},
			Head:       e.Head, bytes: e.Batch, decoder: d,
		}
		if p := l.partition(e.Partition); p != nil {
			b.Topic, b.Partition, b.Kind = p.topic.name, p.index, p.topic.kind
		}
		c.Batches = append(c.Batches, b)
	}
}

// ErrState is matched by every *ViewError, and returned where views are needed and their store cannot
// be used: appends without conditions and reads go on.
var ErrState = errors.New("log: view state not usable")

// ViewError says which view cannot be used, and why.
type ViewError struct {
	View  string
	Cause error
}

func (e *ViewError) Error() string { return fmt.Sprintf("log: view %q: %v", e.View, e.Cause) }

// Is makes errors.Is(err, ErrState) true.
func (e *ViewError) Is(target error) bool { return target == ErrState }

// Unwrap returns the cause.
func (e *ViewError) Unwrap() error { return e.Cause }

// ErrViewed is matched by every *ViewedError.
var ErrViewed = errors.New("log: a view is derived from the topic")

// ViewedError says which view keeps a topic from being deleted.
type ViewedError struct{ Topic, View string }

func (e *ViewedError) Error() string {
	return fmt.Sprintf("log: view %q is derived from topic %q", e.View, e.Topic)
}

// Is makes errors.Is(err, ErrViewed) true.
func (e *ViewedError) Is(target error) bool { return target == ErrViewed }

// ViewHandle reads a registered view. Its methods may be called concurrently.
type ViewHandle struct{ v *view }

// Name returns the view's name.
func (h *ViewHandle) Name() string { return h.v.name }

// Applied returns the position up to which the view has been derived: every commit before it that
// the view is derived from has been applied.
func (h *ViewHandle) Applied() uint64 {
	if h.v.l.o.ReadOnly {
		return h.v.derivedTo()
	}
	return h.v.l.applier.reached()
}

// Wait returns when everything before position is committed, written and applied.
func (h *ViewHandle) Wait(ctx context.Context, position uint64) error {
	l := h.v.l
	if l.o.ReadOnly {
		return h.v.waitReadOnly(ctx, position)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		moved := l.movedChannel()
		l.mu.Lock()
		closed, failed, next := l.closed, l.failed, l.position
		l.mu.Unlock()
		if l.writtenPosition.Load() >= position {
			break
		}
		switch {
		case closed:
			return ErrClosed
		case failed != nil:
			return failed
		case next >= position:
			if err := l.writeOut(); err != nil {
				return err
			}
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
		}
	}
	if err := l.applier.wait(ctx); err != nil {
		return err
	}
	return h.v.usable()
}

// Get returns the value of key, or false when there is none. It waits until everything that was
// acknowledged before the call is applied. The bytes are the caller's.
func (h *ViewHandle) Get(ctx context.Context, key []byte) ([]byte, bool, error) {
	if err := h.v.settle(ctx); err != nil {
		return nil, false, err
	}
	c, err := h.v.get(string(key))
	if err != nil || c.value == nil {
		return nil, false, err
	}
	return slices.Clone(c.value), true, nil
}

// GetMany calls each with the index and the value of each of keys, in their order, and nil for those that there
// are not, until it returns an error, which is returned. It waits once for all of them: until everything that
// was acknowledged before the call is applied. What is acknowledged later may be in some of them. The bytes are
// valid inside each only, and must not be changed.
func (h *ViewHandle) GetMany(ctx context.Context, keys [][]byte, each func(i int, value []byte) error) error {
	if err := h.v.settle(ctx); err != nil {
		return err
	}
	for i, key := range keys {
		c, err := h.v.get(string(key))
		if err != nil {
			return err
		}
		if err := each(i, c.value); err != nil {
			return err
		}
	}
	return nil
}

// KeyValue is one key of a view and its value.
type KeyValue struct{ Key, Value []byte }

// Scan yields the keys of [from, to) with their values, in order, as of one moment: everything that
// was acknowledged before the loop began is in it. A nil to is the end. The bytes are valid inside the
// loop body only. An error is the last pair.
func (h *ViewHandle) Scan(ctx context.Context, from, to []byte) iter.Seq2[KeyValue, error] {
	return func(yield func(KeyValue, error) bool) {
		v := h.v
		if err := v.settle(ctx); err != nil {
			yield(KeyValue{}, err)
			return
		}
		snapshot, err := v.l.applier.snapshot(v)
		if err != nil {
			yield(KeyValue{}, err)
			return
		}
		defer snapshot.Close()
		if err := snapshot.scan(v, from, to, func(kv KeyValue) bool { return yield(kv, nil) }); err != nil {
			yield(KeyValue{}, err)
		}
	}
}

// settle brings v up to date.
func (v *view) settle(ctx context.Context) error {
	if v.l.o.ReadOnly {
		return v.catchUp(ctx)
	}
	return v.l.settle(ctx)
}

// settle waits until everything acknowledged before is applied. It has the write done when that is
// what it waits for; on a failed log it waits only for what was written.
func (l *Log) settle(ctx context.Context) error {
	l.mu.Lock()
	closed, failed, buffered := l.closed, l.failed, l.bufferedTo
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if failed == nil && buffered > l.writtenPosition.Load() {
		// An error fails the log, and then what was written is all that there is to wait for.
		_ = l.writeOut()
	}
	return l.applier.wait(ctx)
}

// writeOut writes what is pending.
func (l *Log) writeOut() error {
	l.takePen()
	defer l.passPen()
	return l.writePending()
}
