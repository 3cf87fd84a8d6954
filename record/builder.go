package record

import "slices"

// paddingBytes is kept free behind the records.
const paddingBytes = 8

// Builder encodes one batch at a time. Its zero value is ready; Reset begins the next batch and
// keeps the buffer, so that a Builder in use allocates nothing. It is for one goroutine at a time.
//
// Records are encoded into the builder's own buffer as they are appended, behind room for the head
// and for a prefix of the caller's choice. A batch that is not compressed can therefore be taken from
// that buffer as it stands (Encoded, EncodedWithPrefix); Finish copies or compresses it elsewhere.
type Builder struct {
	buf    []byte // prefix bytes, HeadBytes, records; empty before the first Reset or Append
	prefix int
	count  int

	baseTimestamp, maxTimestamp int64 // milliseconds; of the records so far

	leaderEpoch   int32
	hasProducer   bool // the three below are set
	producerEpoch int16
	baseSequence  int32
	producerID    int64
}

// Reset begins a new batch: no records, no producer, leader epoch 0, the prefix as long as before
// and zeroed. What Encoded and EncodedWithPrefix returned is invalid from here on.
func (b *Builder) Reset() { b.SetPrefix(b.prefix) }

// SetPrefix begins a new batch like Reset, with n zero bytes reserved in front of it for what the
// caller stores before a batch. A negative n counts as 0.
func (b *Builder) SetPrefix(n int) {
	n = max(n, 0)
	*b = Builder{buf: slices.Grow(b.buf[:0], n+HeadBytes)[:n+HeadBytes], prefix: n}
	clear(b.buf[:n])
}

// Producer marks the batch as the one that a producer numbered: an idempotent producer's id and
// epoch and the sequence number of the batch's first record. Without it all three are -1.
func (b *Builder) Producer(id int64, epoch int16, baseSequence int32) {
	b.hasProducer, b.producerID, b.producerEpoch, b.baseSequence = true, id, epoch, baseSequence
}

// LeaderEpoch sets the batch's leader epoch. Without it, it is 0.
func (b *Builder) LeaderEpoch(epoch int32) { b.leaderEpoch = epoch }

// Count returns the number of records appended since Reset.
func (b *Builder) Count() int { return b.count }

// Bytes returns the size of the batch so far, head included, prefix excluded, not compressed.
func (b *Builder) Bytes() int { return max(len(b.buf)-b.prefix, HeadBytes) }

// Append encodes r as the next record. Its timestamp is defaultTimestampMS, in milliseconds since
// 1970, when r's own is the zero time. r and its bytes stay the caller's and are not kept.
//
// Append knows no limit: a caller that has one asks EncodedRecordBytes and Bytes before. A batch
// that has outgrown the format, at 2 GiB, is refused by Finish and Encoded.
func (b *Builder) Append(r *Record, defaultTimestampMS int64) {
	timestamp := defaultTimestampMS
	if !r.Timestamp.IsZero() {
		timestamp = r.Timestamp.UnixMilli()
	}
	if b.count == 0 {
		if len(b.buf) == 0 {
			b.Reset()
		}
		b.baseTimestamp, b.maxTimestamp = timestamp, timestamp
	}
	b.maxTimestamp = max(b.maxTimestamp, timestamp)

	// The difference may overflow; it is added with the same overflow by who decodes it.
	timestampDelta, offsetDelta := timestamp-b.baseTimestamp, int64(b.count)
	body := bodyBytes(r, varintBytes(timestampDelta), varintBytes(offsetDelta))
	start, size := len(b.buf), varintBytes(int64(body))+body
	b.buf = slices.Grow(b.buf, size+paddingBytes)[:start+size]
	putRecord(b.buf[start:], r, body, timestampDelta, offsetDelta)
	b.count++
}

