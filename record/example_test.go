package record_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/stratalog/strata/record"
)

func ExampleBuilder() {
	var b record.Builder
	b.Append(&record.Record{Key: []byte("order-7"), Value: []byte("placed")}, 1_700_000_000_000)
	b.Append(&record.Record{Key: []byte("order-7"), Value: []byte("paid")}, 1_700_000_000_250)
	batch, err := b.Finish(nil, record.Zstd, true)
	if err != nil {
		fmt.Println(err)
		return
	}
	record.PutBaseOffset(batch, 40)

	h, err := record.ParseHead(batch)
	fmt.Println(h.BaseOffset, h.Count, h.Codec(), h.Bytes() == len(batch), err)
	// Output:
	// 40 2 none true <nil>
}

func ExampleBuilder_EncodedWithPrefix() {
	var b record.Builder
	b.SetPrefix(4)
	b.Append(&record.Record{Value: []byte("placed")}, 0)
	whole := b.EncodedWithPrefix(false)
	copy(whole, "head") // what a file wants in front of the batch, without a copy of the batch
	fmt.Println(string(whole[:4]), len(whole) == 4+b.Bytes())
	// Output:
	// head true
}

func ExampleDecoder() {
	var b record.Builder
	for _, v := range []string{"placed", "paid", "shipped"} {
		b.Append(&record.Record{Timestamp: time.UnixMilli(1000), Value: []byte(v)}, 0)
	}
	batch := b.Encoded(false)
	record.PutBaseOffset(batch, 40)

	var d record.Decoder
	if err := d.Reset(batch, 0); err != nil {
		fmt.Println(err)
		return
	}
	if err := d.SkipTo(41); err != nil {
		fmt.Println(err)
		return
	}
	for r := (record.Record{}); ; {
		more, err := d.Next(&r)
		if err != nil {
			fmt.Println(err)
			return
		}
		if !more {
			break
		}
		fmt.Println(r.Offset, string(r.Value), r.Timestamp.Format(time.TimeOnly))
	}
	// Output:
	// 41 paid 00:00:01
	// 42 shipped 00:00:01
}

func ExampleValidate() {
	var b record.Builder
	b.Append(&record.Record{Value: []byte("placed")}, 0)
	batch := b.Encoded(true)
	batch[len(batch)-2] ^= 1 // a bit is flipped on its way

	_, err := record.Validate(batch, 0)
	var malformed *record.BatchError
	fmt.Println(errors.As(err, &malformed), malformed.Check, malformed.Byte)
	// Output:
	// true crc 17
}

func ExampleParseCodec() {
	c, err := record.ParseCodec("zstd")
	fmt.Println(c, err)
	_, err = record.ParseCodec("lz4")
	fmt.Println(err)
	// Output:
	// zstd <nil>
	// record: codec "lz4" is not supported (none, gzip, snappy and zstd are)
}

func ExampleMurmur2() {
	for _, p := range []record.Partitioner{record.Murmur2, record.FNV1a} {
		fmt.Println(p([]byte("order-7"), 8))
	}
	// Output:
	// 1
	// 3
}

func ExampleParseTraceParent() {
	r := record.Record{Headers: []record.Header{{
		Key:   record.TraceParent,
		Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
	}}}
	value, _ := r.Header(record.TraceParent)
	trace, err := record.ParseTraceParent(value)
	fmt.Printf("%x %v %v\n", trace.SpanID, trace.Sampled(), err)
	// Output:
	// 00f067aa0ba902b7 true <nil>
}
