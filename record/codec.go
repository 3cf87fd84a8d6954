package record

import (
	"errors"
	"fmt"
)

// Codec says how the records of a batch are compressed. Its numbers are those of the batch format.
type Codec int8

const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	// LZ4 is known by name only, so that it can be refused by name.
	LZ4  Codec = 3
	Zstd Codec = 4
)

var codecNames = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

// String returns the codec's name, or codec(n) for a number that has none.
func (c Codec) String() string {
	if c >= 0 && int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec(%d)", int8(c))
}

// Supported reports whether batches with this codec can be written and read.
func (c Codec) Supported() bool {
	return c == None || c == Gzip || c == Snappy || c == Zstd
}

// ParseCodec returns the codec called name: none, gzip, snappy or zstd. Any other name, lz4 too, is
// a *CodecError.
func ParseCodec(name string) (Codec, error) {
	for i, n := range codecNames {
		if n == name && Codec(i).Supported() {
			return Codec(i), nil
		}
	}
	return None, &CodecError{Name: name}
}

// ErrCodec is matched by every *CodecError.
var ErrCodec = errors.New("record: codec not supported")

// CodecError says which codec was asked for, or met in a batch, and is not supported.
type CodecError struct {
	Name string
}

func (e *CodecError) Error() string {
	return fmt.Sprintf("record: codec %q is not supported (none, gzip, snappy and zstd are)", e.Name)
}

func (e *CodecError) Is(target error) bool { return target == ErrCodec }
