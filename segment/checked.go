package segment

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/stratalog/strata/record"
)

// Checked is what can be remembered of a batch whose frame was checked, so that one of its records can be
// read later without the others: where each begins, and a check of each by itself, of 16 bits. It never
// changes.
//
// It is one run of bytes without pointers, little-endian, so that a read which finds none of it in the
// caches of the processor waits for memory once:
//
//	 0   8  first offset
//	 8   8  position of the first record
//	16   8  byte position of the batch in the segment
//	24   8  base timestamp
//	32   8  largest timestamp
//	40   4  last offset delta
//	44   2  attributes
//	46   2  zero
//	48   4  partition
//	52   6  per record: 4 its place in the batch, as record.Places says | 2 its check
//	..   4  where the last record ends
type Checked struct{ b []byte }

const (
	checkedHeadBytes = 52
	markBytes        = 6
	placeBytes       = 4
)

// Checked appends to all what is to be remembered of each batch of f, which was checked. Batches of which no
// single record can be read are left out.
func (f *Frame) Checked(all []Checked) []Checked {
	if f.Kind != Commit {
		return all
	}
	var places []uint32
	at := f.At + FrameHeadBytes
	for r, e := NewEntryReader(f), (Entry{}); r.Next(&e); at += int64(len(e.Batch)) {
		at += EntryHeadBytes
		var ok bool
		if places, ok = record.Places(e.Batch, places[:0]); ok {
			all = append(all, newChecked(&e, at, places))
		}
	}
	return all
}

// newChecked returns what is to be remembered of the batch of e, which is in the segment at a byte position and has
// its records at places.
func newChecked(e *Entry, at int64, places []uint32) Checked {
	le := binary.LittleEndian
	n := len(places) - 1
	b := make([]byte, 0, checkedHeadBytes+n*markBytes+placeBytes)
	b = le.AppendUint64(b, uint64(e.Head.BaseOffset))
	b = le.AppendUint64(b, e.Position)
	b = le.AppendUint64(b, uint64(at))
	b = le.AppendUint64(b, uint64(e.Head.BaseTimestamp))
	b = le.AppendUint64(b, uint64(e.Head.MaxTimestamp))
	b = le.AppendUint32(b, uint32(e.Head.LastOffsetDelta))
	b = le.AppendUint32(b, uint32(uint16(e.Head.Attributes)))
	b = le.AppendUint32(b, e.Partition)
	for i, from := range places[:n] {
		b = le.AppendUint32(b, from)
		b = le.AppendUint16(b, recordCheck(e.Batch[from:places[i+1]]))
	}
	return Checked{le.AppendUint32(b, places[n])}
}

func recordCheck(b []byte) uint16 { return uint16(xxhash.Sum64(b)) }

// Partition returns the number of the batch's partition.
func (c Checked) Partition() uint32 { return binary.LittleEndian.Uint32(c.b[48:]) }

// Offset returns the batch's first offset.
func (c Checked) Offset() int64 { return int64(binary.LittleEndian.Uint64(c.b)) }

// Bytes returns about how much memory c takes.
func (c Checked) Bytes() int { return cap(c.b) }

// head returns what DecodeAlone wants to know of the batch.
func (c Checked) head() record.Head {
	le, b := binary.LittleEndian, c.b[:checkedHeadBytes]
	return record.Head{
		BaseOffset:      int64(le.Uint64(b)),
		BaseTimestamp:   int64(le.Uint64(b[24:])),
		MaxTimestamp:    int64(le.Uint64(b[32:])),
		LastOffsetDelta: int32(le.Uint32(b[40:])),
		Attributes:      int16(le.Uint16(b[44:])),
	}
}

// Spot is where a record is that was checked together with its frame.
type Spot struct {
	At     int64 // byte position in the segment
	Length int
	batch  Checked
	index  int // in the batch
	check  uint16
}

// Find returns where the record with this index in the batch is, if it has so many. The caller, who had to know
// the first offset to find the batch, gives the index and not the offset: so nothing of c must be there before the mark
// is looked for.
func (c Checked) Find(index int64) (Spot, bool) {
	records := int64(len(c.b)-checkedHeadBytes-placeBytes) / markBytes
	if index < 0 || index >= records {
		return Spot{}, false
	}
	le, from := binary.LittleEndian, checkedHeadBytes+markBytes*int(index)
	m := c.b[from : from+markBytes+placeBytes]
	place, end := le.Uint32(m), le.Uint32(m[markBytes:])
	return Spot{
		At: int64(le.Uint64(c.b[16:])) + int64(place), Length: int(end - place),
		batch: c, index: int(index), check: le.Uint16(m[placeBytes:]),
	}, true
}

// Offset returns the offset of the record.
func (s Spot) Offset() int64 { return s.batch.Offset() + int64(s.index) }

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
	head := spot.batch.head()
	if err := record.DecodeAlone(&head, buf, r); err != nil || r.Offset != spot.Offset() {
		return false, nil
	}
	r.Position = binary.LittleEndian.Uint64(spot.batch.b[8:]) + uint64(spot.index)
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
