package record

import (
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Compressors are costly to make and are kept in pools. None of them has a goroutine, so one that the
// pool drops needs no closing.
var (
	gzipWriters = sync.Pool{New: func() any { return &gzipWriter{zw: gzip.NewWriter(nil)} }}
	zstdWriters = sync.Pool{New: func() any {
		// The batch and the log have checks of their own; zstd's would be a third.
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
		if err != nil {
			panic("record: bug: zstd refuses constant options: " + err.Error())
		}
		return e
	}}
)

// gzipWriter compresses to the end of out.
type gzipWriter struct {
	zw  *gzip.Writer
	out []byte
}

func (w *gzipWriter) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

// compress appends src, compressed by c, which is supported and not None, to dst.
func compress(dst []byte, c Codec, src []byte) ([]byte, error) {
	switch c {
	case Gzip:
		w := gzipWriters.Get().(*gzipWriter)
		defer gzipWriters.Put(w)
		w.out = dst
		defer func() { w.out = nil }() // runs before Put: the pool must not hold the caller's bytes
		w.zw.Reset(w)
		if _, err := w.zw.Write(src); err != nil {
			return dst, err
		}
		if err := w.zw.Close(); err != nil {
			return dst, err
		}
		return w.out, nil
	case Snappy:
		// One raw block, which is what Kafka's clients in Go and C write too; all clients read it.
		room := s2.MaxEncodedLen(len(src))
		if room < 0 {
			return dst, &TooLargeError{Limit: maxBatchBytes - HeadBytes}
		}
		dst = slices.Grow(dst, room)
		block := s2.EncodeSnappy(dst[len(dst):len(dst)+room], src)
		return dst[:len(dst)+len(block)], nil
	default:
		e := zstdWriters.Get().(*zstd.Encoder)
		defer zstdWriters.Put(e)
		return e.EncodeAll(src, dst), nil
	}
}
