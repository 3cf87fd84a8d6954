package segment

import (
	"github.com/cespare/xxhash/v2"

	"github.com/stratalog/strata/record"
)

// Checked is what can be remembered of a batch whose frame was checked, so that one of its records can be
// read later without the others: where each begins, and a check of each by itself, of 16 bits. It never
// changes.
type Checked struct {
	partition uint32
	position  uint64
	at        int64 // byte position of the batch in the segment
	head      record.Head
	// marks are, of each record, the low and the high half of its place in the batch, as record.Places says,
	// and its check; then where the last one ends.
	marks []uint16
}

const wordsPerMark = 3

// Checked appends to all what is to be remembered of each batch of f, which was checked. Batches of which no
// single record can be read are left out.
func (f *Frame) Checked(all []*Checked) []*Checked {
	if f.Kind != Commit {
		return all
	}
	var places []uint32
	at := f.At + FrameHeadBytes
	for r, e := NewEntryReader(f), (Entry{}); r.Next(&e); at += int64(len(e.Batch)) {
		at += EntryHeadBytes
		var ok bool
		if places, ok = record.Places(e.Batch, places[:0]); !ok {
			continue
		}
		c := &Checked{partition: e.Partition, position: e.Position, at: at, head: e.Head}
		c.marks = make([]uint16, 0, wordsPerMark*len(places))
		for i, from := range places {
			check := uint16(0)
			if i+1 < len(places) {
				check = recordCheck(e.Batch[from:places[i+1]])
			}
			c.marks = append(c.marks, uint16(from), uint16(from>>16), check)
		}
		all = append(all, c)
	}
	return all
}

func recordCheck(b []byte) uint16 { return uint16(xxhash.Sum64(b)) }

// Partition returns the number of the batch's partition.
func (c *Checked) Partition() uint32 { return c.partition }

// Offset returns the batch's first offset.
func (c *Checked) Offset() int64 { return c.head.BaseOffset }

// Bytes returns about how much memory c takes.
func (c *Checked) Bytes() int { return 160 + 2*cap(c.marks) }

// Spot is where a record is that was checked together with its frame.
type Spot struct {
	At     int64 // byte position in the segment
	Length int
	batch  *Checked
	offset int64
	check  uint16
}

// Find returns where the record with this offset is, if it is in the batch.
func (c *Checked) Find(offset int64) (Spot, bool) {
	if offset < c.head.BaseOffset || offset-c.head.BaseOffset > int64(c.head.LastOffsetDelta) {
		return Spot{}, false
	}
	m := c.marks[wordsPerMark*int(offset-c.head.BaseOffset):]
	m = m[:wordsPerMark+2]
	from, to := uint32(m[0])|uint32(m[1])<<16, uint32(m[3])|uint32(m[4])<<16
	return Spot{At: c.at + int64(from), Length: int(to - from), batch: c, offset: offset, check: m[2]}, true
}

// Offset returns the offset of the record.
func (s Spot) Offset() int64 { return s.offset }

// ReadRecord reads the record at spot into buf, which has the spot's length and becomes the record's, and
// decodes it into r. ok is false when what is read now is not what was checked: the frame is to be read
// again, which tells why. An error is one of reading.
func (s *Segment) ReadRecord(spot Spot, buf []byte, r *record.Record) (ok bool, err error) {
	n, err := readFull(s.file, buf, spot.At)
	if err != nil {
		return false, s.ioError("read", spot.At, err)
	}
	if n < spot.Length || recordCheck(buf) != spot.check {
		return false, nil
	}
	if err := record.DecodeAlone(&spot.batch.head, buf, r); err != nil || r.Offset != spot.offset {
		return false, nil
	}
	r.Position = spot.batch.position + uint64(spot.offset-spot.batch.head.BaseOffset)
	return true, nil
}

// FindEntry fills e with the batch of the checked frame f that holds the offset of the partition, and
// reports whether there is one.
func (f *Frame) FindEntry(partition uint32, offset int64, e *Entry) bool {
	for r := NewEntryReader(f); r.Next(e); {
		if e.Partition == partition && offset >= e.Head.BaseOffset && offset-e.Head.BaseOffset < int64(e.Records()) {
			return true
		}
	}
	return false
}

// Warm tells the file, where that wants to know, that single records of f will be read.
func (s *Segment) Warm(f *Frame) {
	if file, ok := s.file.(interface{ Warm(from, to int64) }); ok {
		file.Warm(f.At, f.End())
	}
}
