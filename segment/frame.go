package segment

import (
	"encoding/binary"
	"iter"

	"github.com/cespare/xxhash/v2"

	"github.com/stratalog/strata/record"
)

// FrameHeadBytes is the size of a frame's head, EntryHeadBytes of what stands before each batch.
const (
	FrameHeadBytes = 48
	EntryHeadBytes = 8
	// FrameAlign is what the byte position and the length of every frame are multiples of.
	FrameAlign = 8
	// MaxFrameBytes bounds the length of a frame that a scan believes.
	MaxFrameBytes = 1 << 30
)

const (
	frameMagic   = 0x5346
	frameVersion = 1
	kindMask     = 0x0f
)

// Kind says what a frame is.
type Kind uint8

// The kinds of frames. Those from Idle on are end marks.
const (
	Commit    Kind = 1
	Catalog   Kind = 2
	Idle      Kind = 3
	Closing   Kind = 4
	Sealing   Kind = 5
	Recovered Kind = 6
)

// Mark reports whether k is the kind of an end mark.
func (k Kind) Mark() bool { return k >= Idle && k <= Recovered }

func (k Kind) String() string {
	switch k {
	case Commit:
		return "commit"
	case Catalog:
		return "catalog"
	case Idle:
		return "idle mark"
	case Closing:
		return "closing mark"
	case Sealing:
		return "sealing mark"
	case Recovered:
		return "recovered mark"
	}
	return "unknown kind"
}

// FlagCRC in FrameHead.Flags says that every batch of the frame carries its own CRC-32C; without
// it those fields are zero.
const FlagCRC = 0x10

// FrameHead is the decoded head of a frame.
type FrameHead struct {
	Kind     Kind
	Flags    uint8
	Length   uint32 // of the whole frame, a multiple of FrameAlign
	Position uint64
	Time     int64 // microseconds since 1970
	Durable  int64 // bytes of the segment known to be synced when the frame was written
	Body     uint64
}

// Put writes h into the first 40 bytes of b. Seal completes the frame.
func (h FrameHead) Put(b []byte) {
	le := binary.LittleEndian
	_ = b[FrameHeadBytes-1]
	le.PutUint16(b, frameMagic)
	b[2] = frameVersion
	b[3] = uint8(h.Kind) | h.Flags
	le.PutUint32(b[4:], h.Length)
	le.PutUint64(b[8:], h.Position)
	le.PutUint64(b[16:], uint64(h.Time))
	le.PutUint64(b[24:], uint64(h.Durable))
	le.PutUint64(b[32:], h.Body)
}

// Complete fills in what is known only when the frame is written: what is durable, and the check of
// the head over it, for the byte position at.
func Complete(b []byte, salt uint64, at, durable int64) {
	binary.LittleEndian.PutUint64(b[24:], uint64(durable))
	binary.LittleEndian.PutUint64(b[40:], headCheck(b, salt, at))
}

func headCheck(b []byte, salt uint64, at int64) uint64 {
	var x [56]byte
	copy(x[:40], b[:40])
	binary.LittleEndian.PutUint64(x[40:], salt)
	binary.LittleEndian.PutUint64(x[48:], uint64(at))
	return xxhash.Sum64(x[:])
}

// FrameLength returns the length field of a frame that is already known to be valid or was just made.
func FrameLength(b []byte) int { return int(binary.LittleEndian.Uint32(b[4:])) }

// FramePosition returns the position field of such a frame.
func FramePosition(b []byte) uint64 { return binary.LittleEndian.Uint64(b[8:]) }

// FrameTime returns the time field of such a frame.
func FrameTime(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b[16:])) }

// FrameBody returns the body field of such a frame.
func FrameBody(b []byte) uint64 { return binary.LittleEndian.Uint64(b[32:]) }

// problem is a failed check, not yet tied to a file.
type problem struct {
	check     string
	want, got uint64
}

