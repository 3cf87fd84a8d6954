package segment

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Version is the format version that this build writes, and the newest that it reads.
const Version = 1

// HeadBytes is the size of a segment head.
const HeadBytes = 512

// LogID identifies a log for ever; it is drawn at random when the log is created.
type LogID [16]byte

// Origin says how a segment came to be.
type Origin uint32

// A segment is born by appends, or made by repair, by rewriting, or by a fork.
const (
	Born      Origin = 0
	Repaired  Origin = 1
	Rewritten Origin = 2
	Forked    Origin = 4

	originMask     = 0xff
	hasPredecessor = 0x100
)

// Link names the segment before this one, as it was when this one was born.
type Link struct {
	Name        Name
	EndPosition uint64
	EndByte     int64
}

// Head is the decoded head of a segment.
type Head struct {
	LogID  LogID
	Name   Name
	Origin Origin
	// Predecessor is nil in the first segment of a log.
	Predecessor *Link
	// Manifest is the number of the manifest in force at birth, 0 when there was none.
	Manifest uint64
	// Created is in microseconds since 1970, by the log's time.
	Created int64
}

const headMagic = "StrataSg"

// encode returns the 512 bytes of h.
func (h Head) encode() []byte {
	b := make([]byte, HeadBytes)
	le := binary.LittleEndian
	copy(b, headMagic)
	le.PutUint32(b[8:], Version)
	flags := uint32(h.Origin)
	if p := h.Predecessor; p != nil {
		flags |= hasPredecessor
		le.PutUint64(b[48:], p.Name.Position)
		le.PutUint64(b[56:], uint64(p.Name.Generation))
		le.PutUint64(b[64:], p.EndPosition)
		le.PutUint64(b[72:], uint64(p.EndByte))
	}
	le.PutUint32(b[12:], flags)
	copy(b[16:32], h.LogID[:])
	le.PutUint64(b[32:], h.Name.Position)
	le.PutUint64(b[40:], uint64(h.Name.Generation))
	le.PutUint64(b[80:], h.Manifest)
	le.PutUint64(b[88:], uint64(h.Created))
	le.PutUint64(b[504:], xxhash.Sum64(b[:504]))
	return b
}

// decodeHead decodes the head of the file called name. A head that does not check is a
// *CorruptError, one of a newer version a *FormatError.
func decodeHead(name Name, b []byte) (Head, error) {
	le := binary.LittleEndian
	damage := func(check string, want, got uint64) (Head, error) {
		return Head{}, &CorruptError{File: name.String(), Position: name.Position, Check: check, Want: want, Got: got}
	}
	if len(b) < HeadBytes {
		return damage("length", HeadBytes, uint64(len(b)))
	}
	if string(b[:8]) != headMagic {
		return damage("magic", le.Uint64([]byte(headMagic)), le.Uint64(b))
	}
	if want, got := xxhash.Sum64(b[:504]), le.Uint64(b[504:]); want != got {
		return damage("checksum", want, got)
	}
	if v := le.Uint32(b[8:]); v != Version {
		if v == 0 {
			return damage("version", Version, 0)
		}
		return Head{}, &FormatError{File: name.String(), Version: v, Known: Version}
	}
	flags := le.Uint32(b[12:])
	h := Head{
		Name:     Name{Position: le.Uint64(b[32:]), Generation: uint32(le.Uint64(b[40:]))},
		Origin:   Origin(flags & originMask),
		Manifest: le.Uint64(b[80:]),
		Created:  int64(le.Uint64(b[88:])),
	}
	copy(h.LogID[:], b[16:32])
	if flags&hasPredecessor != 0 {
		h.Predecessor = &Link{
			Name:        Name{Position: le.Uint64(b[48:]), Generation: uint32(le.Uint64(b[56:]))},
			EndPosition: le.Uint64(b[64:]),
			EndByte:     int64(le.Uint64(b[72:])),
		}
	}
	if h.Name != name {
		return damage("identity", name.Position, h.Name.Position)
	}
	return h, nil
}

// Salt returns what makes the frames of the segment valid in that segment only.
func Salt(id LogID, name Name) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(id[:])
	_, _ = d.WriteString(name.String())
	return d.Sum64()
}
