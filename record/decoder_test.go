package record

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// handmade returns a batch of count records, offsets 100 on, with the given bytes in their place. The
// CRC is right.
func handmade(count int, records ...byte) []byte {
	b := append(make([]byte, HeadBytes), records...)
	h := Head{BaseOffset: 100, Length: int32(len(b) - 12), Magic: 2, LastOffsetDelta: int32(count - 1), Count: int32(count),
		BaseTimestamp: 1000, MaxTimestamp: 2000, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	h.put(b)
	PutCRC(b)
	return b
}

// drain reads to the end or to the first error and returns the records read.
func drain(d *Decoder) (out []Record, err error) {
	for r := (Record{}); ; {
		more, err := d.Next(&r)
		if err != nil || !more {
			return out, err
		}
		out = append(out, r.Clone())
	}
}

func TestDecoderRefuses(t *testing.T) {
	// A record of 6 bytes behind its length: attributes, timestamp delta 0, offset delta 0, no key,
	// null value, no headers. Bytes of the errors count from the batch; the first record begins at 61.
	// filler makes room, for the plausibility of the count.
	record := []byte{12, 0, 0, 0, 1, 1, 0}
	with := func(at int, v ...byte) []byte {
		b := append([]byte(nil), record[:at]...)
		b = append(append(b, v...), record[at+1:]...)
		b[0] = byte(len(b)-1) << 1
		return b
	}
	long := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} // no varint
	max32 := []byte{0xfe, 0xff, 0xff, 0xff, 0x0f}                                    // 2^31-1
	for _, tc := range []struct {
		name    string
		count   int
		records []byte
		want    BatchError
	}{
		{"record longer than the batch", 1, []byte{14, 0, 0, 0, 1, 1, 0}, BatchError{61, 0, "record length", 6, 7, nil}},
		{"record length negative", 1, []byte{1, 0, 0, 0, 1, 1, 0}, BatchError{61, 0, "record length", 6, -1, nil}},
		{"record length endless", 1, long, BatchError{61, 0, "record length", 1, 11, nil}},
		{"record length zero", 1, []byte{0, 0, 0, 0, 1, 1, 0}, BatchError{61, 0, "record length", 1, 0, nil}},
		{"record of attributes only", 1, []byte{2, 0, 0, 0, 1, 1, 0}, BatchError{63, 0, "timestamp delta", 1, 0, nil}},
		{"timestamp endless", 1, with(2, long...), BatchError{63, 0, "timestamp delta", 1, 15, nil}},
		{"offset endless", 1, with(3, long...), BatchError{64, 0, "offset delta", 1, 14, nil}},
		{"offset beyond 32 bits", 1, with(3, 0x80, 0x80, 0x80, 0x80, 0x20), BatchError{64, 0, "offset delta", 1, 8, nil}},
		{"offset negative", 1, with(3, 1), BatchError{64, 0, "offset delta", 0, -1, nil}},
		{"offset beyond the last", 1, with(3, 2), BatchError{64, 0, "offset delta", 0, 1, nil}},
		{"offset twice", 2, append(with(3, 0), record...), BatchError{71, 1, "offset delta", 1, 0, nil}},
		{"key longer than the record", 1, with(4, 6), BatchError{65, 0, "key length", 2, 3, nil}},
		{"key of 2 GiB", 1, with(4, max32...), BatchError{65, 0, "key length", 2, math.MaxInt32, nil}},
		{"key length below -1", 1, with(4, 3), BatchError{65, 0, "key length", 2, -2, nil}},
		{"key length endless", 1, with(4, long...), BatchError{65, 0, "key length", 1, 13, nil}},
		{"value longer than the record", 1, with(5, 4), BatchError{66, 0, "value length", 1, 2, nil}},
		{"value length missing", 1, []byte{8, 0, 0, 0, 1, 1, 0}, BatchError{66, 0, "value length", 1, 0, nil}},
		{"headers negative", 1, with(6, 1), BatchError{67, 0, "header count", 0, -1, nil}},
		{"headers of 2 Gi", 1, with(6, max32...), BatchError{67, 0, "header count", 0, math.MaxInt32, nil}},
		{"headers missing", 1, with(6), BatchError{67, 0, "header count", 1, 0, nil}},
		{"header key null", 1, with(6, 2, 1, 1), BatchError{68, 0, "header key length", 0, -1, nil}},
		{"header key too long", 1, with(6, 2, 8, 1), BatchError{68, 0, "header key length", 1, 4, nil}},
		{"header value too long", 1, with(6, 2, 0, 2), BatchError{69, 0, "header value length", 0, 1, nil}},
		{"header value missing", 1, with(6, 2, 2, 'k'), BatchError{70, 0, "header value length", 1, 0, nil}},
		{"left over in a record", 1, with(6, 0, 9), BatchError{68, 0, "left over", 0, 1, nil}},
		{"left over in the batch", 1, append(with(6, 0), 5, 6, 7), BatchError{68, 1, "left over", 0, 3, nil}},
		{"a record less than counted", 2, append(with(6, 2, 12, 'a', 'b', 'c', 'd', 'e', 'f', 1), []byte{}...),
			BatchError{76, 1, "record length", 1, 0, nil}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.count == 1 && len(tc.records) < 7 {
				tc.records = append(tc.records, make([]byte, 7-len(tc.records))...)
			}
			batch := handmade(tc.count, tc.records...)
			var d Decoder
			require.NoError(t, d.Reset(batch, 0))
			_, err := drain(&d)
			var got *BatchError
			require.ErrorAs(t, err, &got)
			assert.Equal(t, tc.want, *got)
			assert.ErrorIs(t, err, ErrBatch)

			// The error stays, for SkipTo too, until Reset.
			more, again := d.Next(new(Record))
			assert.False(t, more)
			assert.Equal(t, err, again)
			assert.Equal(t, err, d.SkipTo(math.MaxInt64))
			_, err = Validate(batch, 0)
			assert.Equal(t, got, err)
			require.NoError(t, d.Reset(built(someRecords...).Encoded(false), 0))
			more, err = d.Next(new(Record))
			assert.True(t, more)
			assert.NoError(t, err)
		})
	}
}

