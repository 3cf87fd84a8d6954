package projection

import (
	"encoding/binary"
	"fmt"
)

// Kinds of keys; the package comment has their forms.
const (
	nameKey       = 'n'
	buildKey      = 'b'
	checkpointKey = 'c'
	lastBuildKey  = 'i'
	parkedKey     = 'p'
	dataKey       = 'd'
)

// numbered returns the key of a kind for a build.
func numbered(kind byte, build uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, build)
}

// dataPrefixBytes is what stands in front of the keys of a model.
const dataPrefixBytes = 1 + 8

func encodeBuild(name string, b Build) []byte {
	v := binary.BigEndian.AppendUint32(nil, uint32(b.Version))
	v = append(append(v, byte(len(b.Reset))), b.Reset...)
	return append(append(v, byte(len(name))), name...)
}

func decodeBuild(v []byte) (name string, b Build, err error) {
	bad := fmt.Errorf("%w: a build does not decode", ErrStore)
	if len(v) < 4 {
		return "", b, bad
	}
	b.Version = int(binary.BigEndian.Uint32(v))
	texts := [2]string{}
	v = v[4:]
	for i := range texts {
		if len(v) < 1 || len(v) < 1+int(v[0]) {
			return "", b, bad
		}
		texts[i], v = string(v[1:1+v[0]]), v[1+v[0]:]
	}
	if len(v) > 0 {
		return "", b, bad
	}
	b.Reset = texts[0]
	return texts[1], b, nil
}

const checkpointBytes = 16 + 8 + 8

func encodeCheckpoint(c Checkpoint) []byte {
	v := append(make([]byte, 0, checkpointBytes), c.Log[:]...)
	v = binary.BigEndian.AppendUint64(v, c.Position)
	return binary.BigEndian.AppendUint64(v, c.Body)
}

func decodeCheckpoint(v []byte) (c Checkpoint, err error) {
	if len(v) != checkpointBytes {
		return c, fmt.Errorf("%w: a checkpoint does not decode", ErrStore)
	}
	copy(c.Log[:], v)
	c.Position, c.Body = binary.BigEndian.Uint64(v[16:]), binary.BigEndian.Uint64(v[24:])
	return c, nil
}

// behind returns the first key behind all that begin with prefix, or nil when there is none.
func behind(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
