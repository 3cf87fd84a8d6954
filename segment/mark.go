package segment

import (
	"bytes"
	"encoding/binary"
)

// Mark is the content of an end mark but for its kind and its place.
type Mark struct {
	Position uint64 // of the next record
	Time     int64  // of the last frame
	Epoch    int32
}

// Encode returns the 48 bytes of the mark at byte position at.
func (m Mark) Encode(kind Kind, salt uint64, at int64) []byte {
	b := make([]byte, FrameHeadBytes)
	FrameHead{
		Kind: kind, Length: FrameHeadBytes, Position: m.Position, Time: m.Time,
		Durable: at, Body: uint64(uint32(m.Epoch)),
	}.Put(b)
	Complete(b, salt, at, at)
	return b
}

// sectorBytes is what a disk writes whole or not at all.
const sectorBytes = 512

// damagedMark reports whether b, which is no valid frame, was once one of the marks that could stand
// at byte position at: it differs from it in a field or two, and not in the way in which a write that
// was cut short differs.
func damagedMark(b []byte, m Mark, salt uint64, at int64) bool {
	if len(b) < FrameHeadBytes {
		return false
	}
	b = b[:FrameHeadBytes]
	damaged := false
	for _, kind := range []Kind{Idle, Closing, Sealing, Recovered} {
		want := m
		if kind == Recovered {
			want.Epoch++
		}
		mark := want.Encode(kind, salt, at)
		if tornMark(b, mark, at) {
			return false
		}
		if n := unlikeFields(b, mark); n > 0 && n <= 2 {
			damaged = true
		}
	}
	return damaged
}

// unlikeFields counts the fields of a frame head in which a and b differ.
func unlikeFields(a, b []byte) int {
	n := 0
	for _, f := range [][2]int{{0, 4}, {4, 8}, {8, 16}, {16, 24}, {24, 32}, {32, 40}, {40, 48}} {
		if !bytes.Equal(a[f[0]:f[1]], b[f[0]:f[1]]) {
			n++
		}
	}
	return n
}

// tornMark reports whether got is what a power cut may leave of the write of mark over zeros: a
// prefix and then zeros; or, where the mark spans two sectors, one of the two without its write (zeros,
// or bytes that have nothing of the mark).
func tornMark(got, mark []byte, at int64) bool {
	cut := 0
	for cut < len(got) && got[cut] == mark[cut] {
		cut++
	}
	if zeros(got[cut:]) {
		return true
	}
	split := int(-at & (sectorBytes - 1))
	if split == 0 || split >= FrameHeadBytes {
		return false
	}
	if bytes.Equal(got[:split], mark[:split]) && strange(got[split:], mark[split:]) {
		return true
	}
	return bytes.Equal(got[split:], mark[split:]) && strange(got[:split], mark[:split])
}

// strange reports whether got is zero, or unlike want in at least two bytes of every word: what was
// damaged in place would still have most of its bytes.
func strange(got, want []byte) bool {
	if zeros(got) {
		return true
	}
	for i := 0; i+8 <= len(got); i += 8 {
		unlike := 0
		for j := i; j < i+8; j++ {
			if got[j] != want[j] {
				unlike++
			}
		}
		if unlike < 2 {
			return false
		}
	}
	return true
}

// zeros reports whether b is all zero.
func zeros(b []byte) bool {
	for len(b) >= 32 {
		if binary.LittleEndian.Uint64(b)|binary.LittleEndian.Uint64(b[8:])|
			binary.LittleEndian.Uint64(b[16:])|binary.LittleEndian.Uint64(b[24:]) != 0 {
			return false
		}
		b = b[32:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
