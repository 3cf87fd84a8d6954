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
	for read, err := range p.Read(AtOffset(offset)) {
		if err != nil {
			return buf, err
		}
		*r = read.Clone()
		return buf, nil
	}
	return buf, &RangeError{Topic: p.topic.name, Partition: p.index, Offset: offset, Next: p.Next()}
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
	m := &ps[i].remembered
	if spot, ok := m.find(p.number, offset); ok {
		seg, err := ps[i].open()
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
		if !ok {
			l.remembering.forget(m, p.number, offset)
			return buf, false
		}
		l.count.readBytes.Add(int64(spot.Length))
		r.Topic, r.Partition = p.topic.name, p.index
		return buf, true
	}
	idx, err := l.index(ps, i)
	if err != nil {
		return buf, false
	}
	e, ok, err := idx.Find(p.number, offset)
	if err != nil || !ok || offset < e.Offset {
		return buf, false
	}
	seg, err := ps[i].open()
	if err != nil {
		return buf, false
	}
	return buf, l.pointInFrame(seg, m, e.Byte, int(e.Bytes), p, offset, r)
}

// pointInFrame reads and checks the frame at a byte position, in which a batch of about so many bytes is, and
// takes the record out of that. A large frame is remembered.
func (l *Log) pointInFrame(seg *segment.Segment, m *remembered, at int64, bytes int, p *Partition, offset int64, r *Record) bool {
	b := l.pointReaders.Get().(*pointReader)
	defer l.pointReaders.Put(b)
	f, err := seg.ReadFrameOf(b.buf, at, math.MaxInt64, segment.FrameHeadBytes+segment.EntryHeadBytes+bytes)
	if err != nil {
		return false
	}
	l.count.readFrames.Add(1)
	l.count.readBytes.Add(int64(f.Length))
	if b.buf = f.Bytes[:0]; cap(b.buf) > keptPointBytes {
		b.buf = nil
		defer func() { b.entry, b.decoder = segment.Entry{}, record.Decoder{} }() // they point into it
	}
	if f.Kind != segment.Commit || !f.FindEntry(p.number, offset, &b.entry) {
		return false
	}
	e := &b.entry
	// Other batches would be in vain: when theirs are asked for, their commit is remembered then.
	if f.Length >= rememberedFrame && e.Head.Codec() == record.None {
		if b.checked = f.Checked(b.checked[:0]); len(b.checked) > 0 {
			l.remembering.remember(m, b.checked)
			clear(b.checked)
			seg.Warm(&f)
		}
	}
	if b.decoder.Reset(e.Batch, maxDecodedBytes) != nil || b.decoder.SkipTo(offset) != nil {
		return false
	}
	if ok, err := b.decoder.Next(r); err != nil || !ok || r.Offset != offset {
		return false
	}
	*r = r.Clone()
	r.Topic, r.Partition = p.topic.name, p.index
	r.Position = e.Position + uint64(offset-e.Head.BaseOffset)
	return true
}

// keptPointBytes is how large a buffer a pointReader keeps for its next use.
const keptPointBytes = 256 << 10

// pointReader is what reading a record out of a whole frame takes.
type pointReader struct {
	buf     []byte
	entry   segment.Entry
	decoder record.Decoder
	checked []*segment.Checked
}
