package record

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// HeadBytes is the size of a batch's head; its records begin there.
const HeadBytes = 61

// Where the fields of a head lie; the package doc has the picture.
const (
	atBaseOffset      = 0
	atLength          = 8
	atLeaderEpoch     = 12
	atMagic           = 16
	atCRC             = 17
	atAttributes      = 21
	atLastOffsetDelta = 23
	atBaseTimestamp   = 27
	atMaxTimestamp    = 35
	atProducerID      = 43
	atProducerEpoch   = 51
	atBaseSequence    = 53
	atCount           = 57
)

// Bits of Head.Attributes.
const (
	codecMask        = 7
	logAppendTimeBit = 1 << 3
	transactionalBit = 1 << 4
	controlBit       = 1 << 5
)

const (
	magic           = 2
	uncountedBytes  = 12 // bytes in front of those that Length counts
	minCountedBytes = HeadBytes - uncountedBytes
	minRecordBytes  = 7 // length, attributes, two deltas, two lengths, header count
	maxBatchBytes   = math.MaxInt32

	noProducer = -1 // for each of a producer's three fields
	noRecord   = -1 // BatchError.Record in the head
)

// Head is the fixed part of a batch.
type Head struct {
	BaseOffset      int64 // offset of the batch's first record, before any compaction
	Length          int32 // bytes behind the length field; Bytes is the whole
	LeaderEpoch     int32
	Magic           int8 // 2
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32 // BaseOffset + LastOffsetDelta + 1 is the next batch's first offset
	BaseTimestamp   int64 // milliseconds since 1970, UTC
	MaxTimestamp    int64 // milliseconds since 1970, UTC
	ProducerID      int64 // -1: none
	ProducerEpoch   int16 // -1: none
	BaseSequence    int32 // -1: none
	Count           int32 // records in the batch
}

// Codec returns how the records are compressed; it may be one that is not Supported.
func (h Head) Codec() Codec { return Codec(h.Attributes & codecMask) }

// Transactional reports whether the batch belongs to a producer's transaction.
func (h Head) Transactional() bool { return h.Attributes&transactionalBit != 0 }

// Control reports whether the batch marks the end of a transaction and is not for users.
func (h Head) Control() bool { return h.Attributes&controlBit != 0 }

// LogAppendTime reports whether MaxTimestamp stands for the timestamp of every record.
func (h Head) LogAppendTime() bool { return h.Attributes&logAppendTimeBit != 0 }

// Bytes returns the encoded size of the whole batch.
func (h Head) Bytes() int { return uncountedBytes + int(h.Length) }

// ParseHead reads the head of the batch that b begins with. b holds the whole batch and may go on
// behind it.
//
// It checks that the fields agree with each other and with len(b); neither the CRC nor the codec nor
// the records. A head that fails is a *BatchError.
func ParseHead(b []byte) (Head, error) {
	if len(b) < HeadBytes {
		return Head{}, headError(0, "size", HeadBytes, int64(len(b)))
	}
	be := binary.BigEndian
	h := Head{
		BaseOffset:      int64(be.Uint64(b[atBaseOffset:])),
		Length:          int32(be.Uint32(b[atLength:])),
		LeaderEpoch:     int32(be.Uint32(b[atLeaderEpoch:])),
		Magic:           int8(b[atMagic]),
		CRC:             be.Uint32(b[atCRC:]),
		Attributes:      int16(be.Uint16(b[atAttributes:])),
		LastOffsetDelta: int32(be.Uint32(b[atLastOffsetDelta:])),
		BaseTimestamp:   int64(be.Uint64(b[atBaseTimestamp:])),
		MaxTimestamp:    int64(be.Uint64(b[atMaxTimestamp:])),
		ProducerID:      int64(be.Uint64(b[atProducerID:])),
		ProducerEpoch:   int16(be.Uint16(b[atProducerEpoch:])),
		BaseSequence:    int32(be.Uint32(b[atBaseSequence:])),
		Count:           int32(be.Uint32(b[atCount:])),
	}
	if err := h.check(len(b)); err != nil {
		return Head{}, err
	}
	return h, nil
}