// parseFrameHead decodes and checks the 48 bytes at b.
func parseFrameHead(b []byte, salt uint64, at int64) (FrameHead, *problem) {
	le := binary.LittleEndian
	if m := le.Uint16(b); m != frameMagic {
		return FrameHead{}, &problem{"magic", frameMagic, uint64(m)}
	}
	if want, got := headCheck(b, salt, at), le.Uint64(b[40:]); want != got {
		return FrameHead{}, &problem{"checksum", want, got}
	}
	h := FrameHead{
		Kind:     Kind(b[3] & kindMask),
		Flags:    b[3] &^ kindMask,
		Length:   le.Uint32(b[4:]),
		Position: le.Uint64(b[8:]),
		Time:     int64(le.Uint64(b[16:])),
		Durable:  int64(le.Uint64(b[24:])),
		Body:     le.Uint64(b[32:]),
	}
	switch {
	case b[2] != frameVersion:
		return h, &problem{"version", frameVersion, uint64(b[2])}
	case h.Kind < Commit || h.Kind > Recovered:
		return h, &problem{"kind", uint64(Recovered), uint64(h.Kind)}
	case h.Length < FrameHeadBytes || h.Length > MaxFrameBytes || h.Length%FrameAlign != 0 ||
		h.Kind.Mark() && h.Length != FrameHeadBytes:
		return h, &problem{"length", FrameHeadBytes, uint64(h.Length)}
	}
	return h, nil
}

// Frame is one frame as read. Bytes aliases its reader's buffer and is valid until the next read.
type Frame struct {
	FrameHead
	At    int64 // byte position in its segment
	Bytes []byte
	// positions is how many the commit spans, 0 when its entries were not looked at; only is its entry
	// when it has just one.
	positions uint64
	only      Entry
}

// End returns the byte position behind f.
func (f *Frame) End() int64 { return f.At + int64(f.Length) }

// Tables returns the tables of a catalog frame.
func (f *Frame) Tables() []byte { return f.Bytes[FrameHeadBytes+catalogEpochBytes:] }

// Entry is one batch of a frame. Batch aliases the frame.
type Entry struct {
	Partition uint32
	Position  uint64 // of its first record
	Head      record.Head
	Batch     []byte
}

// Records returns how many positions and offsets the batch spans.
func (e *Entry) Records() uint64 { return uint64(e.Head.LastOffsetDelta) + 1 }

// Entries yields the batches of a commit that was checked, in order.
func (f *Frame) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		var e Entry
		for rest := f.Bytes[FrameHeadBytes:]; nextEntry(&rest, f.Position, &e) == nil && e.Batch != nil; {
			if !yield(e) {
				return
			}
		}
	}
}

// EntryReader walks the batches of a commit that was checked without allocating.
type EntryReader struct {
	rest     []byte
	position uint64
	only     *Entry // what comes next, when it was decoded before
}

// NewEntryReader returns a reader over the batches of f.
func NewEntryReader(f *Frame) EntryReader {
	if f.positions > 0 && f.only.Batch != nil {
		return EntryReader{only: &f.only}
	}
	return EntryReader{rest: f.Bytes[FrameHeadBytes:], position: f.Position}
}

// Next fills e and reports whether there was another batch.
func (r *EntryReader) Next(e *Entry) bool {
	if r.only != nil {
		*e, r.only = *r.only, nil
		return true
	}
	return nextEntry(&r.rest, r.position, e) == nil && e.Batch != nil
}

// nextEntry decodes the entry at the start of *rest and moves *rest behind it. At the end of the
// frame e.Batch is nil and the padding was checked.
func nextEntry(rest *[]byte, position uint64, e *Entry) *problem {
	b := *rest
	e.Batch = nil
	if len(b) < FrameAlign {
		for _, c := range b {
			if c != 0 {
				return &problem{"padding", 0, uint64(c)}
			}
		}
		return nil
	}
	if len(b) < EntryHeadBytes+record.HeadBytes {
		return &problem{"length", EntryHeadBytes + record.HeadBytes, uint64(len(b))}
	}
	le := binary.LittleEndian
	h, err := record.ParseHead(b[EntryHeadBytes:])
	if err != nil {
		return &problem{"batch", 0, 0}
	}
	n := EntryHeadBytes + h.Bytes()
	e.Partition = le.Uint32(b)
	e.Position = position + uint64(le.Uint32(b[4:]))
	e.Head = h
	e.Batch = b[EntryHeadBytes:n:n]
	*rest = b[n:]
	return nil
}

// checkBody checks everything behind the head of a frame whose head was checked.
func (f *Frame) checkBody() *problem {
	switch f.Kind {
	case Commit:
		return f.checkCommit()
	case Catalog:
		if f.Length < FrameHeadBytes+catalogEpochBytes {
			return &problem{"length", FrameHeadBytes + catalogEpochBytes, uint64(f.Length)}
		}
		if got := xxhash.Sum64(f.Bytes[FrameHeadBytes:]); got != f.Body {
			return &problem{"body", f.Body, got}
		}
	default:
		if f.Durable != f.At {
			return &problem{"mark", uint64(f.At), uint64(f.Durable)}
		}
	}
	return nil
}

