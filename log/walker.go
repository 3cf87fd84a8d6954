package log

import (
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// walker turns frames into batches and records. It belongs to one goroutine, and does not allocate
// per record.
type walker struct {
	c *cursor
	// want says of which partitions batches are wanted; nil is all.
	want func(number uint32) bool
	// Records before fromPosition, and below fromOffset of their partition, are passed over.
	fromPosition uint64
	fromOffset   func(*Partition) int64
	// until is the position at which to stop.
	until uint64
	bound bool
	// endOffset is where a bounded read of one partition ends.
	endOffset int64

	frame   segment.Frame
	entries segment.EntryReader
	inFrame bool
	entry   segment.Entry
	part    *Partition // of entry
	decoder record.Decoder
	inBatch bool
	// expected is, by partition, the offset that the next batch should begin with.
	expected map[uint32]int64
	lost     *LostError // was found in front of entry and is still to be told
	skipped  bool       // damage was passed: what a partition begins with is not known any more
	// behind is set to the checkpoint behind the commit of each batch, or nil.
	behind *Checkpoint
}

// newWalker returns a walker that stands nowhere yet, with the memory of one whose loop has ended, if there
// is one.
func (l *Log) newWalker() *walker {
	if w, ok := l.walkers.Get().(*walker); ok {
		return w
	}
	return &walker{c: &cursor{l: l}}
}

// endWalk gives back the memory of a walker.
func (l *Log) endWalk(w *walker) {
	c := w.c
	*c = cursor{l: l, sc: c.sc, sleeper: c.sleeper}
	c.sc.Rest(keptReadBytes)
	w.decoder.Rest(keptExpandedBytes)
	clear(w.expected)
	*w = walker{c: c, expected: w.expected, decoder: w.decoder}
	l.walkers.Put(w)
}

const (
	// keptReadBytes is how large a buffer a walker keeps for its next use.
	keptReadBytes = 64 << 10
	// keptExpandedBytes is the same for the buffer of expanded records.
	keptExpandedBytes = 1 << 20
)

// nextBatch moves to the next wanted batch. The error is io.EOF at the visible end, a *LostError once
// for offsets that are gone, a *CorruptError, after which skip moves on, or one of reading.
func (w *walker) nextBatch() error {
	if w.lost != nil {
		w.lost = nil // it was told; entry is what stands behind the gap
		return nil
	}
	for {
		for w.inFrame && w.entries.Next(&w.entry) {
			if w.want != nil && !w.want(w.entry.Partition) {
				continue
			}
			p := w.c.l.partition(w.entry.Partition)
			if p == nil { // of a deleted topic
				continue
			}
			w.part = p
			lost := w.follow(p)
			if w.entry.Position+w.entry.Records() <= w.fromPosition {
				continue
			}
			if w.fromOffset != nil && w.entry.Head.BaseOffset+int64(w.entry.Records()) <= w.fromOffset(p) {
				continue
			}
			if lost != nil {
				w.lost = lost
				return lost
			}
			return nil
		}
		w.inFrame = false
		if err := w.c.next(&w.frame); err != nil {
			return err
		}
		if w.bound && w.frame.Position >= w.until && w.frame.Kind == segment.Commit {
			return errBound
		}
		if w.frame.Kind == segment.Commit {
			w.entries, w.inFrame = segment.NewEntryReader(&w.frame), true
		}
	}
}

// follow notes that entry was met, and returns what is missing in front of it.
func (w *walker) follow(p *Partition) *LostError {
	base := w.entry.Head.BaseOffset
	if w.expected == nil {
		w.expected = map[uint32]int64{}
	}
	want, known := w.expected[p.number]
	w.expected[p.number] = base + int64(w.entry.Records())
	if !known && w.fromOffset != nil && !w.skipped {
		want, known = w.fromOffset(p), true
	}
	if known && base > want && !w.c.damaged() {
		return &LostError{Topic: p.topic.name, Partition: p.index, From: want, To: base}
	}
	return nil
}

// hasCRC says whether the batches of the current frame carry their own CRC.
func (w *walker) hasCRC() bool { return w.frame.Flags&segment.FlagCRC != 0 }

// skip moves behind the damage that nextBatch has reported. What lies between is not reported again
// as lost.
func (w *walker) skip() error {
	clear(w.expected)
	w.skipped = true
	return w.c.skip()
}

// next fills r with the next record, which is valid until the next call.
func (w *walker) next(r *Record) error {
	for {
		if w.inBatch {
			more, err := w.decoder.Next(r)
			if err != nil {
				w.inBatch = false
				return w.undecodable()
			}
			if more {
				r.Position = w.entry.Position + uint64(r.Offset-w.entry.Head.BaseOffset)
				if r.Position < w.fromPosition {
					continue
				}
				r.Topic, r.Partition = w.part.topic.name, w.part.index
				return nil
			}
			w.inBatch = false
		}
		if err := w.nextBatch(); err != nil {
			return err
		}
		if err := w.decoder.Reset(w.entry.Batch, maxDecodedBytes); err != nil {
			return w.undecodable()
		}
		w.inBatch = true
		if w.behind != nil {
			*w.behind = Checkpoint{Log: UUID(w.c.l.id), Position: w.frame.Position + w.frame.Positions(), Body: w.frame.Body}
		}
		if w.fromOffset != nil {
			if from := w.fromOffset(w.part); from > w.entry.Head.BaseOffset {
				if err := w.decoder.SkipTo(from); err != nil {
					w.inBatch = false
					return w.undecodable()
				}
			}
		}
	}
}

// maxDecodedBytes bounds what a batch may expand to.
const maxDecodedBytes = 1 << 30

// undecodable reports a batch that checks but does not decode.
func (w *walker) undecodable() error {
	return &CorruptError{File: w.c.seg.Name().String(), Byte: w.frame.At, Position: w.entry.Position, Check: "batch"}
}
