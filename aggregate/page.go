package aggregate

import (
	"encoding/binary"
	"errors"
)

// head is what is known of a stream: the bytes that the verdict on an expectation rests on.
type head struct {
	version   uint64 // of the last event; 0 when there is none
	first     uint64 // the lowest version that is not truncated, at most version+1
	tombstone bool
}

const headBytes = 17

var errIndex = errors.New("aggregate: entry of the stream index does not decode")

// encode returns nil for a stream that there is not.
func (h head) encode() []byte {
	if h == (head{}) {
		return nil
	}
	b := make([]byte, 0, headBytes)
	b = binary.BigEndian.AppendUint64(b, h.version)
	b = binary.BigEndian.AppendUint64(b, h.first)
	if h.tombstone {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeHead(b []byte) (head, error) {
	if b == nil {
		return head{}, nil
	}
	if len(b) != headBytes {
		return head{}, errIndex
	}
	return head{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), b[16] == 1}, nil
}

// appended returns the head behind events up to version.
func (h head) appended(version uint64) head {
	h.version = version
	h.first = max(h.first, 1)
	return h
}

// truncated returns the head behind a truncation before a version.
func (h head) truncated(before uint64) head {
	if h.version > 0 {
		h.first = max(h.first, min(before, h.version+1))
	}
	return h
}

// run is a run of events of one stream whose records follow each other in a partition.
type run struct {
	first     uint64 // version
	count     int
	partition int32
	offset    int64 // of the first
}

// pageVersions is how many versions of a stream a page of the index covers: page p has the runs of
// versions p*pageVersions+1 to (p+1)*pageVersions.
const pageVersions = 64

func pageOf(version uint64) uint64 { return (version - 1) / pageVersions }

// appendRun adds a run to a page, which its versions belong to. It is encoded as uvarints: first version
// less that of the page, count, partition, offset.
func appendRun(page []byte, r run) []byte {
	page = binary.AppendUvarint(page, (r.first-1)%pageVersions)
	page = binary.AppendUvarint(page, uint64(r.count))
	page = binary.AppendUvarint(page, uint64(r.partition))
	return binary.AppendUvarint(page, uint64(r.offset))
}

// decodePage appends the runs of page number to runs.
func decodePage(runs []run, number uint64, page []byte) ([]run, error) {
	next := number*pageVersions + 1
	end := next + pageVersions
	for len(page) > 0 {
		var v [4]uint64
		for i := range v {
			n := 0
			if v[i], n = binary.Uvarint(page); n <= 0 {
				return runs, errIndex
			}
			page = page[n:]
		}
		r := run{number*pageVersions + 1 + v[0], int(v[1]), int32(v[2]), int64(v[3])}
		if v[0] >= pageVersions || v[1] == 0 || v[1] > pageVersions || r.first < next || r.first+v[1] > end || v[2] > 1<<31-1 || r.offset < 0 {
			return runs, errIndex
		}
		next = r.first + v[1]
		runs = append(runs, r)
	}
	return runs, nil
}
