package aggregate

import (
	"encoding/binary"

	"github.com/stratalog/strata/log"
)

// place is where the newest snapshot of a stream is.
type place struct {
	version   uint64 // of the last event that is in it
	partition int32
	offset    int64
}

const placeBytes = 20

func (p place) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, placeBytes), p.version)
	b = binary.BigEndian.AppendUint32(b, uint32(p.partition))
	return binary.BigEndian.AppendUint64(b, uint64(p.offset))
}

func decodePlace(b []byte) (place, bool) {
	if len(b) != placeBytes {
		return place{}, false
	}
	return place{
		binary.BigEndian.Uint64(b), int32(binary.BigEndian.Uint32(b[8:])), int64(binary.BigEndian.Uint64(b[12:])),
	}, true
}

// applySnapshots notes where snapshots are: the last one that was appended counts. A record that is no
// snapshot is passed over, since nothing rests on snapshots.
func applySnapshots(tx *log.ViewTx, b *log.AppliedBatch) error {
	for rec, err := range b.Records() {
		if err != nil {
			return err
		}
		text, _ := rec.Header(HeaderVersion)
		version, ok := parseVersion(text)
		if !ok || len(rec.Key) == 0 {
			continue
		}
		tx.Set(snapshotKey(rec.Key), place{version, b.Partition, rec.Offset}.encode())
	}
	return nil
}