func TestDecoderTimestamps(t *testing.T) {
	b := built(
		Record{Timestamp: at(math.MaxInt64)},
		Record{Timestamp: at(math.MinInt64)}, // the difference does not fit 64 bits
		Record{Timestamp: at(-1)},
		Record{Timestamp: time.Unix(5, 999_999_999)},
		Record{},
	)
	batch := b.Encoded(true)
	h, err := ParseHead(batch)
	require.NoError(t, err)
	assert.Equal(t, int64(math.MaxInt64), h.BaseTimestamp)
	assert.Equal(t, int64(math.MaxInt64), h.MaxTimestamp)
	var got []int64
	for _, r := range decoded(t, batch) {
		assert.Equal(t, time.UTC, r.Timestamp.Location())
		got = append(got, r.Timestamp.UnixMilli())
	}
	assert.Equal(t, []int64{math.MaxInt64, math.MinInt64, -1, 5999, 42}, got)

	// With log append time, the maximum is everybody's.
	batch[22] |= 8
	binary.BigEndian.PutUint64(batch[35:], 777)
	for _, r := range decoded(t, batch) {
		assert.Equal(t, int64(777), r.Timestamp.UnixMilli())
	}
}

func TestDecoderReadsGaps(t *testing.T) {
	batch := handmade(3, 12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0, 12, 0, 0, 18, 1, 1, 0)
	binary.BigEndian.PutUint32(batch[23:], 40) // last offset delta
	PutCRC(batch)
	var d Decoder
	for _, tc := range []struct {
		skip int64
		want []int64
	}{
		{0, []int64{101, 102, 109}},
		{101, []int64{101, 102, 109}},
		{102, []int64{102, 109}},
		{103, []int64{109}},
		{109, []int64{109}},
		{110, nil},
		{math.MaxInt64, nil},
	} {
		require.NoError(t, d.Reset(batch, 0))
		require.NoError(t, d.SkipTo(tc.skip))
		require.NoError(t, d.SkipTo(0)) // never moves back
		records, err := drain(&d)
		require.NoError(t, err)
		var got []int64
		for _, r := range records {
			got = append(got, r.Offset)
		}
		assert.Equal(t, tc.want, got, "from %d", tc.skip)
	}
	_, err := Validate(batch, 0)
	var e *BatchError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, BatchError{23, -1, "last offset delta", 2, 40, nil}, *e)
}

