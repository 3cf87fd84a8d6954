package record

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// edited returns a copy of batch after edit.
func edited(batch []byte, edit func(b []byte)) []byte {
	b := append([]byte(nil), batch...)
	edit(b)
	return b
}

func setI8(at int, v int8) func([]byte) { return func(b []byte) { b[at] = byte(v) } }
func setI32(at int, v int32) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
}
func setI64(at int, v int64) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }
}

func TestParseHeadRefuses(t *testing.T) {
	good := built(someRecords...).Encoded(true)
	size := int64(len(good))
	for _, tc := range []struct {
		name  string
		batch []byte
		want  BatchError
	}{
		{"nothing", nil, BatchError{Byte: 0, Check: "size", Want: 61, Got: 0}},
		{"less than a head", good[:60], BatchError{Byte: 0, Check: "size", Want: 61, Got: 60}},
		{"cut short", good[:size-1], BatchError{Byte: 8, Check: "length", Want: size - 13, Got: size - 12}},
		{"magic 1", edited(good, setI8(16, 1)), BatchError{Byte: 16, Check: "magic", Want: 2, Got: 1}},
		{"magic before length", edited(good[:61], setI8(16, 3)), BatchError{Byte: 16, Check: "magic", Want: 2, Got: 3}},
		{"length below a head's", edited(good, setI32(8, 48)), BatchError{Byte: 8, Check: "length", Want: 49, Got: 48}},
		{"length negative", edited(good, setI32(8, -1)), BatchError{Byte: 8, Check: "length", Want: 49, Got: -1}},
		{"length huge", edited(good, setI32(8, math.MaxInt32)),
			BatchError{Byte: 8, Check: "length", Want: size - 12, Got: math.MaxInt32}},
		{"base offset negative", edited(good, setI64(0, -1)), BatchError{Byte: 0, Check: "base offset", Want: 0, Got: -1}},
		{"last offset delta negative", edited(good, setI32(23, -1)),
			BatchError{Byte: 23, Check: "last offset delta", Want: 0, Got: -1}},
		{"next offset overflows", edited(good, setI64(0, math.MaxInt64-3)),
			BatchError{Byte: 23, Check: "last offset delta", Want: 2, Got: 3}},
		{"count zero", edited(good, setI32(57, 0)), BatchError{Byte: 57, Check: "count", Want: 1, Got: 0}},
		{"count negative", edited(good, setI32(57, -5)), BatchError{Byte: 57, Check: "count", Want: 1, Got: -5}},
		{"count above offsets", edited(good, setI32(57, 5)), BatchError{Byte: 57, Check: "count", Want: 4, Got: 5}},
		{"count above bytes", edited(edited(good, setI32(57, math.MaxInt32)), setI32(23, math.MaxInt32)),
			BatchError{Byte: 57, Check: "count", Want: (size - 61) / 7, Got: math.MaxInt32}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.want.Record = -1
			h, err := ParseHead(tc.batch)
			var got *BatchError
			require.ErrorAs(t, err, &got)
			assert.Equal(t, tc.want, *got)
			assert.ErrorIs(t, err, ErrBatch)
			assert.Zero(t, h)
			assert.Equal(t, err, VerifyCRC(tc.batch))
			_, err = Validate(tc.batch, 0)
			assert.Equal(t, got, err)
		})
	}
}

func TestParseHeadTakes(t *testing.T) {
	good := built(someRecords...).Encoded(false)
	for _, tc := range []struct {
		name  string
		batch []byte
	}{
		{"as built", good},
		{"more behind it", append(edited(good, func([]byte) {}), "next"...)},
		{"the highest offset", edited(good, setI64(0, math.MaxInt64-4))},
		{"gaps after compaction", edited(good, setI32(23, 90))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, err := ParseHead(tc.batch)
			require.NoError(t, err)
			assert.Equal(t, len(good), h.Bytes())
			again := make([]byte, HeadBytes)
			h.put(again)
			assert.Equal(t, tc.batch[:HeadBytes], again)
		})
	}
}

func TestHeadAttributes(t *testing.T) {
	for _, tc := range []struct {
		attributes           int16
		codec                Codec
		logTime, tx, control bool
	}{
		{0, None, false, false, false},
		{1, Gzip, false, false, false},
		{4, Zstd, false, false, false},
		{7, 7, false, false, false},
		{8 | 2, Snappy, true, false, false},
		{16, None, false, true, false},
		{32 | 16, None, false, true, true},
	} {
		h := Head{Attributes: tc.attributes}
		assert.Equal(t, tc.codec, h.Codec(), tc.attributes)
		assert.Equal(t, tc.logTime, h.LogAppendTime(), tc.attributes)
		assert.Equal(t, tc.tx, h.Transactional(), tc.attributes)
		assert.Equal(t, tc.control, h.Control(), tc.attributes)
	}
}

func TestVerifyCRC(t *testing.T) {
	batch := built(someRecords...).Encoded(true)
	PutBaseOffset(batch, 77) // neither of them is covered
	PutLeaderEpoch(batch, 5)
	require.NoError(t, VerifyCRC(batch))
	require.NoError(t, VerifyCRC(append(edited(batch, func([]byte) {}), "next"...)))
	for at := 17; at < len(batch); at++ {
		damaged := edited(batch, func(b []byte) { b[at] ^= 0x10 })
		require.ErrorIs(t, VerifyCRC(damaged), ErrBatch, "byte %d", at)
	}
	damaged := edited(batch, func(b []byte) { b[len(b)-1] ^= 1 })
	var e *BatchError
	require.ErrorAs(t, VerifyCRC(damaged), &e)
	assert.Equal(t, "crc", e.Check)
	assert.Equal(t, 17, e.Byte)
	assert.Equal(t, int64(binary.BigEndian.Uint32(batch[17:])), e.Got)
	PutCRC(damaged)
	assert.NoError(t, VerifyCRC(damaged))
	assert.Equal(t, e.Want, int64(binary.BigEndian.Uint32(damaged[17:])))
}

func FuzzHead(f *testing.F) {
	f.Add([]byte{})
	f.Add(built(someRecords...).Encoded(true))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHead(b)
		if err != nil {
			require.ErrorIs(t, err, ErrBatch)
			require.Zero(t, h)
			return
		}
		// What was taken lies within b, is written back as it was, and gives the same head again.
		require.LessOrEqual(t, h.Bytes(), len(b))
		require.GreaterOrEqual(t, h.Bytes(), HeadBytes)
		require.Positive(t, h.Count)
		again := make([]byte, HeadBytes)
		h.put(again)
		require.Equal(t, b[:HeadBytes], again)
		b = append([]byte(nil), b...)
		PutCRC(b)
		require.NoError(t, VerifyCRC(b))
	})
}