// putRecord encodes r over dst, which is exactly as long as it takes; body is its size behind the
// length prefix.
func putRecord(dst []byte, r *Record, body int, timestampDelta, offsetDelta int64) {
	i := putVarint(dst, 0, int64(body))
	dst[i] = 0 // attributes: none are defined
	i = putVarint(dst, i+1, timestampDelta)
	i = putVarint(dst, i, offsetDelta)
	i = putNullable(dst, i, r.Key)
	i = putNullable(dst, i, r.Value)
	i = putVarint(dst, i, int64(len(r.Headers)))
	for n := range r.Headers {
		h := &r.Headers[n]
		i = putVarint(dst, i, int64(len(h.Key)))
		i += copy(dst[i:], h.Key)
		i = putNullable(dst, i, h.Value)
	}
}

func putNullable(dst []byte, i int, b []byte) int {
	if b == nil {
		return putVarint(dst, i, -1)
	}
	i = putVarint(dst, i, int64(len(b)))
	return i + copy(dst[i:], b)
}

// Encoded completes the batch, not compressed, in the builder's own buffer and returns it, with base
// offset 0, and with its CRC or zero in its place. It returns nil when there are no records, or more
// than a batch can hold (2 GiB).
//
// The caller may change the bytes, and may append to the slice: what lies behind it in the buffer is
// free, so that padding needs no copy of the batch. All of it is valid until the next Append, Reset
// or SetPrefix, which overwrite it; the next Encoded writes the head anew.
func (b *Builder) Encoded(withCRC bool) []byte {
	whole := b.EncodedWithPrefix(withCRC)
	if whole == nil {
		return nil
	}
	return whole[b.prefix:]
}

// EncodedWithPrefix is Encoded with the bytes that SetPrefix reserved in front of the batch, which
// the caller fills in. The caller may append padding of up to 8 bytes without a new allocation.
func (b *Builder) EncodedWithPrefix(withCRC bool) []byte {
	if b.count == 0 || b.Bytes() > maxBatchBytes {
		return nil
	}
	b.putHead(b.buf[b.prefix:], None, withCRC)
	return b.buf
}

// Finish appends the batch to dst, compressed by c, and returns the extended slice. The base offset
// is 0; the CRC is set or zero. Records that c would not make smaller are left as they are, and the
// batch then says None. dst must not be the builder's own buffer.
//
// On error it returns dst as it was: ErrEmpty without records, a *CodecError, or a *TooLargeError for
// more than a batch can hold. The builder keeps its records either way, so that the same batch can be
// encoded again.
func (b *Builder) Finish(dst []byte, c Codec, withCRC bool) ([]byte, error) {
	switch {
	case !c.Supported():
		return dst, &CodecError{Name: c.String()}
	case b.count == 0:
		return dst, ErrEmpty
	case b.Bytes() > maxBatchBytes:
		return dst, &TooLargeError{Limit: maxBatchBytes - HeadBytes}
	}
	records := b.buf[b.prefix+HeadBytes:]
	start := len(dst)
	first := start + HeadBytes
	out := slices.Grow(dst, HeadBytes)[:first]
	if c != None {
		var err error
		if out, err = compress(out, c, records); err != nil {
			return dst, err
		}
		if len(out)-first >= len(records) {
			c, out = None, out[:first]
		}
	}
	if c == None {
		out = append(out, records...)
	}
	b.putHead(out[start:], c, withCRC)
	return out, nil
}

// putHead writes the head of batch, which is complete but for it.
func (b *Builder) putHead(batch []byte, c Codec, withCRC bool) {
	h := Head{
		Length:          int32(len(batch) - uncountedBytes),
		LeaderEpoch:     b.leaderEpoch,
		Magic:           magic,
		Attributes:      int16(c),
		LastOffsetDelta: int32(b.count - 1),
		BaseTimestamp:   b.baseTimestamp,
		MaxTimestamp:    b.maxTimestamp,
		ProducerID:      noProducer,
		ProducerEpoch:   noProducer,
		BaseSequence:    noProducer,
		Count:           int32(b.count),
	}
	if b.hasProducer {
		h.ProducerID, h.ProducerEpoch, h.BaseSequence = b.producerID, b.producerEpoch, b.baseSequence
	}
	h.put(batch)
	if withCRC {
		PutCRC(batch)
	}
}
