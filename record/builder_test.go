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
