package queue

import (
	"encoding/binary"

	"github.com/stratalog/strata/log"
)

// What is known of a DedupID is, under 'u', until when it counts, in microseconds, 0 for ever, and per
// batch of the commit that it came with
//
//	u32 partition number | i64 offset | u32 count | u64 position
//
// and under 'v' nothing: those keys lie in the order in which the windows end.

const dedupBatchBytes = 4 + 8 + 4 + 8

func encodeSent(until int64, places []log.BatchPlace, told int) []byte {
	if told == 0 || told > len(places) {
		told = min(1, len(places))
	}
	b := binary.AppendUvarint(make([]byte, 0, 10+told*dedupBatchBytes), uint64(until))
	for _, p := range places[:told] {
		b = be.AppendUint32(b, p.Number)
		b = be.AppendUint64(b, uint64(p.Offset))
		b = be.AppendUint32(b, uint32(p.Count))
		b = be.AppendUint64(b, p.Position)
	}
	return b
}

// sentUntil returns until when the value of a DedupID counts, and the rest of it.
func sentUntil(value []byte) (until int64, places []byte) {
	d := decoder{b: value}
	until = int64(d.uvarint())
	return until, d.b
}

// duplicateOf returns where the message with the DedupID is, nil when it may be sent.
func duplicateOf(value []byte, now int64) *log.Duplicate {
	until, b := sentUntil(value)
	if value == nil || until != 0 && until <= now {
		return nil
	}
	d := &log.Duplicate{}
	for ; len(b) >= dedupBatchBytes; b = b[dedupBatchBytes:] {
		d.Batches = append(d.Batches, log.BatchPlace{
			Number: be.Uint32(b), Offset: int64(be.Uint64(b[4:])),
			Count: int(be.Uint32(b[12:])), Position: be.Uint64(b[16:]),
		})
	}
	return d
}

func noteDedup(tx *log.ViewTx, c *log.AppliedCommit, id uint64, dedupID string, value []byte) error {
	u, ok := decodeDedup(value)
	if !ok || u.told > len(c.Batches) {
		return ErrCorrupt
	}
	old, err := tx.Get(keyDedup(id, dedupID))
	if err != nil {
		return err
	}
	if until, _ := sentUntil(old); until != 0 {
		tx.Delete(keyDedupEnd(id, until, dedupID))
	}
	places := make([]log.BatchPlace, len(c.Batches))
	for i := range c.Batches {
		places[i] = c.Batches[i].BatchPlace
	}
	tx.Set(keyDedup(id, dedupID), encodeSent(u.until, places, u.told))
	if u.until != 0 {
		tx.Set(keyDedupEnd(id, u.until, dedupID), nil)
	}
	return nil
}

// forget drops a DedupID whose window has ended, unless it was sent again since. A verdict is the same
// with and without it, so this needs no condition on its key.
func forget(tx *log.ViewTx, id uint64, e *expiredID) error {
	tx.Delete(keyDedupEnd(id, e.until, e.id))
	value, err := tx.Get(keyDedup(id, e.id))
	if err != nil {
		return err
	}
	if until, _ := sentUntil(value); value != nil && until == e.until {
		tx.Delete(keyDedup(id, e.id))
	}
	return nil
}
