package record

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// compressed returns plain compressed by c.
func compressed(t testing.TB, c Codec, plain []byte) []byte {
	out, err := compress(nil, c, plain)
	require.NoError(t, err)
	return out
}

// zstdStreamed returns plain compressed as a stream that never says its size, cut into blocks of at
// most flush bytes.
func zstdStreamed(t testing.TB, plain []byte, flush int) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	for len(plain) > 0 {
		n := min(flush, len(plain))
		_, err = w.Write(plain[:n])
		require.NoError(t, err)
		require.NoError(t, w.Flush())
		plain = plain[n:]
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// xerial returns plain in the framing of snappy's xerial library, in blocks of at most block bytes.
func xerial(plain []byte, block int) []byte {
	out := append([]byte(nil), "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"...)
	for len(plain) > 0 {
		n := min(block, len(plain))
		b := s2.EncodeSnappy(nil, plain[:n])
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(b))), b...)
		plain = plain[n:]
	}
	return out
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// text is plain bytes that compress to about a quarter.
func text(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, 0, n+16)
	for len(out) < n {
		out = append(out, []string{"position ", "offset ", "frame ", "view "}[rng.IntN(4)]...)
		out = append(out, byte(rng.IntN(256)))
	}
	return out[:n]
}

func TestDecompress(t *testing.T) {
	plain := text(300_000)
	noise := make([]byte, 200_000)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	for _, tc := range []struct {
		name  string
		codec Codec
		src   []byte
		want  []byte
	}{
		{"gzip", Gzip, compressed(t, Gzip, plain), plain},
		{"gzip noise", Gzip, compressed(t, Gzip, noise), noise},
		{"gzip nothing", Gzip, compressed(t, Gzip, nil), nil},
		{"gzip, two members", Gzip, concat(compressed(t, Gzip, plain[:9]), compressed(t, Gzip, plain[9:])), plain},
		{"snappy", Snappy, compressed(t, Snappy, plain), plain},
		{"snappy noise", Snappy, compressed(t, Snappy, noise), noise},
		{"snappy nothing", Snappy, compressed(t, Snappy, nil), nil},
		{"snappy, xerial", Snappy, xerial(plain, 32<<10), plain},
		{"snappy, xerial in small blocks", Snappy, xerial(plain, 7), plain},
		{"snappy, xerial without blocks", Snappy, xerial(nil, 1), nil},
		{"zstd", Zstd, compressed(t, Zstd, plain), plain},
		{"zstd noise", Zstd, compressed(t, Zstd, noise), noise},
		{"zstd nothing", Zstd, compressed(t, Zstd, nil), nil},
		{"zstd streamed", Zstd, zstdStreamed(t, plain, len(plain)), plain},
		{"zstd streamed noise", Zstd, zstdStreamed(t, noise, 1000), noise},
		// 3000 blocks could be 375 MiB; that goes through the stream.
		{"zstd in many blocks", Zstd, zstdStreamed(t, plain, 100), plain},
		{"zstd frames", Zstd, concat(compressed(t, Zstd, plain[:99]), skippable,
			zstdStreamed(t, plain[99:1000], 500), compressed(t, Zstd, plain[1000:])), plain},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, strict := range []bool{false, true} {
				// The limit is kept to the byte: as much as there is goes, one byte less does not.
				got, err := decompress(nil, tc.codec, tc.src, len(tc.want), strict)
				require.NoError(t, err)
				require.True(t, bytes.Equal(tc.want, got))
				got, err = decompress(got, tc.codec, tc.src, 64<<20, strict) // reuses the buffer
				require.NoError(t, err)
				require.True(t, bytes.Equal(tc.want, got))
				if len(tc.want) > 0 {
					_, err = decompress(nil, tc.codec, tc.src, len(tc.want)-1, strict)
					var e *TooLargeError
					require.ErrorAs(t, err, &e)
					assert.Equal(t, len(tc.want)-1, e.Limit)
				}
			}
		})
	}
}

func TestDecompressRefuses(t *testing.T) {
	plain := text(1000)
	for _, tc := range []struct {
		name  string
		codec Codec
		src   []byte
	}{
		{"gzip nothing", Gzip, nil},
		{"gzip of zstd", Gzip, compressed(t, Zstd, plain)},
		{"gzip cut short", Gzip, compressed(t, Gzip, plain)[:200]},
		{"gzip wrong checksum", Gzip, edited(compressed(t, Gzip, plain), func(b []byte) { b[len(b)-5] ^= 1 })},
		{"gzip with more behind", Gzip, append(compressed(t, Gzip, plain), "more"...)},
		{"snappy nothing", Snappy, nil},
		{"snappy cut short", Snappy, compressed(t, Snappy, plain)[:200]},
		{"snappy of enormous size", Snappy, []byte{0xff, 0xff, 0xff, 0x07, 0, 'a'}},
		{"xerial head cut short", Snappy, xerial(nil, 1)[:12]},
		{"xerial length cut short", Snappy, append(xerial(nil, 1), 0, 0)},
		{"xerial block cut short", Snappy, xerial(plain, 1000)[:200]},
		{"xerial block of 4 GiB", Snappy, append(xerial(nil, 1), 0xff, 0xff, 0xff, 0xff, 1)},
		{"zstd of gzip", Zstd, compressed(t, Gzip, plain)},
		{"zstd cut short", Zstd, compressed(t, Zstd, plain)[:200]},
		{"zstd head cut short", Zstd, compressed(t, Zstd, plain)[:4]},
		{"zstd streamed, cut short", Zstd, zstdStreamed(t, plain, 400)[:200]},
		// A frame that says 64 MiB and has one block of one byte.
		{"zstd of enormous size", Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 4, 9, 0, 0, 'a'}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			allocated := allocatedBytes(func() {
				_, err := decompress(nil, tc.codec, tc.src, 64<<20, true)
				require.Error(t, err)
				require.NotErrorIs(t, err, ErrTooLarge)
			})
			assert.Less(t, allocated, uint64(4<<20))
		})
	}
}

