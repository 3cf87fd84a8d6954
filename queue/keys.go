package queue

import "encoding/binary"

// The keys of the view. Each begins with a letter; what follows is fixed by it. See the package's doc.
const (
	prefixName     = 'q'
	prefixState    = 's'
	prefixTotals   = 't'
	prefixReady    = 'r'
	prefixDelayed  = 'd'
	prefixTally    = 'c'
	prefixWaiting  = 'w'
	prefixLease    = 'l'
	prefixGone     = 'g'
	prefixHistory  = 'h'
	prefixDedup    = 'u'
	prefixDedupEnd = 'v'
	prefixNote     = 'n' // never set: conditions that always hold rest on it
)

var be = binary.BigEndian

func keyOf(prefix byte, id uint64, more ...uint64) []byte {
	b := make([]byte, 0, 1+8+8*len(more))
	b = be.AppendUint64(append(b, prefix), id)
	for _, m := range more {
		b = be.AppendUint64(b, m)
	}
	return b
}

func keyName(name string) []byte { return append([]byte{prefixName}, name...) }

// keyReady orders high levels before low ones.
func keyReady(id uint64, level uint8, offset int64) []byte {
	b := append(keyOf(prefixReady, id), MaxPriority-level)
	return be.AppendUint64(b, uint64(offset))
}

func keyDelayed(id uint64, due, offset int64) []byte {
	return keyOf(prefixDelayed, id, uint64(due), uint64(offset))
}

func keyWaiting(id uint64, key string, offset int64) []byte {
	return be.AppendUint64(waitingPrefix(id, key), uint64(offset))
}

func waitingPrefix(id uint64, key string) []byte {
	b := be.AppendUint16(keyOf(prefixWaiting, id), uint16(len(key)))
	return append(b, key...)
}

func keyDedup(id uint64, dedupID string) []byte {
	return append(keyOf(prefixDedup, id), dedupID...)
}

func keyDedupEnd(id uint64, until int64, dedupID string) []byte {
	return append(keyOf(prefixDedupEnd, id, uint64(until)), dedupID...)
}

// after returns the end of the keys that begin with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// source says in which part of a queue a message is that is not leased.
type source uint8

const (
	inBacklog source = iota // sent, at or behind the head, and nothing was ever noted of it
	inReady
	inDelayed
	inWaiting
)

// item is a message that is not leased. Which message it is and where it lies is one thing.
type item struct {
	in       source
	level    uint8
	attempts uint32 // made so far
	size     int64
	offset   int64
	due      int64  // µs; of what is delayed
	key      string // of what waits
}

func (it *item) viewKey(id uint64) []byte {
	switch it.in {
	case inReady:
		return keyReady(id, it.level, it.offset)
	case inDelayed:
		return keyDelayed(id, it.due, it.offset)
	case inWaiting:
		return keyWaiting(id, it.key, it.offset)
	}
	return keyOf(prefixGone, id, uint64(it.offset))
}

// viewValue is what the view keeps under viewKey: attempts, level and size.
func (it *item) viewValue() []byte {
	b := binary.AppendUvarint(make([]byte, 0, 12), uint64(it.attempts))
	return binary.AppendUvarint(append(b, it.level), uint64(it.size))
}

// parseItem reads a key and its value; it reports false for what is none.
func parseItem(key, value []byte) (it item, ok bool) {
	if len(key) < 1+8+8 {
		return it, false
	}
	rest := key[9 : len(key)-8]
	it.offset = int64(be.Uint64(key[len(key)-8:]))
	switch key[0] {
	case prefixReady:
		it.in, ok = inReady, len(rest) == 1
	case prefixDelayed:
		if it.in, ok = inDelayed, len(rest) == 8; ok {
			it.due = int64(be.Uint64(rest))
		}
	case prefixWaiting:
		if it.in, ok = inWaiting, len(rest) >= 2; ok {
			it.key = string(rest[2:])
		}
	}
	d := decoder{b: value}
	it.attempts = uint32(d.uvarint())
	it.level = d.byte()
	it.size = int64(d.uvarint())
	return it, ok && !d.bad && it.level <= MaxPriority
}
