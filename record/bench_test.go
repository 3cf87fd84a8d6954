package record

import (
	"fmt"
	"testing"
)

// shapes are the batches that are measured: one small record, which is what most commits are, and
// larger ones.
var shapes = []struct {
	records, valueBytes int
	headers             bool
}{{1, 128, false}, {100, 128, false}, {100, 128, true}, {100, 1024, false}}

func shapeName(valueBytes, records int, headers bool) string {
	return fmt.Sprintf("record=%dB/batch=%d/headers=%t", valueBytes, records, headers)
}

func BenchmarkEncode(b *testing.B) {
	for _, s := range shapes {
		b.Run(shapeName(s.valueBytes, s.records, s.headers), func(b *testing.B) {
			records := manyRecords(s.records, s.valueBytes, s.headers)
			var builder Builder
			builder.SetPrefix(56)
			b.ReportAllocs()
			var size int
			for b.Loop() {
				builder.Reset()
				for i := range records {
					builder.Append(&records[i], 0)
				}
				size = len(builder.EncodedWithPrefix(false))
			}
			if size < s.records*s.valueBytes {
				b.Fatalf("encoded %d bytes", size)
			}
			b.SetBytes(int64(size))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*s.records), "ns/record")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, s := range shapes {
		b.Run(shapeName(s.valueBytes, s.records, s.headers), func(b *testing.B) {
			batch := built(manyRecords(s.records, s.valueBytes, s.headers)...).Encoded(false)
			benchmarkDecode(b, batch, s.records)
		})
	}
}

func benchmarkDecode(b *testing.B, batch []byte, records int) {
	var d Decoder
	var r Record
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Reset(batch, 0); err != nil {
			b.Fatal(err)
		}
		count := 0
		for {
			more, err := d.Next(&r)
			if err != nil {
				b.Fatal(err)
			}
			if !more {
				break
			}
			count++
		}
		if count != records {
			b.Fatalf("decoded %d records", count)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}

func BenchmarkCompressed(b *testing.B) {
	const records = 500
	builder := built(manyRecords(records, 128, false)...)
	for _, c := range codecs[1:] {
		batch, err := builder.Finish(nil, c, false)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("encode/codec="+c.String(), func(b *testing.B) {
			b.SetBytes(int64(builder.Bytes()))
			b.ReportAllocs()
			dst := make([]byte, 0, len(batch))
			for b.Loop() {
				if dst, err = builder.Finish(dst[:0], c, false); err != nil || len(dst) != len(batch) {
					b.Fatal(len(dst), err)
				}
			}
		})
		b.Run("decode/codec="+c.String(), func(b *testing.B) {
			benchmarkDecode(b, batch, records)
			b.SetBytes(int64(builder.Bytes()))
		})
	}
}

func BenchmarkPartitioner(b *testing.B) {
	key := []byte("customer-0000004711")
	for name, p := range map[string]Partitioner{"murmur2": Murmur2, "fnv1a": FNV1a} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p(key, 8) >= 8 {
					b.Fatal("out of range")
				}
			}
		})
	}
}