// check tells whether h can be the head of a batch for which there are available bytes. The magic
// goes first: the other fields of another version lie elsewhere.
func (h *Head) check(available int) error {
	last := int64(h.LastOffsetDelta)
	switch {
	case h.Magic != magic:
		return headError(atMagic, "magic", magic, int64(h.Magic))
	case h.Length < minCountedBytes:
		return headError(atLength, "length", minCountedBytes, int64(h.Length))
	case int64(h.Length) > int64(available)-uncountedBytes:
		return headError(atLength, "length", int64(available)-uncountedBytes, int64(h.Length))
	case h.BaseOffset < 0:
		return headError(atBaseOffset, "base offset", 0, h.BaseOffset)
	case last < 0:
		return headError(atLastOffsetDelta, "last offset delta", 0, last)
	case h.BaseOffset > math.MaxInt64-1-last:
		return headError(atLastOffsetDelta, "last offset delta", math.MaxInt64-1-h.BaseOffset, last)
	case h.Count < 1:
		return headError(atCount, "count", 1, int64(h.Count))
	case int64(h.Count) > last+1:
		return headError(atCount, "count", last+1, int64(h.Count))
	}
	if most := (int64(h.Length) - minCountedBytes) / minRecordBytes; h.Codec() == None && int64(h.Count) > most {
		return headError(atCount, "count", most, int64(h.Count))
	}
	return nil
}

func headError(at int, check string, want, got int64) error {
	return &BatchError{Byte: at, Record: noRecord, Check: check, Want: want, Got: got}
}

// put writes h over the first HeadBytes of b.
func (h *Head) put(b []byte) {
	be := binary.BigEndian
	_ = b[HeadBytes-1]
	be.PutUint64(b[atBaseOffset:], uint64(h.BaseOffset))
	be.PutUint32(b[atLength:], uint32(h.Length))
	be.PutUint32(b[atLeaderEpoch:], uint32(h.LeaderEpoch))
	b[atMagic] = byte(h.Magic)
	be.PutUint32(b[atCRC:], h.CRC)
	be.PutUint16(b[atAttributes:], uint16(h.Attributes))
	be.PutUint32(b[atLastOffsetDelta:], uint32(h.LastOffsetDelta))
	be.PutUint64(b[atBaseTimestamp:], uint64(h.BaseTimestamp))
	be.PutUint64(b[atMaxTimestamp:], uint64(h.MaxTimestamp))
	be.PutUint64(b[atProducerID:], uint64(h.ProducerID))
	be.PutUint16(b[atProducerEpoch:], uint16(h.ProducerEpoch))
	be.PutUint32(b[atBaseSequence:], uint32(h.BaseSequence))
	be.PutUint32(b[atCount:], uint32(h.Count))
}

// PutBaseOffset sets the base offset of the batch that b begins with. The CRC does not cover it.
func PutBaseOffset(b []byte, offset int64) {
	binary.BigEndian.PutUint64(b[atBaseOffset:], uint64(offset))
}

// PutLeaderEpoch sets the leader epoch of the batch that b begins with. The CRC does not cover it.
func PutLeaderEpoch(b []byte, epoch int32) {
	binary.BigEndian.PutUint32(b[atLeaderEpoch:], uint32(epoch))
}

// PutCRC computes and sets the CRC of the batch that b begins with. The batch is one that a Builder
// made or ParseHead took; on anything shorter it panics.
func PutCRC(b []byte) {
	binary.BigEndian.PutUint32(b[atCRC:], batchCRC(b))
}

// VerifyCRC checks the CRC of the batch that b begins with. A wrong CRC, like a head that ParseHead
// refuses, is a *BatchError.
func VerifyCRC(b []byte) error {
	h, err := ParseHead(b)
	if err != nil {
		return err
	}
	if got := batchCRC(b); got != h.CRC {
		return headError(atCRC, "crc", int64(got), int64(h.CRC))
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batchCRC returns the CRC-32C of the batch that b begins with.
func batchCRC(b []byte) uint32 {
	end := uncountedBytes + int(binary.BigEndian.Uint32(b[atLength:]))
	return crc32.Checksum(b[atAttributes:end], castagnoli)
}
