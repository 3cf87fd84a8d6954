package kmsgtest

import (
	"bytes"
	"hash/crc32"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/stratalog/strata/record"
)

var codecs = []record.Codec{record.None, record.Gzip, record.Snappy, record.Zstd}

// kgoCodecs are the names that franz-go has for them.
var kgoCodecs = map[record.Codec]kgo.CompressionCodec{
	record.Gzip:   kgo.GzipCompression(),
	record.Snappy: kgo.SnappyCompression(),
	record.Zstd:   kgo.ZstdCompression(),
}

func nullable() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "null") {
			return nil
		}
		return rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")
	})
}

// anyRecords draws records whose offsets begin at base. Their timestamps are set, to years that fit
// in 64 bits of nanoseconds, as kgo counts them.
func anyRecords(t *rapid.T, base int64) []record.Record {
	out := make([]record.Record, rapid.IntRange(1, 30).Draw(t, "records"))
	for i := range out {
		ms := rapid.Int64Range(-1<<42, 1<<43).Draw(t, "ms")
		out[i] = record.Record{
			Offset:    base + int64(i),
			Timestamp: time.UnixMilli(ms).UTC(),
			Key:       nullable().Draw(t, "key"),
			Value:     nullable().Draw(t, "value"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			out[i].Headers = append(out[i].Headers, record.Header{
				Key:   rapid.StringN(0, 40, -1).Draw(t, "header"),
				Value: nullable().Draw(t, "header value"),
			})
		}
	}
	return out
}

// anyHead draws the fields of a head that have nothing to do with the records.
func anyHead(t *rapid.T) record.Head {
	h := record.Head{
		BaseOffset:    rapid.Int64Range(0, math.MaxInt64-100).Draw(t, "base"),
		LeaderEpoch:   rapid.Int32().Draw(t, "leader epoch"),
		ProducerID:    rapid.Int64().Draw(t, "producer"),
		ProducerEpoch: rapid.Int16().Draw(t, "producer epoch"),
		BaseSequence:  rapid.Int32().Draw(t, "sequence"),
	}
	return h
}

// TestOursReadByTheirs encodes with this project and decodes with franz-go: the head by kmsg, the CRC
// by the standard library, the compression by kgo's decompressor, each record by kmsg, and then the
// whole again as kgo's client does with what a broker sent.
func TestOursReadByTheirs(t *testing.T) {
	var b record.Builder
	decompressor := kgo.DefaultDecompressor()
	rapid.Check(t, func(t *rapid.T) {
		want := anyHead(t)
		records := anyRecords(t, want.BaseOffset)
		codec := rapid.SampledFrom(codecs).Draw(t, "codec")
		b.Reset()
		for i := range records {
			b.Append(&records[i], 0)
		}
		b.Producer(want.ProducerID, want.ProducerEpoch, want.BaseSequence)
		b.LeaderEpoch(want.LeaderEpoch)
		batch, err := b.Finish(nil, codec, true)
		require.NoError(t, err)
		record.PutBaseOffset(batch, want.BaseOffset)
		used, err := record.ParseHead(batch)
		require.NoError(t, err)
		codec = used.Codec() // None where compressing did not pay

		var head kmsg.RecordBatch
		require.NoError(t, head.ReadFrom(batch))
		require.Equal(t, want.BaseOffset, head.FirstOffset)
		require.Equal(t, len(batch)-12, int(head.Length))
		require.Equal(t, want.LeaderEpoch, head.PartitionLeaderEpoch)
		require.Equal(t, int8(2), head.Magic)
		require.Equal(t, crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)), uint32(head.CRC))
		require.Equal(t, int16(codec), head.Attributes)
		require.Equal(t, int32(len(records)-1), head.LastOffsetDelta)
		require.Equal(t, records[0].Timestamp.UnixMilli(), head.FirstTimestamp)
		require.Equal(t, latest(records), head.MaxTimestamp)
		require.Equal(t, want.ProducerID, head.ProducerID)
		require.Equal(t, want.ProducerEpoch, head.ProducerEpoch)
		require.Equal(t, want.BaseSequence, head.FirstSequence)
		require.Equal(t, int32(len(records)), head.NumRecords)

		plain, err := decompressor.Decompress(head.Records, kgo.CompressionCodecType(codec))
		require.NoError(t, err)
		require.Equal(t, records, readByKmsg(t, &head, plain))

		fetched, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: want.BaseOffset},
			&kmsg.FetchResponseTopicPartition{RecordBatches: batch}, decompressor, nil)
		require.NoError(t, fetched.Err)
		require.Equal(t, records, fromKgo(fetched.Records))
	})
}