// TestStrictSnappy shows what strict is for: the s2 decoder takes a copy at offset 0, which repeats the
// last offset, and other decoders do not.
func TestStrictSnappy(t *testing.T) {
	block := []byte{12, 3 << 2, 'a', 'b', 'c', 'd', 1, 4, 1, 0} // 4 literals, 4 from 4 back, 4 from offset 0
	got, err := decompress(nil, Snappy, block, 1<<20, false)
	require.NoError(t, err)
	assert.Equal(t, "abcdabcdabcd", string(got))
	_, err = decompress(nil, Snappy, block, 1<<20, true)
	assert.ErrorIs(t, err, s2.ErrCorrupt)
}

// allocatedBytes returns the bytes that f allocates, and what others do meanwhile.
func allocatedBytes(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBombsAreRefusedBeforeTheyAreAllocated(t *testing.T) {
	const (
		bomb  = 32 << 20
		limit = 1 << 20
	)
	zeros := make([]byte, bomb)
	var dense []byte // zstd runs of one byte: 128 KiB in 4 bytes, sizes not said
	dense = append(dense, 0x28, 0xb5, 0x2f, 0xfd, 0, 0x58)
	for i := range 256 {
		head := uint32(128<<10)<<3 | 1<<1
		if i == 255 {
			head |= 1
		}
		dense = append(dense, byte(head), byte(head>>8), byte(head>>16), 0)
	}
	for _, tc := range []struct {
		name  string
		codec Codec
		src   []byte
	}{
		{"gzip", Gzip, compressed(t, Gzip, zeros)},
		{"snappy", Snappy, compressed(t, Snappy, zeros)},
		{"xerial", Snappy, xerial(zeros, 64<<10)},
		{"zstd", Zstd, compressed(t, Zstd, zeros)},
		{"zstd streamed", Zstd, zstdStreamed(t, zeros, bomb)},
		{"zstd runs", Zstd, dense},
	} {
		t.Run(tc.name, func(t *testing.T) {
			batch := handmade(1, make([]byte, 7)...)
			batch = append(batch[:HeadBytes], tc.src...)
			binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-12))
			batch[22] = byte(tc.codec)
			PutCRC(batch)
			allocated := allocatedBytes(func() {
				_, err := Validate(batch, limit)
				var e *TooLargeError
				require.ErrorAs(t, err, &e)
				assert.Equal(t, limit, e.Limit)
				assert.ErrorIs(t, err, ErrTooLarge)
			})
			// Twice the limit, a window of 8 MiB, and the decoder's own tables.
			assert.Less(t, allocated, uint64(12<<20))
		})
	}
}

func TestFinishKeepsTheSmaller(t *testing.T) {
	for _, c := range []Codec{Gzip, Snappy, Zstd} {
		batch, err := built(Record{Value: []byte("x")}).Finish(nil, c, true)
		require.NoError(t, err)
		h, err := Validate(batch, 0)
		require.NoError(t, err)
		assert.Equal(t, None, h.Codec(), "one byte does not get smaller by %v", c)
	}
}

func TestDecodedSizeIsBoundedWithoutCompression(t *testing.T) {
	b := built(someRecords...)
	size := b.Bytes() - HeadBytes
	for _, c := range codecs {
		batch, err := b.Finish(nil, c, true)
		require.NoError(t, err)
		_, err = Validate(batch, size)
		require.NoError(t, err)
		_, err = Validate(batch, size-1)
		require.ErrorIs(t, err, ErrTooLarge)
	}
}

func FuzzDecompress(f *testing.F) {
	plain := text(2000)
	for _, c := range codecs[1:] {
		f.Add(int8(c), compressed(f, c, plain))
	}
	f.Add(int8(Snappy), xerial(plain, 300))
	f.Add(int8(Zstd), zstdStreamed(f, plain, 300))
	f.Fuzz(func(t *testing.T, codec int8, src []byte) {
		const limit = 1 << 16
		c := Codec(codec)
		out, err := decompress(nil, c, src, limit, false)
		if err != nil {
			return
		}
		require.True(t, c.Supported() && c != None)
		require.LessOrEqual(t, len(out), limit)
		// A dirty buffer changes nothing, and what came out goes in and comes out again.
		dirty := bytes.Repeat([]byte{0xee}, 300)
		again, err := decompress(dirty, c, src, limit, false)
		require.NoError(t, err)
		require.True(t, bytes.Equal(out, again))
		again, err = decompress(nil, c, compressed(t, c, out), limit, true)
		require.NoError(t, err)
		require.True(t, bytes.Equal(out, again))
	})
}
