package log

import (
	"encoding/binary"
	"errors"
)

// producersView knows the idempotent producers: which names have which ids, which epochs are in
// force, and the last batches of each in each partition. It is derived from the topic of
// registrations and from every batch that carries a producer id.
//
// # Records of the topic __strata.producers
//
//	'n' | name        the offset of the record is from now on the id of the producer of that name
//	'e' | be64 id     the producer was registered once more: its epoch is one more, from 0
//
// # Keys and values
//
//	'n' | name              be64 id
//	'e' | be64 id           be16 epoch
//	's' | be64 id | be32 n  be16 epoch, then per batch, the last five, the oldest first:
//	                        be32 first sequence number | be32 records | be64 offset | be64 position
//
// with n the number of the partition in the log.
type producersView struct{}

const (
	producersTopic = SystemPrefix + "producers"

	// Key is a name, Want empty, or an id that is to be replaced. Holds when the name has no id, or
	// that one; otherwise it is a duplicate whose offset is the id.
	conditionName = 1
	// Key is an id. Holds always, and raises the epoch.
	conditionRaise = 2
	// Key is an id, Want an epoch: holds when that is in force.
	conditionEpoch = 3
	// Key is an id and the number of a partition, Want epoch, first sequence number and records.
	conditionSequence = 4

	rememberedBatches   = 5
	producerBatchBytes  = 24
	lastProducerEpoch   = 1<<15 - 1
	sequenceWantBytes   = 10
	halfOfSequenceSpace = 1 << 30
)

func (producersView) Name() string          { return SystemPrefix + "producers" }
func (producersView) Topics() []string      { return []string{producersTopic} }
func (producersView) ProducerBatches() bool { return true }

// errEpochs is returned when all epochs of a producer id are used up.
var errEpochs = errors.New("log: producer has no epochs left")

func (producersView) Apply(tx *ViewTx, c *AppliedCommit) error {
	for i := range c.Batches {
		b := &c.Batches[i]
		if b.Topic == producersTopic {
			if err := applyRegistrations(tx, b); err != nil {
				return err
			}
		}
		if h := b.Head; h.ProducerID >= 0 {
			key := binary.BigEndian.AppendUint64([]byte{'s'}, uint64(h.ProducerID))
			key = binary.BigEndian.AppendUint32(key, b.Number)
			value, err := tx.Get(key)
			if err != nil {
				return err
			}
			tx.Set(key, addBatch(value, h.ProducerEpoch, h.BaseSequence, b.BatchPlace))
		}
	}
	return nil
}

func applyRegistrations(tx *ViewTx, b *AppliedBatch) error {
	for r, err := range b.Records() {
		if err != nil {
			return err
		}
		switch {
		case len(r.Key) > 1 && r.Key[0] == 'n':
			tx.Set(r.Key, binary.BigEndian.AppendUint64(nil, uint64(r.Offset)))
		case len(r.Key) == 9 && r.Key[0] == 'e':
			value, err := tx.Get(r.Key)
			if err != nil {
				return err
			}
			tx.Set(r.Key, encodeEpoch(decodeEpoch(value)+1))
		default:
			return errors.New("log: registration of a producer does not decode")
		}
	}
	return nil
}

// decodeEpoch returns -1 for a producer without one.
func decodeEpoch(value []byte) int16 {
	if len(value) != 2 {
		return -1
	}
	return int16(binary.BigEndian.Uint16(value))
}

func encodeEpoch(epoch int16) []byte { return binary.BigEndian.AppendUint16(nil, uint16(epoch)) }

// addBatch returns the value of a partition's key behind a batch.
func addBatch(value []byte, epoch int16, sequence int32, at BatchPlace) []byte {
	be := binary.BigEndian
	var kept []byte
	if len(value) > 2 && int16(be.Uint16(value)) == epoch {
		kept = value[2:]
		if n := len(kept) - (rememberedBatches-1)*producerBatchBytes; n > 0 {
			kept = kept[n:]
		}
	}
	b := make([]byte, 0, 2+len(kept)+producerBatchBytes)
	b = append(be.AppendUint16(b, uint16(epoch)), kept...)
	b = be.AppendUint32(b, uint32(sequence))
	b = be.AppendUint32(b, uint32(at.Count))
	b = be.AppendUint64(b, uint64(at.Offset))
	return be.AppendUint64(b, at.Position)
}