func TestDecoderLendsBytes(t *testing.T) {
	b := built(someRecords...)
	plain := b.Encoded(false)
	for _, c := range codecs {
		batch, err := b.Finish(nil, c, false)
		require.NoError(t, err)
		var d Decoder
		require.NoError(t, d.Reset(batch, 0))
		var r Record
		_, err = d.Next(&r)
		require.NoError(t, err)
		// The key lies in the batch where it is not compressed, and only there.
		assert.Equal(t, "k", string(r.Key))
		clear(batch)
		if c == None {
			assert.Equal(t, "\x00", string(r.Key))
		} else {
			assert.Equal(t, "k", string(r.Key))
		}
		assert.Equal(t, 1, cap(r.Key), "appending to a lent slice must not reach its neighbour")
	}
	assert.Equal(t, plain, b.Encoded(false))
}

func TestDecoderWithoutBatch(t *testing.T) {
	var d Decoder
	more, err := d.Next(new(Record))
	assert.False(t, more)
	assert.NoError(t, err)
	assert.NoError(t, d.SkipTo(5))
	require.Error(t, d.Reset(nil, 0))
	_, err = d.Next(new(Record))
	assert.ErrorIs(t, err, ErrBatch)
	assert.Zero(t, d.Head())
}

func TestHeaderKeysAreRemembered(t *testing.T) {
	var k headerKeys
	lent := []byte("trace")
	kept := k.intern(lent)
	copy(lent, "XXXXX")
	assert.Equal(t, "trace", kept, "a key is a string of its own")
	// More keys than there are slots, again and again: each comes back right.
	for range 3 {
		for i := range 200 {
			key := strings.Repeat("k", i)
			assert.Equal(t, key, k.intern([]byte(key)))
		}
	}
	for _, s := range k.slots {
		assert.LessOrEqual(t, len(s), rememberedKeyBytes)
	}
}

func TestValidateRefuses(t *testing.T) {
	good, err := built(someRecords...).Finish(nil, Zstd, true)
	require.NoError(t, err)
	resealed := func(edit func([]byte)) []byte {
		b := edited(good, edit)
		PutCRC(b)
		return b
	}
	for _, tc := range []struct {
		name  string
		batch []byte
		check string // of a *BatchError
		is    error
	}{
		{"two batches", append(edited(good, func([]byte) {}), good...), "length", ErrBatch},
		{"a byte behind it", append(edited(good, func([]byte) {}), 0), "length", ErrBatch},
		{"wrong crc", edited(good, setI32(17, 1)), "crc", ErrBatch},
		{"offsets with a gap", resealed(setI32(23, 9)), "last offset delta", ErrBatch},
		{"lz4", resealed(setI8(22, 3)), "", ErrCodec},
		{"codec 7", resealed(setI8(22, 7)), "", ErrCodec},
		{"another codec than used", resealed(setI8(22, 1)), "compression", ErrBatch},
		{"compressed bytes damaged", resealed(setI8(62, 0)), "compression", ErrBatch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, err := Validate(tc.batch, 0)
			assert.Zero(t, h)
			require.ErrorIs(t, err, tc.is)
			var e *BatchError
			if errors.As(err, &e) {
				assert.Equal(t, tc.check, e.Check)
				assert.NotEmpty(t, e.Error())
			}
		})
	}
}

