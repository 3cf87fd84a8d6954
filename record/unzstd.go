package record

import (
	"bytes"
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstdReaders holds decoders for whole slices, which have no goroutines. The capacity of the
// destination is the bound of what they expand, so that one decoder serves callers with different
// bounds.
var zstdReaders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("record: bug: zstd refuses constant options: " + err.Error())
	}
	return d
}}

const (
	zstdMaxBlockBytes = 128 << 10 // the most that one block expands to
	zstdSlackBytes    = 16        // room behind the result lets the decoder copy in whole words
	zstdMinWindow     = 8 << 20   // every decoder should take windows up to this
)

// unzstd is decompress for zstd.
//
// How much src expands to is bounded beforehand from its block heads, which costs a step a block.
// Where the bound lies within limit, as it does for all but enormous or hostile batches, src is
// expanded in one go into a destination in which it cannot run out of room. The decoder's errors do
// not tell a destination that is too small from corruption; therefore a bound beyond limit takes the
// slower way through a stream, where they can be told apart.
func unzstd(buf, src []byte, limit int) ([]byte, error) {
	bound, exact := zstdBound(src)
	switch {
	case bound > int64(limit) && exact:
		return buf, &TooLargeError{Limit: limit}
	case bound > int64(limit):
		return unzstdStream(buf, src, limit)
	}
	d := zstdReaders.Get().(*zstd.Decoder)
	defer zstdReaders.Put(d)
	room := int(bound) + zstdSlackBytes
	buf = grown(buf[:0], room)
	out, err := d.DecodeAll(src, buf[:0:room])
	if err != nil {
		return buf, err
	}
	if len(out) > limit {
		return buf, &TooLargeError{Limit: limit}
	}
	return out, nil
}

// zstdBound returns an upper bound of what src expands to, and whether it is exact unless src is
// corrupt: so it is when every frame says its size and its blocks can hold that much. Where src is
// corrupt the bound is that of what comes before.
//
// Format: https://www.rfc-editor.org/rfc/rfc8878, sections 3.1.1 and 3.1.2.
func zstdBound(src []byte) (bound int64, exact bool) {
	for exact = true; len(src) > 0; {
		var h zstd.Header
		if h.Decode(src) != nil || h.HeaderSize > len(src) {
			return bound, exact
		}
		src = src[h.HeaderSize:]
		if h.Skippable {
			src = src[min(int64(h.SkippableSize), int64(len(src))):]
			continue
		}
		var blocks int64
		blocks, src = zstdBlocksBound(src)
		if h.HasCheckSum {
			src = src[min(4, len(src)):]
		}
		if h.HasFCS && h.FrameContentSize <= uint64(blocks) {
			blocks = int64(h.FrameContentSize)
		} else {
			exact = false
		}
		bound += blocks
	}
	return bound, exact
}

// zstdBlocksBound returns an upper bound of what the blocks that src begins with expand to, up to
// and with the last of their frame, and the bytes behind them.
func zstdBlocksBound(src []byte) (bound int64, rest []byte) {
	for len(src) >= 3 {
		head := int(src[0]) | int(src[1])<<8 | int(src[2])<<16
		last, kind, size := head&1 != 0, head>>1&3, head>>3
		src = src[3:]
		switch kind {
		case 0: // raw: size bytes as they are
			bound += int64(size)
		case 1: // run: one byte, size times
			bound, size = bound+int64(size), 1
		default:
			bound += zstdMaxBlockBytes
		}
		src = src[min(size, len(src)):]
		if last {
			break
		}
	}
	return bound, src
}

// unzstdStream expands src through a stream that stops at limit. Its window is bounded too, by limit
// or the 8 MiB that every decoder should take.
func unzstdStream(buf, src []byte, limit int) ([]byte, error) {
	d, err := zstd.NewReader(bytes.NewReader(src), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(uint64(max(limit, zstdMinWindow))))
	if err != nil {
		return buf, err
	}
	defer d.Close()
	out, err := readBounded(buf, d, firstRoom(src, limit), limit)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = &TooLargeError{Limit: limit}
	}
	return out, err
}
