package record

import (
	"bytes"
	"encoding/hex"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// decoded reads all records of a batch into records of their own.
func decoded(t require.TestingT, batch []byte) []Record {
	var d Decoder
	require.NoError(t, d.Reset(batch, 0))
	var out []Record
	for r := (Record{}); ; {
		more, err := d.Next(&r)
		require.NoError(t, err)
		if !more {
			return out
		}
		out = append(out, r.Clone())
	}
}

// placed returns the records as a Decoder gives them back when they begin a batch: numbered from
// base, with timestamps of milliseconds in UTC.
func placed(records []Record, base, defaultTimestampMS int64) []Record {
	out := make([]Record, len(records))
	for i, r := range records {
		out[i] = r.Clone()
		out[i].Offset = base + int64(i)
		ms := defaultTimestampMS
		if !r.Timestamp.IsZero() {
			ms = r.Timestamp.UnixMilli()
		}
		out[i].Timestamp = time.UnixMilli(ms).UTC()
		if len(r.Headers) == 0 {
			out[i].Headers = nil
		}
	}
	return out
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

var someRecords = []Record{
	{Timestamp: at(1_700_000_000_000), Key: []byte("k"), Value: []byte("v")},
	{Timestamp: at(1_699_999_999_000), Key: nil, Value: nil},
	{Timestamp: at(1_700_000_005_000), Key: []byte{}, Value: []byte{}},
	{Value: bytes.Repeat([]byte("abc"), 1000), Headers: []Header{{"a", []byte("1")}, {"a", nil}, {"", []byte{}}}},
}

func built(records ...Record) *Builder {
	b := new(Builder)
	for i := range records {
		b.Append(&records[i], 42)
	}
	return b
}

var codecs = []Codec{None, Gzip, Snappy, Zstd}

func TestBuilderBytes(t *testing.T) {
	// The whole encoding of one batch, field by field as the package doc draws it.
	b := built(
		Record{Timestamp: at(1000), Key: []byte("k"), Value: []byte("vv"), Headers: []Header{{"h", nil}}},
		Record{Timestamp: at(999)},
	)
	b.LeaderEpoch(3)
	b.Producer(0x0102, 5, 9)
	want, err := hex.DecodeString("0000000000000000" + // base offset
		"00000045" + "00000003" + "02" + // length 69, leader epoch, magic
		"02a33792" + "0000" + "00000001" + // crc, attributes, last offset delta
		"00000000000003e8" + "00000000000003e8" + // base and max timestamp
		"0000000000000102" + "0005" + "00000009" + "00000002" + // producer, count
		"18" + "00" + "00" + "00" + "02" + "6b" + "04" + "7676" + "02" + "0268" + "01" +
		"0c" + "00" + "01" + "02" + "01" + "01" + "00")
	require.NoError(t, err)
	got := b.Encoded(true)
	assert.Equal(t, hex.EncodeToString(want), hex.EncodeToString(got))
	assert.NoError(t, VerifyCRC(got))
}

func TestRoundTrip(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			b := built(someRecords...)
			batch, err := b.Finish([]byte("before"), c, true)
			require.NoError(t, err)
			require.Equal(t, "before", string(batch[:6]))
			batch = batch[6:]
			PutBaseOffset(batch, 1000)
			PutLeaderEpoch(batch, 7)
			require.NoError(t, VerifyCRC(batch))
			h, err := Validate(batch, 0)
			require.NoError(t, err)
			assert.Equal(t, c, h.Codec())
			assert.Equal(t, Head{BaseOffset: 1000, Length: int32(len(batch) - 12), LeaderEpoch: 7, Magic: 2, CRC: h.CRC,
				Attributes: int16(c), LastOffsetDelta: 3, BaseTimestamp: 1_700_000_000_000, MaxTimestamp: 1_700_000_005_000,
				ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: 4}, h)
			assert.Equal(t, len(batch), h.Bytes())
			assert.Equal(t, placed(someRecords, 1000, 42), decoded(t, batch))
		})
	}
}

// anyRecord draws records with every shape of field, small sizes first.
func anyRecord() *rapid.Generator[Record] {
	nullable := rapid.Custom(func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "null") {
			return nil
		}
		return rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
	})
	return rapid.Custom(func(t *rapid.T) Record {
		r := Record{Key: nullable.Draw(t, "key"), Value: nullable.Draw(t, "value")}
		if ms := rapid.Int64().Draw(t, "ms"); rapid.Bool().Draw(t, "timed") {
			r.Timestamp = at(ms)
		}
		for range rapid.IntRange(0, 4).Draw(t, "headers") {
			r.Headers = append(r.Headers, Header{rapid.StringN(0, 200, -1).Draw(t, "name"), nullable.Draw(t, "header")})
		}
		return r
	})
}

