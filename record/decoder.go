package record

import "time"

// MaxDecodedBytes is the bound of a batch's records that Reset and Validate use when they are given
// none. It is what the largest commit holds.
const MaxDecodedBytes = 64 << 20

// Decoder reads the records of a batch, one after the other. Its zero value holds no batch; Reset
// gives it one, and keeps the buffers of the batch before. It is for one goroutine at a time.
//
// It keeps the largest buffer that it ever needed for expanded records; drop the Decoder to free it.
// Headers cost 40 bytes of memory each, which for empty ones is 20 times what they take in the batch.
type Decoder struct {
	head    Head
	records []byte // expanded; part of the batch or of buf
	at      int    // index in records of the next record
	read    int32  // records behind us
	delta   int64  // offset delta of the last record behind us, -1 before the first
	err     error  // first error; sticky until Reset

	buf     []byte // for expanded records, reused
	headers []Header
	keys    headerKeys
	strict  bool // see decompress
}

// keptHeaders is how many headers of a record a Decoder keeps room for between batches.
const keptHeaders = 1024

// Reset begins to read the batch that b begins with, and expands its records when they are
// compressed. The CRC is not verified.
//
// maxDecoded bounds the bytes of the records, expanded; 0 or less stands for MaxDecodedBytes. What
// exceeds it is a *TooLargeError; what is allocated until then stays within twice the bound, and a
// zstd window of 8 MiB beside it where the bound is smaller. A malformed head, or compressed records
// that do not expand, are a *BatchError; an unknown codec is a *CodecError.
//
// Records that are not compressed are read where they lie: b must not change as long as the records
// are used. Compressed ones lie in a buffer of the Decoder, which the next Reset overwrites.
func (d *Decoder) Reset(b []byte, maxDecoded int) error {
	if maxDecoded <= 0 {
		maxDecoded = MaxDecodedBytes
	}
	if cap(d.headers) > keptHeaders {
		d.headers = nil
	}
	d.head, d.records, d.at, d.read, d.delta, d.err = Head{}, nil, 0, 0, -1, nil
	d.err = d.begin(b, maxDecoded)
	return d.err
}

func (d *Decoder) begin(b []byte, maxDecoded int) error {
	h, err := ParseHead(b)
	if err != nil {
		return err
	}
	records := b[HeadBytes:h.Bytes():h.Bytes()]
	if c := h.Codec(); c == None {
		if len(records) > maxDecoded {
			return &TooLargeError{Limit: maxDecoded}
		}
	} else {
		expanded, err := decompress(d.buf, c, records, maxDecoded, d.strict)
		if err != nil {
			return compressionError(err)
		}
		d.buf, records = expanded, expanded
	}
	d.head, d.records = h, records
	return nil
}

// compressionError says of a decompressor's error where it came from, and passes on those of this
// package.
func compressionError(err error) error {
	switch err.(type) {
	case *TooLargeError, *CodecError:
		return err
	}
	return &BatchError{Byte: HeadBytes, Record: noRecord, Check: "compression", Err: err}
}

// Head returns the head of the batch; after a failed Reset the zero Head.
func (d *Decoder) Head() Head { return d.head }

// Rest drops the buffer for expanded records when it is larger than kept bytes. Afterwards nothing that d gave may be
// used, and d must be Reset.
func (d *Decoder) Rest(kept int) {
	if cap(d.buf) > kept {
		d.buf, d.records = nil, nil
	}
}

// Next decodes the next record into r and reports whether there was one. It sets Offset, Timestamp,
// Key, Value and Headers, and leaves Topic, Partition and Position alone. Key, Value and header
// values are valid as long as Reset says, r.Headers itself until the next call of Next. None of them
// may be changed. The header keys are ordinary strings, which may be kept.
//
// After the last record it checks that nothing is left over. Whatever is malformed is a *BatchError,
// which is given again by every later call; r is then undefined.
func (d *Decoder) Next(r *Record) (bool, error) {
	if d.err != nil {
		return false, d.err
	}
	if d.read == d.head.Count {
		if d.at != len(d.records) {
			return false, d.fail(d.at, "left over", 0, int64(len(d.records)-d.at))
		}
		return false, nil
	}
	f, err := d.frame()
	if err != nil {
		return false, err
	}
	if d.head.LogAppendTime() {
		r.Timestamp = time.UnixMilli(d.head.MaxTimestamp).UTC()
	} else {
		r.Timestamp = time.UnixMilli(d.head.BaseTimestamp + f.timestampDelta).UTC()
	}
	r.Offset = d.head.BaseOffset + f.offsetDelta
	b, i := d.records[:f.end], f.body
	if r.Key, i, err = d.nullable(b, i, "key length"); err != nil {
		return false, err
	}
	if r.Value, i, err = d.nullable(b, i, "value length"); err != nil {
		return false, err
	}
	if r.Headers, i, err = d.readHeaders(b, i); err != nil {
		return false, err
	}
	if i != f.end {
		return false, d.fail(i, "left over", 0, int64(f.end-i))
	}
	d.pass(f)
	return true, nil
}

