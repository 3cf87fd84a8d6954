package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

var gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}

// gzipReader is a decompressor with its source. It is pooled as the compressors are.
type gzipReader struct {
	zr  gzip.Reader
	src bytes.Reader
}

// decompress expands src, compressed by c, into buf[:0] or, when that has no room, into a new buffer
// that grows with what really comes out, and returns the result. What src says about its own size is
// only believed as far as src could hold it.
//
// More than limit bytes is a *TooLargeError; a codec that is not supported is a *CodecError; any
// other error is the decompressor's. strict refuses what this package's decompressors take beyond
// what other implementations do.
func decompress(buf []byte, c Codec, src []byte, limit int, strict bool) ([]byte, error) {
	switch c {
	case Gzip:
		return gunzip(buf, src, limit)
	case Snappy:
		return unsnappy(buf, src, limit, strict)
	case Zstd:
		return unzstd(buf, src, limit)
	}
	return buf, &CodecError{Name: c.String()}
}

// grown returns buf's bytes with a capacity of at least n, in a new array when buf has less.
func grown(buf []byte, n int) []byte {
	if cap(buf) >= n {
		return buf
	}
	return append(make([]byte, 0, n), buf...)
}

// firstRoom is the room that expanding src begins with: four times its size, within limit.
func firstRoom(src []byte, limit int) int { return min(max(4*len(src), 512), limit) }

func gunzip(buf, src []byte, limit int) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer gzipReaders.Put(r)
	defer r.src.Reset(nil) // runs before Put: the pool must not hold the caller's bytes
	r.src.Reset(src)
	if err := r.zr.Reset(&r.src); err != nil {
		return buf, err
	}
	return readBounded(buf, &r.zr, firstRoom(src, limit), limit)
}

// readBounded reads all of r into buf[:0], which has or is given room to begin with and grows as
// needed. More than limit bytes is a *TooLargeError.
func readBounded(buf []byte, r io.Reader, room, limit int) ([]byte, error) {
	// One byte more than the limit is asked for: getting it is how exceeding the limit shows.
	buf = grown(buf[:0], room+1)
	for {
		if len(buf) == cap(buf) {
			buf = grown(buf, min(2*cap(buf), limit+1))
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), limit+1)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return buf, &TooLargeError{Limit: limit}
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

// xerialMagic begins snappy data in the framing of the xerial library, which Kafka's Java client
// writes: 16 bytes of head, then blocks, each behind its length as a big-endian u32. A raw block
// cannot begin so: its length would be 10626, and the tag after it a copy from before the block.
var xerialMagic = []byte("\x82SNAPPY\x00")

const xerialHeadBytes = 16

var errXerial = errors.New("snappy: broken xerial framing")

func unsnappy(buf, src []byte, limit int, strict bool) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return unsnappyBlock(buf[:0], src, limit, strict)
	}
	if len(src) < xerialHeadBytes {
		return buf, errXerial
	}
	buf, src = grown(buf[:0], firstRoom(src, limit)), src[xerialHeadBytes:]
	for len(src) > 0 {
		if len(src) < 4 {
			return buf, errXerial
		}
		size := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; size > int64(len(src)) {
			return buf, errXerial
		}
		var err error
		if buf, err = unsnappyBlock(buf, src[:size], limit, strict); err != nil {
			return buf, err
		}
		src = src[size:]
	}
	return buf, nil
}

// unsnappyBlock appends one expanded block to buf, of which limit bounds the length.
//
// The s2 decoder also takes copies that repeat the last offset, which other snappy decoders refuse.
// strict refuses them, more slowly.
func unsnappyBlock(buf, block []byte, limit int, strict bool) ([]byte, error) {
	size, err := s2.DecodedLen(block)
	if err != nil {
		return buf, err
	}
	if size > limit-len(buf) {
		return buf, &TooLargeError{Limit: limit}
	}
	// Snappy's densest element is a copy of 64 bytes in 3, so a block that claims more is broken,
	// and gets no memory.
	if size > 22*len(block) {
		return buf, s2.ErrCorrupt
	}
	start := len(buf)
	if cap(buf)-start < size {
		buf = grown(buf, min(max(start+size, 2*cap(buf)), limit))
	}
	into := buf[start : start+size : start+size]
	if strict {
		_, err = snappy.DecodeStrict(into, block)
	} else {
		_, err = s2.Decode(into, block)
	}
	return buf[:start+size], err
}
