package index

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

const (
	version = 1

	blockBytes  = 4096
	checkAt     = blockBytes - 8
	rowsAt      = 8
	roomBytes   = checkAt - rowsAt // for rows and deltas
	groupBytes  = 40
	childBytes  = 24
	topicBytes  = 24
	maxGroup    = 32 // entries of a group
	levelTopics = 255

	childrenPerNode = roomBytes / childBytes
	topicsPerBlock  = roomBytes / topicBytes
	// An entry takes at least two bytes, so no leaf can hold more.
	maxLeafEntries = roomBytes / 2
)

// block is the bytes of one block, whose check was found right.
type block [blockBytes]byte

func (b *block) level() uint8   { return b[0] }
func (b *block) rows() int      { return int(binary.LittleEndian.Uint16(b[2:])) }
func (b *block) number() uint32 { return binary.LittleEndian.Uint32(b[4:]) }

// seal completes a block: its own head and its check.
func (b *block) seal(level uint8, rows int, number uint32, salt uint64) {
	b[0] = level
	binary.LittleEndian.PutUint16(b[2:], uint16(rows))
	binary.LittleEndian.PutUint32(b[4:], number)
	binary.LittleEndian.PutUint64(b[checkAt:], b.sum()^salt)
}

func (b *block) sum() uint64   { return xxhash.Sum64(b[:checkAt]) }
func (b *block) check() uint64 { return binary.LittleEndian.Uint64(b[checkAt:]) }

// group is the row of a leaf.
type group struct {
	partition uint32
	deltas    int // where its deltas begin, counted from the end of the rows
	entries   int
	offset    int64
	byte      int64
	max       int64
	sum       int64
}

func (b *block) group(i int) group {
	row := b[rowsAt+i*groupBytes:]
	return group{
		partition: binary.LittleEndian.Uint32(row),
		deltas:    int(binary.LittleEndian.Uint16(row[4:])),
		entries:   int(binary.LittleEndian.Uint16(row[6:])),
		offset:    int64(binary.LittleEndian.Uint64(row[8:])),
		byte:      int64(binary.LittleEndian.Uint64(row[16:])),
		max:       int64(binary.LittleEndian.Uint64(row[24:])),
		sum:       int64(binary.LittleEndian.Uint64(row[32:])),
	}
}

func (g group) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, g.partition)
	b = binary.LittleEndian.AppendUint16(b, uint16(g.deltas))
	b = binary.LittleEndian.AppendUint16(b, uint16(g.entries))
	b = binary.LittleEndian.AppendUint64(b, uint64(g.offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(g.byte))
	b = binary.LittleEndian.AppendUint64(b, uint64(g.max))
	return binary.LittleEndian.AppendUint64(b, uint64(g.sum))
}

// key is what rows of nodes are sorted by: by partition, and in it by offset and by max alike.
type key struct {
	partition   uint32
	offset, max int64
}

func (g group) key() key { return key{g.partition, g.offset, g.max} }

// child is the row of an inner node.
type child struct {
	key
	number uint32
}

func (b *block) child(i int) child {
	row := b[rowsAt+i*childBytes:]
	return child{
		key: key{
			partition: binary.LittleEndian.Uint32(row),
			offset:    int64(binary.LittleEndian.Uint64(row[8:])),
			max:       int64(binary.LittleEndian.Uint64(row[16:])),
		},
		number: binary.LittleEndian.Uint32(row[4:]),
	}
}

func (c child) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, c.partition)
	b = binary.LittleEndian.AppendUint32(b, c.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.offset))
	return binary.LittleEndian.AppendUint64(b, uint64(c.max))
}

// TopicBytes is how many bytes the batches of one topic take in a segment.
type TopicBytes struct {
	Topic [16]byte
	Bytes int64
}

func (b *block) topic(i int) TopicBytes {
	row := b[rowsAt+i*topicBytes:]
	return TopicBytes{Topic: [16]byte(row), Bytes: int64(binary.LittleEndian.Uint64(row[16:]))}
}

func (t TopicBytes) append(b []byte) []byte {
	b = append(b, t.Topic[:]...)
	return binary.LittleEndian.AppendUint64(b, uint64(t.Bytes))
}