func (f *Frame) checkCommit() *problem {
	rest := f.Bytes[FrameHeadBytes:]
	e := &f.only
	if p := nextEntry(&rest, f.Position, e); p != nil {
		return p
	}
	if e.Batch == nil {
		return &problem{"length", FrameHeadBytes + EntryHeadBytes + record.HeadBytes, uint64(f.Length)}
	}
	next := e.Position - f.Position + e.Records()
	payload := uint64(0)
	if len(rest) < FrameAlign {
		payload = xxhash.Sum64(e.Batch[8:])
		var none Entry
		if p := nextEntry(&rest, f.Position, &none); p != nil {
			return p // the padding
		}
	} else if p := f.checkRest(rest, &next, &payload); p != nil {
		return p
	}
	if got := BodyCheck(f.Bytes, payload); got != f.Body {
		return &problem{"body", f.Body, got}
	}
	f.positions = next
	return nil
}

// checkRest checks the entries behind the first one, and leaves in payload the check over all of them.
func (f *Frame) checkRest(rest []byte, next, payload *uint64) *problem {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(f.only.Batch[8:])
	f.only.Batch = nil // it is not the only one
	var e Entry
	for {
		if p := nextEntry(&rest, f.Position, &e); p != nil {
			return p
		}
		if e.Batch == nil {
			*payload = d.Sum64()
			return nil
		}
		if e.Position-f.Position < *next {
			return &problem{"position", f.Position + *next, e.Position}
		}
		*next = e.Position - f.Position + e.Records()
		_, _ = d.Write(e.Batch[8:])
	}
}

// BodyCheck returns the body field of the commit frame b, whose entries must be well formed, from
// the check over the payload of its batches (PayloadCheck).
func BodyCheck(b []byte, payload uint64) uint64 {
	var x [8 + 16*6]byte
	binary.LittleEndian.PutUint64(x[:], payload)
	fill := x[:8]
	var d *xxhash.Digest
	end := FrameLength(b)
	for at := FrameHeadBytes; end-at >= EntryHeadBytes+record.HeadBytes; {
		if len(fill) == len(x) {
			if d == nil {
				d = xxhash.New()
			}
			_, _ = d.Write(fill)
			fill = x[:0]
		}
		fill = append(fill, b[at:at+16]...)
		at += EntryHeadBytes + 12 + int(int32(binary.BigEndian.Uint32(b[at+EntryHeadBytes+8:])))
	}
	if d == nil {
		return xxhash.Sum64(fill)
	}
	_, _ = d.Write(fill)
	return d.Sum64()
}

// Positions returns how many positions the checked commit spans.
func (f *Frame) Positions() uint64 {
	if f.positions > 0 {
		return f.positions
	}
	n := uint64(0)
	for r, e := NewEntryReader(f), (Entry{}); r.Next(&e); {
		n = e.Position - f.Position + e.Records()
	}
	return n
}

// Epoch returns the leader epoch that f proves: that of a commit's first batch, of a mark, or of a
// catalog frame.
func (f *Frame) Epoch() int32 {
	switch f.Kind {
	case Commit:
		return int32(binary.BigEndian.Uint32(f.Bytes[FrameHeadBytes+EntryHeadBytes+12:]))
	case Catalog:
		return int32(binary.LittleEndian.Uint32(f.Bytes[FrameHeadBytes:]))
	}
	return int32(f.Body)
}

const catalogEpochBytes = 8

// encodeCatalog returns a catalog frame, to stand at HeadBytes. It says itself what is durable: as
// long as its segment is not renamed into place it does not count, and then all of it is.
func encodeCatalog(salt uint64, position uint64, time int64, epoch int32, tables []byte) []byte {
	n := FrameHeadBytes + catalogEpochBytes + len(tables)
	n += -n & (FrameAlign - 1)
	b := make([]byte, n)
	binary.LittleEndian.PutUint32(b[FrameHeadBytes:], uint32(epoch))
	copy(b[FrameHeadBytes+catalogEpochBytes:], tables)
	FrameHead{
		Kind: Catalog, Length: uint32(n), Position: position, Time: time,
		Body: xxhash.Sum64(b[FrameHeadBytes:]),
	}.Put(b)
	Complete(b, salt, HeadBytes, 0)
	return b
}