// readByKmsg decodes the records of a batch, not compressed.
func readByKmsg(t *rapid.T, head *kmsg.RecordBatch, plain []byte) []record.Record {
	var out []record.Record
	for len(plain) > 0 {
		var r kmsg.Record
		require.NoError(t, r.ReadFrom(plain))
		again := r.AppendTo(nil)
		require.Equal(t, again, plain[:len(again)], "kmsg encodes the record as we did")
		plain = plain[len(again):]
		ours := record.Record{
			Offset:    head.FirstOffset + int64(r.OffsetDelta),
			Timestamp: time.UnixMilli(head.FirstTimestamp + r.TimestampDelta64).UTC(),
			Key:       r.Key,
			Value:     r.Value,
		}
		for _, h := range r.Headers {
			ours.Headers = append(ours.Headers, record.Header{Key: h.Key, Value: h.Value})
		}
		out = append(out, ours)
	}
	return out
}

func fromKgo(records []*kgo.Record) []record.Record {
	out := make([]record.Record, len(records))
	for i, r := range records {
		out[i] = record.Record{Offset: r.Offset, Timestamp: r.Timestamp.UTC(), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, record.Header{Key: h.Key, Value: h.Value})
		}
	}
	return out
}

func latest(records []record.Record) int64 {
	ms := int64(math.MinInt64)
	for _, r := range records {
		ms = max(ms, r.Timestamp.UnixMilli())
	}
	return ms
}

// TestTheirsReadByOurs encodes with kmsg and kgo's compressor and decodes with this project.
func TestTheirsReadByOurs(t *testing.T) {
	var d record.Decoder
	rapid.Check(t, func(t *rapid.T) {
		want := anyHead(t)
		records := anyRecords(t, want.BaseOffset)
		codec := rapid.SampledFrom(codecs).Draw(t, "codec")
		want.Attributes = int16(codec) | rapid.SampledFrom([]int16{0, 8, 16, 32, 56}).Draw(t, "attributes")
		want.Magic = 2
		want.Count, want.LastOffsetDelta = int32(len(records)), int32(len(records)-1)
		want.BaseTimestamp, want.MaxTimestamp = records[0].Timestamp.UnixMilli(), latest(records)

		batch := encodedByKmsg(t, want, records, codec)
		got, err := record.Validate(batch, 0)
		require.NoError(t, err)
		want.Length, want.CRC = int32(len(batch)-12), got.CRC
		require.Equal(t, want, got)
		if got.LogAppendTime() {
			for i := range records {
				records[i].Timestamp = time.UnixMilli(want.MaxTimestamp).UTC()
			}
		}

		require.NoError(t, d.Reset(batch, 0))
		require.Equal(t, want, d.Head())
		var read []record.Record
		for r := (record.Record{}); ; {
			more, err := d.Next(&r)
			require.NoError(t, err)
			if !more {
				break
			}
			read = append(read, r.Clone())
		}
		require.Equal(t, records, read)

		// One bit wrong in what the CRC covers, and it is refused.
		bit := rapid.IntRange(21*8, len(batch)*8-1).Draw(t, "bit")
		batch[bit/8] ^= 1 << (bit % 8)
		_, err = record.Validate(batch, 0)
		require.Error(t, err)
	})
}

// encodedByKmsg returns the batch that h and records describe; its CRC is the standard library's.
func encodedByKmsg(t *rapid.T, h record.Head, records []record.Record, codec record.Codec) []byte {
	var plain []byte
	for _, r := range records {
		theirs := kmsg.Record{
			TimestampDelta64: r.Timestamp.UnixMilli() - h.BaseTimestamp,
			OffsetDelta:      int32(r.Offset - h.BaseOffset),
			Key:              r.Key,
			Value:            r.Value,
		}
		for _, header := range r.Headers {
			theirs.Headers = append(theirs.Headers, kmsg.Header{Key: header.Key, Value: header.Value})
		}
		theirs.Length = int32(len(theirs.AppendTo(nil)) - 1) // a length of 0 takes one byte
		plain = theirs.AppendTo(plain)
	}
	if codec != record.None {
		compressor, err := kgo.DefaultCompressor(kgoCodecs[codec])
		require.NoError(t, err)
		compressed, used := compressor.Compress(new(bytes.Buffer), plain)
		require.Equal(t, int(codec), int(used))
		plain = compressed
	}
	theirs := kmsg.RecordBatch{
		FirstOffset:          h.BaseOffset,
		Length:               int32(record.HeadBytes - 12 + len(plain)),
		PartitionLeaderEpoch: h.LeaderEpoch,
		Magic:                2,
		Attributes:           h.Attributes,
		LastOffsetDelta:      h.LastOffsetDelta,
		FirstTimestamp:       h.BaseTimestamp,
		MaxTimestamp:         h.MaxTimestamp,
		ProducerID:           h.ProducerID,
		ProducerEpoch:        h.ProducerEpoch,
		FirstSequence:        h.BaseSequence,
		NumRecords:           h.Count,
		Records:              plain,
	}
	theirs.CRC = int32(crc32.Checksum(theirs.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
	return theirs.AppendTo(nil)
}
