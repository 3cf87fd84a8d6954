package log

import (
	"math"

	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// Get returns the record of p at offset. Its bytes are the caller's. The error is a *RangeError when
// there is no such record yet, a *LostError when it is gone.
//
// The commit that the record is part of is checked when this process first reads a record of it in this way,
// and the record by itself whenever it is read.
func (p *Partition) Get(offset int64) (r Record, err error) {
	_, err = p.GetInto(offset, &r, nil)
	return r, err
}

// GetInto is Get into r for a caller that gives memory to be used again. A record without headers that is not
// compressed and is part of a commit of 8 KiB or more lies in buf, from its beginning, where that has room, or else in
// memory that is made for it and returned for the next call, and from the second time on that such a commit is
// read from nothing is allocated. Other records get memory of their own, and buf is returned as it is. After an error r is
// undefined.
func (p *Partition) GetInto(offset int64, r *Record, buf []byte) ([]byte, error) {
	*r = Record{}
	if err := p.check(); err != nil {
		return buf, err
	}
	if next := p.Next(); offset < 0 || offset >= next {
		return buf, &RangeError{Topic: p.topic.name, Partition: p.index, Offset: offset, Next: next}
	}
	if own, ok := p.point(offset, r, buf); ok {
		return own, nil
	}
	return buf, p.walkTo(offset, func(read *Record) bool {
		*r = read.Clone()
		return true
	})
}

// GetMany calls each with the records of p at offsets, in the order in which those are given, until it returns
// false. The record and its bytes are valid only inside each. The error is that of Get for the first offset
// that has one; what Get says of checks holds. Of offsets that rise, those that are in one commit cost one
// read of it.
func (p *Partition) GetMany(offsets []int64, each func(*Record) bool) error {
	if err := p.check(); err != nil {
		return err
	}
	l := p.topic.l
	b := l.pointReaders.Get().(*pointReader)
	defer l.returnReader(b)
	next := p.Next()
	for _, offset := range offsets {
		if offset < 0 || offset >= next {
			return &RangeError{Topic: p.topic.name, Partition: p.index, Offset: offset, Next: next}
		}
		more := false
		if b.ahead(p, offset, &b.record) || p.lend(b, offset, &b.record) {
			more = each(&b.record)
		} else if err := p.walkTo(offset, func(r *Record) bool { more = each(r); return true }); err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
	return nil
}

// walkTo calls each with the record at offset as a loop over the records finds it, or returns what that says
// is wrong.
func (p *Partition) walkTo(offset int64, each func(*Record) bool) error {
	for r, err := range p.Read(AtOffset(offset)) {
		if err != nil {
			return err
		}
		each(&r)
		return nil
	}
	return &RangeError{Topic: p.topic.name, Partition: p.index, Offset: offset, Next: p.Next()}
}

// point fills r, in buf as GetInto says, with the record at offset, which is below what is synced, and reports
// whether it could. Where anything is not as it should be it reports false: a loop over the records then tells what.
func (p *Partition) point(offset int64, r *Record, buf []byte) (own []byte, ok bool) {
	l := p.topic.l
	ps := *l.parts.Load()
	if len(ps) == 0 {
		return buf, false
	}
	i, err := l.locate(ps, p.number, offset)
	if err != nil {
		return buf, false
	}
	if spot, ok := ps[i].remembered.find(p.number, offset); ok {
		return p.pointAt(ps[i], spot, r, buf)
	}
	b := l.pointReaders.Get().(*pointReader)
	defer l.returnReader(b)
	if !p.lendFromFrame(b, ps, i, offset, r) {
		return buf, false
	}
	*r = r.Clone()
	return buf, true
}

// pointAt reads the record at spot into buf, or into new memory where that has no room, and returns that.
func (p *Partition) pointAt(part *part, spot segment.Spot, r *Record, buf []byte) (own []byte, ok bool) {
	seg, err := part.open()
	if err != nil {
		return buf, false
	}
	if cap(buf) < spot.Length {
		buf = make([]byte, spot.Length)
	}
	buf = buf[:spot.Length]
	if ok, err = seg.ReadRecord(spot, buf, r); err != nil {
		return buf, false
	}
	l := p.topic.l
	if !ok {
		l.remembering.forget(&part.remembered, p.number, spot.Offset())
		return buf, false
	}
	l.count.readBytes.Add(int64(spot.Length))
	r.Topic, r.Partition = p.topic.name, p.index
	return buf, true
}

// lend is point with memory of b.
func (p *Partition) lend(b *pointReader, offset int64, r *Record) (ok bool) {
	*r = Record{}
	l := p.topic.l
	ps := *l.parts.Load()
	if len(ps) == 0 {
		return false
	}
	i, err := l.locate(ps, p.number, offset)
	if err != nil {
		return false
	}
	if spot, ok := ps[i].remembered.find(p.number, offset); ok {
		b.one, ok = p.pointAt(ps[i], spot, r, b.one)
		return ok
	}
	return p.lendFromFrame(b, ps, i, offset, r)
}

// lendFromFrame reads and checks the frame in the segment at i that the index names for offset, and takes the
// record out of that. A large frame is remembered. The record lies in b.
func (p *Partition) lendFromFrame(b *pointReader, ps parts, i int, offset int64, r *Record) bool {
	b.holds = false
	l := p.topic.l
	idx, err := l.index(ps, i)
	if err != nil {
		return false
	}
	place, ok, err := idx.Find(p.number, offset)
	if err != nil || !ok || offset < place.Offset {
		return false
	}
	seg, err := ps[i].open()
	if err != nil {
		return false
	}
	if cap(b.buf) == 0 {
		b.buf = make([]byte, 0, 4<<10)
	}
	f, err := seg.ReadFrameOf(b.buf, place.Byte, math.MaxInt64, segment.FrameHeadBytes+segment.EntryHeadBytes+int(place.Bytes))
	if err != nil {
		return false
	}
	if cap(f.Bytes) > cap(b.buf) {
		b.buf = f.Bytes[:0]
	}
	l.count.readFrames.Add(1)
	l.count.readBytes.Add(int64(f.Length))
	if f.Kind != segment.Commit || !f.FindEntry(p.number, offset, &b.entry) {
		return false
	}
	e := &b.entry
	// Other batches would be in vain: when theirs are asked for, their commit is remembered then.
	if f.Length >= rememberedFrame && e.Head.Codec() == record.None {
		if b.checked = f.Checked(b.checked[:0]); len(b.checked) > 0 {
			l.remembering.remember(&ps[i].remembered, b.checked)
			clear(b.checked)
			seg.Warm(&f)
		}
	}
	b.holds = b.decoder.Reset(e.Batch, maxDecodedBytes) == nil
	return b.ahead(p, offset, r)
}

// returnReader puts b back, without what is not worth to be kept.
func (l *Log) returnReader(b *pointReader) {
	b.holds = false
	b.record = Record{}
	if cap(b.one) > keptPointBytes {
		b.one = nil
	}
	if cap(b.buf) > keptPointBytes {
		b.buf, b.entry, b.decoder = nil, segment.Entry{}, record.Decoder{} // they point into it
	}
	b.decoder.Rest(keptExpandedBytes)
	l.pointReaders.Put(b)
}

// keptPointBytes is how large a buffer a pointReader keeps for its next use.
const keptPointBytes = 256 << 10

// pointReader is what reading a record out of a whole frame takes.
type pointReader struct {
	buf     []byte
	entry   segment.Entry
	decoder record.Decoder
	checked []segment.Checked
	holds   bool   // decoder is in the batch of entry, whose bytes are in buf
	one     []byte // of a record that is read by itself
	record  Record
}

// ahead decodes the record at offset of p into r if it is in the batch that b holds, not before where the
// decoder stands, and reports whether it is.
func (b *pointReader) ahead(p *Partition, offset int64, r *Record) bool {
	e := &b.entry
	if !b.holds || e.Partition != p.number || offset < e.Head.BaseOffset || offset-e.Head.BaseOffset >= int64(e.Records()) {
		return false
	}
	*r = Record{}
	if b.decoder.SkipTo(offset) != nil {
		return false
	}
	if ok, err := b.decoder.Next(r); err != nil || !ok || r.Offset != offset {
		b.holds = false // what is passed over can only be read again
		return false
	}
	r.Topic, r.Partition = p.topic.name, p.index
	r.Position = e.Position + uint64(offset-e.Head.BaseOffset)
	return true
}
