package record

import (
	"encoding/binary"
	"math"
)

// Partitioner returns the partition, in [0, partitions), of a record with the given key. It is a pure
// function: equal arguments give equal results, in every process and for ever. With partitions below
// 1 it returns 0. Records without a key are not its business; given a nil key it treats it as empty.
type Partitioner func(key []byte, partitions int) int

// Murmur2 is the Partitioner that Kafka's Java client and franz-go use by default, and so does this
// project: MurmurHash2 of 32 bits with seed 0x9747b28c, its sign bit cleared, modulo partitions.
func Murmur2(key []byte, partitions int) int {
	if partitions < 1 {
		return 0
	}
	return int(int64(murmur2Sum(key)&math.MaxInt32) % int64(partitions))
}

// FNV1a is the Partitioner that sarama uses by default: FNV-1a of 32 bits as a signed number, modulo
// partitions, its sign dropped after that.
func FNV1a(key []byte, partitions int) int {
	if partitions < 1 {
		return 0
	}
	p := int64(int32(fnv1aSum(key))) % int64(partitions)
	return int(max(p, -p))
}

// murmur2Sum is Austin Appleby's MurmurHash2, 32-bit version, little-endian, with Kafka's seed.
// https://github.com/aappleby/smhasher/blob/master/src/MurmurHash2.cpp
func murmur2Sum(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		h = h*m ^ (k^k>>r)*m
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

// fnv1aSum is the 32-bit FNV-1a hash, http://www.isthe.com/chongo/tech/comp/fnv/, without the
// allocation of a hash.Hash.
func fnv1aSum(b []byte) uint32 {
	const (
		offsetBasis = 2166136261
		prime       = 16777619
	)
	h := uint32(offsetBasis)
	for _, c := range b {
		h = (h ^ uint32(c)) * prime
	}
	return h
}
