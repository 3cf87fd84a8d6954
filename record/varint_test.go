package record

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVarint(t *testing.T) {
	values := []int64{0, -1, 1, 63, 64, -64, -65, math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, math.MinInt32 - 1,
		math.MaxInt64, math.MinInt64}
	for shift := range 63 {
		values = append(values, 1<<shift, -1<<shift, 1<<shift-1, -1<<shift-1)
	}
	for _, v := range values {
		want := binary.AppendVarint(nil, v) // the same encoding, by the standard library
		b := make([]byte, len(want)+2)
		assert.Equal(t, 1+len(want), putVarint(b, 1, v), "%d", v)
		assert.Equal(t, want, b[1:1+len(want)], "%d", v)
		assert.Equal(t, len(want), varintBytes(v), "%d", v)
		got, next := varint(b, 1)
		assert.Equal(t, v, got)
		assert.Equal(t, 1+len(want), next)
		got, next = varint32(b, 1)
		if v == int64(int32(v)) {
			assert.Equal(t, v, got)
			assert.Equal(t, 1+len(want), next)
		} else {
			assert.Equal(t, -1, next, "%d does not fit 32 bits", v)
		}
		_, next = varint(want[:len(want)-1], 0)
		assert.Equal(t, -1, next, "%d cut short", v)
	}
}

func TestVarintRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":           {},
		"endless":           {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0},
		"more than 64 bits": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
	} {
		_, next := varint(b, 0)
		assert.Equal(t, -1, next, name)
	}
	_, next := varint([]byte{0}, -1)
	assert.Equal(t, -1, next, "a failure is passed on")
	_, next = varint32([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0}, 0)
	assert.Equal(t, -1, next, "six bytes, although the value fits")
}

func FuzzVarint(f *testing.F) {
	f.Add([]byte{0x80, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, next := varint(b, 0)
		want, n := binary.Varint(b)
		if n <= 0 {
			require.Equal(t, -1, next)
			return
		}
		require.Equal(t, want, v)
		require.Equal(t, n, next)
	})
}
