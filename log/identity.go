package log

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/segment"
)

// idName is the file that holds the log's id: 8 bytes "StrataID", the id, and 8 bytes of xxh64 over
// both. It is written when the first segment is whole; when it is missing or does not check, the heads
// of the segments give it back.
const idName = "ID"

const idMagic = "StrataID"

func encodeID(id segment.LogID) []byte {
	b := append([]byte(idMagic), id[:]...)
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b))
}

// readID reads the log's id. found says whether there is such a file, ok whether it checks.
func readID(fs vfs.FS, dir string) (id segment.LogID, found, ok bool, err error) {
	b, err := segment.ReadFile(fs, fs.PathJoin(dir, idName))
	if isNotExist(err) {
		return id, false, false, nil
	}
	if err != nil {
		return id, false, false, err
	}
	if len(b) != 32 || string(b[:8]) != idMagic || binary.LittleEndian.Uint64(b[24:]) != xxhash.Sum64(b[:24]) {
		return id, true, false, nil
	}
	copy(id[:], b[8:])
	return id, true, true, nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