func FuzzDecoder(f *testing.F) {
	for _, c := range codecs {
		batch, err := built(someRecords...).Finish(nil, c, true)
		require.NoError(f, err)
		f.Add(batch)
	}
	f.Add(handmade(1, 12, 0, 0, 0, 1, 1, 0))
	f.Add(handmade(1, 18, 0, 0, 0, 1, 1, 2, 2, 'k', 1))
	f.Fuzz(func(t *testing.T, batch []byte) {
		const limit = 1 << 20
		var d Decoder
		if err := d.Reset(batch, limit); err != nil {
			checkTyped(t, err)
			return
		}
		require.LessOrEqual(t, len(d.records), limit)
		records, err := drain(&d)
		if err != nil {
			checkTyped(t, err)
			return
		}
		h := d.Head()
		require.Len(t, records, int(h.Count))
		for i, r := range records {
			require.GreaterOrEqual(t, r.Offset, h.BaseOffset)
			require.LessOrEqual(t, r.Offset, h.BaseOffset+int64(h.LastOffsetDelta))
			require.True(t, i == 0 || records[i-1].Offset < r.Offset)
			require.NoError(t, d.Reset(batch, limit))
			require.NoError(t, d.SkipTo(r.Offset))
			var again Record
			more, err := d.Next(&again)
			require.NoError(t, err)
			require.True(t, more)
			require.Equal(t, r, again)
			if i == 20 {
				break // quadratic
			}
		}
		// What was taken can be encoded, and then is the same but for offsets, which become dense.
		b := built()
		for i := range records {
			b.Append(&records[i], time.Time{}.UnixMilli()) // what the zero time, were there one, stands for
			records[i].Offset = int64(i)
		}
		require.Equal(t, records, decoded(t, b.Encoded(false)))
	})
}

// checkTyped requires one of the errors that this package gives for bad batches.
func checkTyped(t *testing.T, err error) {
	require.True(t, errors.Is(err, ErrBatch) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrCodec), "%v", err)
	require.NotEmpty(t, err.Error())
}

func FuzzValidate(f *testing.F) {
	for _, c := range codecs {
		batch, err := built(someRecords...).Finish(nil, c, true)
		require.NoError(f, err)
		f.Add(batch)
	}
	f.Fuzz(func(t *testing.T, batch []byte) {
		batch = append([]byte(nil), batch...)
		if _, err := ParseHead(batch); err == nil {
			PutCRC(batch) // or nearly all inputs would end there
		}
		h, err := Validate(batch, 1<<20)
		if err != nil {
			checkTyped(t, err)
			return
		}
		var d Decoder
		require.NoError(t, d.Reset(batch, 1<<20))
		records, err := drain(&d)
		require.NoError(t, err)
		require.Len(t, records, int(h.Count))
		for i, r := range records {
			require.Equal(t, h.BaseOffset+int64(i), r.Offset)
		}
	})
}

// TestDecoderRests: a large batch leaves no large buffer behind, a small one keeps its own.
func TestDecoderRests(t *testing.T) {
	var d Decoder
	batch := func(n int) []byte {
		var b Builder
		b.Append(&Record{Value: make([]byte, n)}, 0)
		out, err := b.Finish(nil, Zstd, false)
		require.NoError(t, err)
		return out
	}
	small, large := batch(100), batch(4<<20)
	for range 2 {
		require.NoError(t, d.Reset(large, 0))
		require.GreaterOrEqual(t, cap(d.buf), 4<<20)
		d.Rest(1 << 20)
		require.Zero(t, cap(d.buf))
		require.NoError(t, d.Reset(small, 0))
		d.Rest(1 << 20)
		var r Record
		require.NoError(t, d.Reset(small, 0))
		ok, err := d.Next(&r)
		require.NoError(t, err)
		require.True(t, ok)
		require.Len(t, r.Value, 100)
	}
	kept := cap(d.buf)
	require.Positive(t, kept)
	d.Rest(1 << 20)
	require.Equal(t, kept, cap(d.buf))
}
