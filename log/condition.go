package log

import "encoding/binary"

// Condition is what must hold for a commit to happen. It is data: what is asked (Kind), of what
// (Key), and what the answer must be (Want), in the encoding of the view that answers.
type Condition struct {
	// View names the view that answers; "" is the log itself.
	View string
	Kind uint8
	Key  []byte
	Want []byte
}

// conditionOffset is the one kind that the log itself answers: Key is the number of the partition in
// the log, 4 bytes, Want the offset, 8 bytes, both little-endian.
const conditionOffset = 1

// ExpectOffset holds when next is the offset that p's next record gets. Otherwise the commit gets an
// *OffsetError.
func ExpectOffset(p *Partition, next int64) Condition {
	return Condition{
		Kind: conditionOffset,
		Key:  binary.LittleEndian.AppendUint32(nil, p.number),
		Want: binary.LittleEndian.AppendUint64(nil, uint64(next)),
	}
}

// checkOffsetLocked answers a condition on an offset.
func (l *Log) checkOffsetLocked(c *Condition) error {
	if c.Kind != conditionOffset || len(c.Key) != 4 || len(c.Want) != 8 {
		return ErrCondition
	}
	p := l.partition(binary.LittleEndian.Uint32(c.Key))
	if p == nil {
		return ErrPartition
	}
	if want := int64(binary.LittleEndian.Uint64(c.Want)); p.next != want {
		return &OffsetError{Topic: p.topic.name, Partition: p.index, Expected: want, Actual: p.next}
	}
	return nil
}
