package queue

import "encoding/binary"

// held is the deadline of a lease that ends with its owner alone.
const held = 0

// leaseBlob is the value of a lease in the view:
//
//	owner, as uvarint length and bytes | entries of entryBytes each, by the order of their handing out
type leaseEntry struct {
	offset   int64
	deadline int64 // µs, or held
	attempts uint32
	level    uint8
	size     int64
}

const entryBytes = 8 + 8 + 4 + 1 + 8

func appendEntry(b []byte, e *leaseEntry) []byte {
	b = be.AppendUint64(b, uint64(e.offset))
	b = be.AppendUint64(b, uint64(e.deadline))
	b = be.AppendUint32(b, e.attempts)
	b = append(b, e.level)
	return be.AppendUint64(b, uint64(e.size))
}

func decodeEntry(b []byte) leaseEntry {
	return leaseEntry{
		offset: int64(be.Uint64(b)), deadline: int64(be.Uint64(b[8:])), attempts: be.Uint32(b[16:]),
		level: b[20], size: int64(be.Uint64(b[21:])),
	}
}

// splitLease returns the owner of a lease and the bytes of its entries.
func splitLease(blob []byte) (owner string, entries []byte, ok bool) {
	d := decoder{b: blob}
	owner = d.text()
	return owner, d.b, !d.bad && len(d.b)%entryBytes == 0
}

// findEntry returns where the entry of the message lies in entries, or -1.
func findEntry(entries []byte, offset int64) int {
	for i := 0; i+entryBytes <= len(entries); i += entryBytes {
		if int64(be.Uint64(entries[i:])) == offset {
			return i
		}
	}
	return -1
}

// newLease returns the value of a lease.
func newLease(owner string, entries []leaseEntry) []byte {
	b := binary.AppendUvarint(make([]byte, 0, 2+len(owner)+len(entries)*entryBytes), uint64(len(owner)))
	b = append(b, owner...)
	for i := range entries {
		b = appendEntry(b, &entries[i])
	}
	return b
}

// settled returns what is left of a lease behind the outcomes, nil when that is nothing. It tells each
// entry that was there to did, when that is not nil. blob is not changed.
func settled(blob []byte, outcomes []outcome, did func(e leaseEntry, o *outcome)) []byte {
	_, entries, ok := splitLease(blob)
	if !ok {
		return blob
	}
	head := len(blob) - len(entries)
	left := append([]byte(nil), blob...)
	for i := range outcomes {
		o := &outcomes[i]
		at := findEntry(left[head:], o.offset)
		if at < 0 {
			continue
		}
		at += head
		e := decodeEntry(left[at:])
		switch {
		case o.what == unchanged || !o.holds(&e):
			continue
		case o.what == extended:
			be.PutUint64(left[at+8:], uint64(o.until))
		default:
			left = append(left[:at], left[at+entryBytes:]...)
		}
		if did != nil {
			did(e, o)
		}
	}
	if len(left) == head {
		return nil
	}
	return left
}
