package record

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseCodec(t *testing.T) {
	for _, c := range codecs {
		got, err := ParseCodec(c.String())
		require.NoError(t, err)
		assert.Equal(t, c, got)
		assert.True(t, c.Supported())
	}
	for _, name := range []string{"lz4", "", "ZSTD", "codec(4)", "lzma"} {
		c, err := ParseCodec(name)
		assert.Equal(t, None, c)
		var e *CodecError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, name, e.Name)
		assert.ErrorIs(t, err, ErrCodec)
		assert.Contains(t, err.Error(), `"`+name+`"`)
	}
}

func TestCodecString(t *testing.T) {
	for c, want := range map[Codec]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd",
		5: "codec(5)", -1: "codec(-1)", 127: "codec(127)"} {
		assert.Equal(t, want, c.String())
	}
	for _, c := range []Codec{LZ4, 5, 6, 7, -1} {
		assert.False(t, c.Supported())
	}
}

func TestBatchErrorText(t *testing.T) {
	_, err := ParseHead(make([]byte, 61))
	assert.EqualError(t, err, "record: batch at byte 16: magic: want 2, got 0")
	var d Decoder
	require.NoError(t, d.Reset(handmade(1, 12, 0, 0, 1, 1, 1, 0), 0))
	_, err = d.Next(new(Record))
	assert.EqualError(t, err, "record: batch at byte 64 (record 0): offset delta: want 0, got -1")
	batch := handmade(1, make([]byte, 7)...)
	batch[22] = byte(Snappy)
	err = d.Reset(batch, 0)
	assert.EqualError(t, err, "record: batch at byte 61: compression: s2: corrupt input")
	assert.NotNil(t, err.(*BatchError).Unwrap())
	assert.EqualError(t, &TooLargeError{Limit: 9}, "record: batch too large: its records exceed 9 bytes")
}