func (producersView) Key(c *Condition) ([]byte, error) {
	switch {
	case c.Kind == conditionName && len(c.Key) > 0:
		return append([]byte{'n'}, c.Key...), nil
	case c.Kind == conditionRaise && len(c.Key) == 8, c.Kind == conditionEpoch && len(c.Key) == 8 && len(c.Want) == 2:
		return append([]byte{'e'}, c.Key...), nil
	case c.Kind == conditionSequence && len(c.Key) == 12 && len(c.Want) == sequenceWantBytes:
		return append([]byte{'s'}, c.Key...), nil
	}
	return nil, ErrCondition
}

func (v producersView) Carry(c *Condition, _ int) (string, []Record) {
	switch c.Kind {
	case conditionName, conditionRaise:
		key, _ := v.Key(c) // was checked
		return producersTopic, []Record{{Key: key}}
	}
	return "", nil
}

func (producersView) Verdict(c *Condition, value []byte) (*Duplicate, error) {
	be := binary.BigEndian
	switch c.Kind {
	case conditionName:
		if value == nil || string(value) == string(c.Want) {
			return nil, nil
		}
		return &Duplicate{Batches: []BatchPlace{{Offset: int64(be.Uint64(value))}}}, nil
	case conditionRaise:
		if decodeEpoch(value) == lastProducerEpoch {
			return nil, errEpochs
		}
	case conditionEpoch:
		if want, have := int16(be.Uint16(c.Want)), decodeEpoch(value); want != have {
			return nil, &FencedError{ID: int64(be.Uint64(c.Key)), Epoch: want, Current: have}
		}
	case conditionSequence:
		return verdictOnSequence(c, value)
	}
	return nil, nil
}

func verdictOnSequence(c *Condition, value []byte) (*Duplicate, error) {
	be := binary.BigEndian
	epoch, sequence, count := be.Uint16(c.Want), int32(be.Uint32(c.Want[2:])), be.Uint32(c.Want[6:])
	expected := int32(0)
	if len(value) > 2 && be.Uint16(value) == epoch {
		for b := value[2:]; len(b) > 0; b = b[producerBatchBytes:] {
			first, n := int32(be.Uint32(b)), be.Uint32(b[4:])
			if first == sequence && n == count {
				return &Duplicate{Batches: []BatchPlace{{
					Number: be.Uint32(c.Key[8:]), Offset: int64(be.Uint64(b[8:])), Count: int(n), Position: be.Uint64(b[16:]),
				}}}, nil
			}
			expected = addSequence(first, int(n))
		}
	}
	if sequence == expected {
		return nil, nil
	}
	back := (int64(expected) - int64(sequence)) & (1<<31 - 1)
	return nil, &SequenceError{
		ID: int64(be.Uint64(c.Key)), Expected: expected, Got: sequence,
		Old: back < halfOfSequenceSpace && isOld(value, epoch, sequence),
	}
}

// isOld reports whether sequence lies before the oldest batch that is remembered.
func isOld(value []byte, epoch uint16, sequence int32) bool {
	be := binary.BigEndian
	if len(value) <= 2 || be.Uint16(value) != epoch {
		return false
	}
	oldest := int64(be.Uint32(value[2:]))
	back := (oldest - int64(sequence)) & (1<<31 - 1)
	return back != 0 && back < halfOfSequenceSpace
}

func (producersView) After(c *Condition, value []byte, s *Sequenced) []byte {
	be := binary.BigEndian
	switch c.Kind {
	case conditionName:
		return be.AppendUint64(nil, uint64(s.Batches[s.Told].Offset))
	case conditionRaise:
		return encodeEpoch(decodeEpoch(value) + 1)
	case conditionSequence:
		return addBatch(value, int16(be.Uint16(c.Want)), int32(be.Uint32(c.Want[2:])), s.Batches[c.piece-1])
	}
	return value
}