// SkipTo moves on so that the next record is the first one with the given offset or a later one. The
// records passed over are not decoded beyond their offset. It never moves back. When all records lie
// below the offset it stands behind the last one, which is not an error.
func (d *Decoder) SkipTo(offset int64) error {
	if d.err != nil {
		return d.err
	}
	for d.read < d.head.Count {
		f, err := d.frame()
		if err != nil {
			return err
		}
		if d.head.BaseOffset+f.offsetDelta >= offset {
			return nil
		}
		d.pass(f)
	}
	return nil
}

// frame is a record's place in the records and what stands before its key.
type frame struct {
	body, end                   int // of records: [body, end) is the key and what follows it
	timestampDelta, offsetDelta int64
}

// pass makes f, which has been read, the last record behind us.
func (d *Decoder) pass(f frame) { d.at, d.delta, d.read = f.end, f.offsetDelta, d.read+1 }

// frame reads the beginning of the record at d.at.
func (d *Decoder) frame() (frame, error) {
	b := d.records
	size, i := varint32(b, d.at)
	if i < 0 {
		return frame{}, d.unreadable(b, d.at, "record length")
	}
	if left := int64(len(b) - i); size < 0 || size > left {
		return frame{}, d.fail(d.at, "record length", left, size)
	}
	f := frame{end: i + int(size)}
	b = b[:f.end]
	if size < 1 {
		return frame{}, d.fail(d.at, "record length", 1, size)
	}
	i++ // attributes, of which none are defined; they are ignored, as everywhere
	var next int
	if f.timestampDelta, next = varint(b, i); next < 0 {
		return frame{}, d.unreadable(b, i, "timestamp delta")
	}
	i = next
	if f.offsetDelta, next = varint32(b, i); next < 0 {
		return frame{}, d.unreadable(b, i, "offset delta")
	}
	if f.offsetDelta <= d.delta {
		return frame{}, d.fail(i, "offset delta", d.delta+1, f.offsetDelta)
	}
	if last := int64(d.head.LastOffsetDelta); f.offsetDelta > last {
		return frame{}, d.fail(i, "offset delta", last, f.offsetDelta)
	}
	f.body = next
	return f, nil
}

// nullable reads a length, -1 for null, and as many bytes at b[i:]; it returns them and the index
// behind them.
func (d *Decoder) nullable(b []byte, i int, check string) ([]byte, int, error) {
	size, next := varint32(b, i)
	if next < 0 {
		return nil, 0, d.unreadable(b, i, check)
	}
	if size == -1 {
		return nil, next, nil
	}
	if left := len(b) - next; size < 0 || size > int64(left) {
		return nil, 0, d.fail(i, check, int64(left), size)
	}
	end := next + int(size)
	return b[next:end:end], end, nil
}

// readHeaders reads the headers at b[i:] into d.headers.
func (d *Decoder) readHeaders(b []byte, i int) ([]Header, int, error) {
	count, next := varint32(b, i)
	if next < 0 {
		return nil, 0, d.unreadable(b, i, "header count")
	}
	if count == 0 {
		return nil, next, nil
	}
	// A header takes two bytes at least. The slice grows with the headers that are there, not with
	// the count.
	if most := int64(len(b)-next) / 2; count < 0 || count > most {
		return nil, 0, d.fail(i, "header count", most, count)
	}
	i, d.headers = next, d.headers[:0]
	for range count {
		at := i
		key, next, err := d.nullable(b, at, "header key length")
		if err != nil {
			return nil, 0, err
		}
		if key == nil {
			return nil, 0, d.fail(at, "header key length", 0, -1)
		}
		value, next, err := d.nullable(b, next, "header value length")
		if err != nil {
			return nil, 0, err
		}
		d.headers, i = append(d.headers, Header{Key: d.keys.intern(key), Value: value}), next
	}
	return d.headers[:len(d.headers):len(d.headers)], i, nil
}

// unreadable is fail for a number at b[i:] that does not end or is too long.
func (d *Decoder) unreadable(b []byte, i int, check string) error {
	return d.fail(i, check, 1, int64(len(b)-i))
}

func (d *Decoder) fail(at int, check string, want, got int64) error {
	d.err = &BatchError{Byte: HeadBytes + at, Record: int(d.read), Check: check, Want: want, Got: got}
	return d.err
}
