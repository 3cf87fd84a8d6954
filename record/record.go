package record

import (
	"bytes"
	"slices"
	"time"
)

// Record is what users append and read.
//
// Who owns Key, Value and Headers is said by the function that a Record is given to or comes from:
// Builder.Append only reads them during the call, Decoder.Next lends them until its next call.
// Clone makes a Record that can be kept.
type Record struct {
	// Topic, Partition, Offset and Position say where the record is. Readers set them; appends
	// ignore them.
	Topic     string
	Partition int32
	// Offset is the record's number in its partition, from 0.
	Offset int64
	// Position is the record's number in the whole log, from 0.
	Position uint64

	// Timestamp is kept in milliseconds; what is finer is cut off. Readers get UTC. The zero
	// time on append means the log's time.
	Timestamp time.Time
	// Key is nil for a record without a key, which differs from an empty key.
	Key []byte
	// Value is nil for a null value, which differs from an empty value.
	Value []byte
	// Headers keep their order and may repeat a key.
	Headers []Header
}

// Header is a named value beside a record's own.
type Header struct {
	Key   string
	Value []byte // nil for a null value
}

// Header returns the value of the last header named key, as a later header overrides an earlier
// one, and whether there is any. The bytes are those of r.Headers.
func (r *Record) Header(key string) (value []byte, ok bool) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}

// Clone returns a copy of r that shares no bytes with it.
func (r *Record) Clone() Record {
	c := *r
	c.Key = bytes.Clone(r.Key)
	c.Value = bytes.Clone(r.Value)
	c.Headers = slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = bytes.Clone(c.Headers[i].Value)
	}
	return c
}

// EncodedRecordBytes returns an upper bound of the bytes that r takes in a batch before
// compression, its length prefix included. It exceeds the true number by at most 18: how the
// timestamp and the offset are written depends on the batch's first record.
func EncodedRecordBytes(r *Record) int {
	const maxLengthBytes = 5
	return maxLengthBytes + bodyBytes(r, maxVarintBytes, maxVarint32Bytes)
}

// bodyBytes returns the encoded size of r behind its length prefix, when its timestamp delta and
// offset delta take the given numbers of bytes.
func bodyBytes(r *Record, timestampBytes, offsetBytes int) int {
	n := 1 + timestampBytes + offsetBytes + nullableBytes(r.Key) + nullableBytes(r.Value) +
		varintBytes(int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		n += varintBytes(int64(len(h.Key))) + len(h.Key) + nullableBytes(h.Value)
	}
	return n
}

// nullableBytes returns the encoded size of b with its length.
func nullableBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return varintBytes(int64(len(b))) + len(b)
}
