package log

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/stratalog/strata/record"
)

// ReadOptions changes what a read shows. The zero value is the default.
type ReadOptions struct {
	// Unsynced shows records as soon as they are written, before they are synced: a power cut may take
	// them back.
	Unsynced bool
	// System shows the engine's own records in reads of the whole log.
	System bool
	// Topics says of which topics reads of the whole log show records; nil is all. It is called often, and
	// only by the goroutine of the loop.
	Topics func(*Topic) bool
	// Behind is set, before each record is yielded, to the checkpoint behind the commit that the record is
	// part of. Nil is nothing to set.
	Behind *Checkpoint
}

func only(o []ReadOptions) ReadOptions {
	if len(o) == 0 {
		return ReadOptions{}
	}
	return o[0]
}

// errBound ends a read at the end that it was given.
var errBound = errors.New("log: end of the read")

// Read yields the records of p from start on, in order, up to the end that is visible when the loop
// begins. Follow is the one that waits for more.
//
// Key, Value and Headers of a record are valid only inside the loop body; Record.Clone keeps one. A
// non-nil error comes with a zero Record. After a *CorruptError or a *LostError the loop may go on,
// and shows what lies behind the damage; any other error ends it.
func (p *Partition) Read(start Start, o ...ReadOptions) iter.Seq2[Record, error] {
	return p.topic.l.iterate(context.Background(), reading{partition: p, start: start, options: only(o)})
}

// Follow is Read without an end: it waits for more until ctx ends, which is the loop's last error.
func (p *Partition) Follow(ctx context.Context, start Start, o ...ReadOptions) iter.Seq2[Record, error] {
	return p.topic.l.iterate(ctx, reading{partition: p, start: start, options: only(o), follow: true})
}

// Read yields the records of all partitions of t in order of position. What Partition.Read says holds.
func (t *Topic) Read(start Start, o ...ReadOptions) iter.Seq2[Record, error] {
	return t.l.iterate(context.Background(), reading{topic: t, start: start, options: only(o)})
}

// Follow is Read without an end: it waits for more until ctx ends, which is the loop's last error.
func (t *Topic) Follow(ctx context.Context, start Start, o ...ReadOptions) iter.Seq2[Record, error] {
	return t.l.iterate(ctx, reading{topic: t, start: start, options: only(o), follow: true})
}

// Read yields the records of all topics in order of position, without those of deleted topics. What
// Partition.Read says holds.
func (l *Log) Read(start Start, o ...ReadOptions) iter.Seq2[Record, error] {
	return l.iterate(context.Background(), reading{start: start, options: only(o)})
}

// Follow is Read without an end: it waits for more until ctx ends, which is the loop's last error.
func (l *Log) Follow(ctx context.Context, start Start, o ...ReadOptions) iter.Seq2[Record, error] {
	return l.iterate(ctx, reading{start: start, options: only(o), follow: true})
}

// reading is what a loop over records was asked for.
type reading struct {
	partition *Partition // one partition,
	topic     *Topic     // or a topic, or, when both are nil, the whole log
	start     Start
	options   ReadOptions
	follow    bool
}

func (l *Log) iterate(ctx context.Context, rd reading) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		w, err := l.begin(&rd)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer l.endWalk(w)
		var r Record
		for {
			err := w.next(&r)
			switch {
			case err == nil:
				if !yield(r, nil) {
					return
				}
				continue
			case errors.Is(err, io.EOF) && rd.follow:
				if err = w.c.wait(ctx); err == nil {
					continue
				}
			case errors.Is(err, io.EOF) || errors.Is(err, errBound):
				w.end(&rd, yield)
				return
			}
			if !yield(Record{}, err) || !w.passable(err) {
				return
			}
		}
	}
}

// passable moves behind what err reports, and reports whether that can be done.
func (w *walker) passable(err error) bool {
	switch {
	case errors.Is(err, ErrLost):
		return true
	case errors.Is(err, ErrCorrupt):
		return w.skip() == nil
	}
	return false
}

// end reports what a bounded read of one partition should still have found.
func (w *walker) end(rd *reading, yield func(Record, error) bool) {
	p := rd.partition
	if p == nil {
		return
	}
	next, known := w.expected[p.number]
	if !known && w.fromOffset != nil && !w.skipped {
		next, known = w.fromOffset(p), true
	}
	if end := w.endOffset; known && next < end {
		yield(Record{}, &LostError{Topic: p.topic.name, Partition: p.index, From: next, To: end})
	}
}

