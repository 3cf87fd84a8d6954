package record

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manyRecords returns n records with values of valueBytes, a key and, if headers, two headers.
func manyRecords(n, valueBytes int, headers bool) []Record {
	out := make([]Record, n)
	value := text(valueBytes)
	for i := range out {
		out[i] = Record{Timestamp: at(1_700_000_000_000 + int64(i)), Key: fmt.Appendf(nil, "key-%d", i), Value: value}
		if headers {
			out[i].Headers = []Header{{"traceparent", []byte(someTraceParent)}, {"content-type", []byte("json")}}
		}
	}
	return out
}

func TestAllocations(t *testing.T) {
	// A collection in the middle would empty the pools of the compressors.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	records := manyRecords(100, 200, true)
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			var (
				b     Builder
				d     Decoder
				r     Record
				batch []byte
				err   error
				count int
			)
			encode := func() {
				b.Reset()
				for i := range records {
					b.Append(&records[i], 0)
				}
				batch, err = b.Finish(batch[:0], c, true)
			}
			decode := func() {
				count = 0
				if err = d.Reset(batch, 0); err != nil {
					return
				}
				for more := true; more && err == nil; {
					if more, err = d.Next(&r); more {
						count++
					}
				}
			}
			encode()
			require.NoError(t, err)
			decode()
			require.NoError(t, err)
			require.Equal(t, len(records), count)
			// Under the race detector sync.Pool drops items on purpose, so that only what does not
			// come from a pool can be held to nothing.
			allowed := 0.0
			if raceEnabled && c != None {
				allowed = 100
			}
			assert.LessOrEqual(t, testing.AllocsPerRun(20, encode), allowed, "encode")
			assert.LessOrEqual(t, testing.AllocsPerRun(20, decode), allowed, "decode")
			require.NoError(t, err)
		})
	}
}

func TestEncodedAllocatesNothing(t *testing.T) {
	var b Builder
	b.SetPrefix(56)
	r := Record{Key: []byte("key"), Value: bytes.Repeat([]byte("v"), 100)}
	var size int
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		b.Reset()
		b.Append(&r, 1)
		size = len(b.EncodedWithPrefix(false))
	}))
	assert.Equal(t, 56+b.Bytes(), size)
}

func TestHeadAndPartitionersAllocateNothing(t *testing.T) {
	batch := built(someRecords...).Encoded(true)
	key, traceParent := []byte("some key of a record"), []byte(someTraceParent)
	var sum int
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		h, _ := ParseHead(batch)
		sum += h.Bytes() + Murmur2(key, 7) + FNV1a(key, 7)
		if VerifyCRC(batch) == nil {
			sum++
		}
		trace, _ := ParseTraceParent(traceParent)
		sum += int(trace.Flags)
	}))
	assert.Positive(t, sum)
}
