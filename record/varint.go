package record

import "math/bits"

const (
	maxVarintBytes   = 10 // the longest varint of 64 bits
	maxVarint32Bytes = 5  // the longest varint of 32 bits
)

// varintBytes returns how many bytes appendVarint takes for v.
func varintBytes(v int64) int {
	return (bits.Len64(zigzag(v)|1) + 6) / 7
}

// zigzag maps small numbers of either sign to small unsigned ones: 0, -1, 1, -2 to 0, 1, 2, 3.
func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

// putVarint writes v at b[i:], which has room, and returns the index behind it.
func putVarint(b []byte, i int, v int64) int {
	u := zigzag(v)
	for u >= 0x80 {
		b[i] = byte(u) | 0x80
		u >>= 7
		i++
	}
	b[i] = byte(u)
	return i + 1
}

// varint reads the varint at b[i:] and returns the index behind it, or -1 when there is none: b ends
// within it, or it does not fit 64 bits. An i of -1 yields -1, so that a chain of reads needs one check.
func varint(b []byte, i int) (v int64, next int) {
	if uint(i) < uint(len(b)) {
		if c := int64(b[i]); c < 0x80 {
			return c>>1 ^ -(c & 1), i + 1
		}
	}
	return longVarint(b, i)
}

func longVarint(b []byte, i int) (v int64, next int) {
	if i < 0 {
		return 0, -1
	}
	var u uint64
	for n := 0; n < maxVarintBytes && i+n < len(b); n++ {
		c := b[i+n]
		if n == maxVarintBytes-1 && c > 1 {
			return 0, -1
		}
		u |= uint64(c&0x7f) << (7 * n)
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i + n + 1
		}
	}
	return 0, -1
}

// varint32 is varint for numbers that the format limits to 32 bits and five bytes.
func varint32(b []byte, i int) (v int64, next int) {
	v, next = varint(b, i)
	if next-i > maxVarint32Bytes || v != int64(int32(v)) {
		return 0, -1
	}
	return v, next
}