// begin finds where to begin, and where to end.
func (l *Log) begin(rd *reading) (*walker, error) {
	if err := l.readable(); err != nil {
		return nil, err
	}
	w := l.newWalker()
	c := w.c
	c.unsynced, w.bound, w.behind = rd.options.Unsynced, !rd.follow, rd.options.Behind
	if p := rd.partition; p != nil {
		// Before looking at the end of the log, so that all of these lie before that.
		w.endOffset = p.synced.Load()
	}
	w.until = c.end().position
	switch {
	case rd.partition != nil:
		p := rd.partition
		if err := p.check(); err != nil {
			return nil, err
		}
		from, err := c.startAt(p, rd.start)
		w.want = func(n uint32) bool { return n == p.number }
		w.fromOffset = func(*Partition) int64 { return from }
		return w, err
	case rd.topic != nil:
		if rd.topic.deleted.Load() {
			return nil, &TopicError{Topic: rd.topic.name}
		}
		w.want = func(n uint32) bool {
			p := l.partition(n)
			return p != nil && p.topic == rd.topic
		}
		return w, w.startTopics(rd.start, *rd.topic.partitions.Load())
	}
	o := rd.options
	wanted := func(p *Partition) bool {
		return p != nil && (o.System || !p.topic.system()) && (o.Topics == nil || o.Topics(p.topic))
	}
	if !o.System || o.Topics != nil {
		w.want = func(n uint32) bool { return wanted(l.partition(n)) }
	}
	var all []*Partition
	for _, p := range *l.byNumber.Load() {
		if wanted(p) {
			all = append(all, p)
		}
	}
	return w, w.startTopics(rd.start, all)
}

// startTopics moves to where reading of several partitions begins.
func (w *walker) startTopics(s Start, partitions []*Partition) error {
	c := w.c
	switch s.kind {
	case fromOldest:
		w.fromOffset = func(*Partition) int64 { return 0 }
		return c.startPosition(0)
	case fromNewest:
		w.fromPosition = c.end().position
		return c.startPosition(w.fromPosition)
	case fromPosition:
		w.fromPosition = uint64(s.n)
		return c.startPosition(w.fromPosition)
	}
	// Each partition has its own first offset; reading begins with the earliest of their batches.
	from := map[*Partition]int64{}
	first := c.end().position
	for _, p := range partitions {
		one := cursor{l: c.l, unsynced: c.unsynced}
		offset, err := one.startAt(p, s)
		if err != nil {
			return err
		}
		from[p] = offset
		ow := walker{c: &one, want: func(n uint32) bool { return n == p.number }}
		switch err := ow.nextBatch(); {
		case err == nil || errors.Is(err, ErrLost):
			first = min(first, ow.frame.Position)
		case errors.Is(err, ErrCorrupt):
			// What is damaged may be wanted: begin where it is told.
			var damage *CorruptError
			errors.As(err, &damage)
			first = min(first, damage.Position)
		case !isEOF(err):
			return err
		}
	}
	w.fromOffset = func(p *Partition) int64 { return from[p] }
	return c.startPosition(first)
}

// readable returns why nothing can be read.
func (l *Log) readable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	return nil
}

// RawBatch is a batch as it is stored.
type RawBatch struct {
	Topic     string
	Partition int32
	Position  uint64 // of its first record
	Head      record.Head
	// Bytes is the RecordBatch v2 with its CRC. It is valid only inside the loop body.
	Bytes []byte
}

// ReadBatches yields the batches of p that hold records from start on, up to the end that is visible
// when the loop begins. The first batch may begin before start. What Partition.Read says holds.
func (p *Partition) ReadBatches(start Start, o ...ReadOptions) iter.Seq2[RawBatch, error] {
	l := p.topic.l
	rd := reading{partition: p, start: start, options: only(o)}
	return func(yield func(RawBatch, error) bool) {
		w, err := l.begin(&rd)
		if err != nil {
			yield(RawBatch{}, err)
			return
		}
		defer l.endWalk(w)
		var b RawBatch
		var buf []byte
		for {
			err := w.nextBatch()
			if errors.Is(err, io.EOF) || errors.Is(err, errBound) {
				return
			}
			if err != nil {
				if !yield(RawBatch{}, err) || !w.passable(err) {
					return
				}
				continue
			}
			b = RawBatch{Topic: p.topic.name, Partition: p.index, Position: w.entry.Position, Head: w.entry.Head, Bytes: w.entry.Batch}
			if !w.hasCRC() {
				buf = append(buf[:0], w.entry.Batch...)
				record.PutCRC(buf)
				b.Bytes = buf
			}
			if !yield(b, nil) {
				return
			}
		}
	}
}