func TestRoundTripOfAnyRecords(t *testing.T) {
	var b Builder // reused from case to case, as a log reuses it
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(anyRecord(), 1, 20).Draw(t, "records")
		c := rapid.SampledFrom(codecs).Draw(t, "codec")
		now := rapid.Int64().Draw(t, "now")
		base := rapid.Int64Range(0, math.MaxInt64-100).Draw(t, "base")
		b.SetPrefix(rapid.IntRange(0, 80).Draw(t, "prefix"))
		limit := HeadBytes
		for i := range records {
			b.Append(&records[i], now)
			limit += EncodedRecordBytes(&records[i])
		}
		require.LessOrEqual(t, b.Bytes(), limit)
		require.GreaterOrEqual(t, b.Bytes(), limit-18*len(records))
		batch, err := b.Finish(nil, c, true)
		require.NoError(t, err)
		PutBaseOffset(batch, base)
		_, err = Validate(batch, 0)
		require.NoError(t, err)
		require.Equal(t, placed(records, base, now), decoded(t, batch))

		// The builder's own buffer holds the same batch, not compressed.
		plain := b.Encoded(true)
		require.Equal(t, b.Bytes(), len(plain))
		PutBaseOffset(plain, base)
		require.Equal(t, placed(records, base, now), decoded(t, plain))
	})
}

func TestBuilderWithPrefix(t *testing.T) {
	var b Builder
	b.SetPrefix(5)
	b.Append(&someRecords[0], 0)
	whole := b.EncodedWithPrefix(true)
	assert.Equal(t, make([]byte, 5), whole[:5])
	copy(whole, "PREFI")
	batch := bytes.Clone(b.Encoded(true))
	assert.Equal(t, batch, whole[5:])
	assert.Equal(t, len(batch), b.Bytes())
	assert.Equal(t, batch, built(someRecords[0]).Encoded(true))
	finished, err := b.Finish(nil, None, true)
	require.NoError(t, err)
	assert.Equal(t, batch, finished)

	b.Reset() // keeps the length of the prefix, not its bytes
	b.Append(&someRecords[1], 0)
	whole = b.EncodedWithPrefix(false)
	assert.Equal(t, make([]byte, 5), whole[:5])
	assert.Equal(t, built(someRecords[1]).Encoded(false), whole[5:])

	b.SetPrefix(-3)
	b.Append(&someRecords[1], 0)
	assert.Equal(t, b.Encoded(false), b.EncodedWithPrefix(false))
}

func TestBuilderResetForgets(t *testing.T) {
	b := built(someRecords...)
	b.Producer(1, 2, 3)
	b.LeaderEpoch(4)
	h, err := ParseHead(b.Encoded(false))
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2, 3, 4},
		[]int64{h.ProducerID, int64(h.ProducerEpoch), int64(h.BaseSequence), int64(h.LeaderEpoch)})
	b.Reset()
	assert.Zero(t, b.Count())
	assert.Equal(t, HeadBytes, b.Bytes())
	b.Append(&someRecords[1], 0)
	assert.Equal(t, 1, b.Count())
	assert.Equal(t, built(someRecords[1]).Encoded(true), b.Encoded(true))
}

func TestBuilderRefuses(t *testing.T) {
	huge := built(someRecords...)
	huge.prefix -= math.MaxInt32 // so that Bytes is more than a batch can hold, without holding it
	for _, tc := range []struct {
		name  string
		b     *Builder
		codec Codec
		is    error
	}{
		{"zero builder", new(Builder), None, ErrEmpty},
		{"no records", func() *Builder { b := built(someRecords...); b.Reset(); return b }(), Zstd, ErrEmpty},
		{"too large", huge, None, ErrTooLarge},
		{"lz4", built(someRecords...), LZ4, ErrCodec},
		{"codec -1", built(someRecords...), -1, ErrCodec},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dst := []byte("before")
			got, err := tc.b.Finish(dst, tc.codec, true)
			assert.ErrorIs(t, err, tc.is)
			assert.Equal(t, dst, got)
			if tc.is != ErrCodec {
				assert.Nil(t, tc.b.Encoded(true))
				assert.Nil(t, tc.b.EncodedWithPrefix(true))
			}
		})
	}
	assert.Equal(t, HeadBytes, new(Builder).Bytes())
}

func TestFinishAgain(t *testing.T) {
	b := built(someRecords...)
	first, err := b.Finish(nil, Zstd, true)
	require.NoError(t, err)
	second, err := b.Finish(nil, Zstd, true)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	b.Append(&Record{Value: []byte("one more")}, 42)
	assert.Len(t, decoded(t, b.Encoded(false)), len(someRecords)+1)
}

func TestAppendKeepsNothing(t *testing.T) {
	r := Record{Key: []byte("key"), Value: []byte("value"), Headers: []Header{{"h", []byte("x")}}}
	b := built(r)
	want := bytes.Clone(b.Encoded(false))
	clear(r.Key)
	clear(r.Value)
	clear(r.Headers[0].Value)
	assert.Equal(t, want, b.Encoded(false))
}

// TestPaddingInPlace appends to an encoded batch, as one who aligns frames does, and then goes on.
func TestPaddingInPlace(t *testing.T) {
	var b Builder
	b.SetPrefix(5)
	b.Append(&someRecords[3], 0) // leaves the buffer with room behind the second, smaller batch
	b.Reset()
	b.Append(&someRecords[0], 0)
	want := built(someRecords[0]).Encoded(true)
	whole := b.EncodedWithPrefix(true)
	require.Greater(t, cap(whole), len(whole))
	padded := append(whole, 0xee, 0xee, 0xee)
	assert.Same(t, &whole[0], &padded[0], "no copy")
	assert.Equal(t, want, padded[5:len(whole)])
	assert.Equal(t, len(want), b.Bytes(), "the padding is not the batch's")

	b.Append(&someRecords[1], 0)
	assert.Equal(t, built(someRecords[:2]...).Encoded(true), b.Encoded(true))
}
