package log

import (
	"context"
	"encoding/binary"
	"errors"
)

// Once makes a commit happen at most once: the first commit with this key happens, and every later
// one, also in another process and after a crash, is not written and returns the Result of the first,
// with Duplicate set and a nil error. So a caller that does not know what became of a commit repeats
// it under the same key; that it is there already comes before what its other conditions would say by
// then. The key stands for the whole commit, whose content is not compared; what Result.Record says of a
// duplicate rests on the same records being appended in the same order. Of batches whose topic was
// deleted since, a duplicate's Result has a handle without a name.
//
// Keys are kept for ever. A record of the engine's topic "__strata.once" carries the key, within the
// same commit.
func Once(key string) Condition {
	return Condition{View: onceView{}.Name(), Kind: conditionOnce, Key: []byte(key)}
}

const (
	onceTopic     = SystemPrefix + "once"
	conditionOnce = 1
)

// onceView maps each key to where the commit with it is. Its records have the key as key, and as value
// how many of the commit's batches the Result tells of, as a uvarint.
//
// A value is, per batch: u32 partition number | i64 offset | u32 count | u64 position, little-endian.
type onceView struct{}

const onceBatchBytes = 24

func (onceView) Name() string     { return SystemPrefix + "once" }
func (onceView) Topics() []string { return []string{onceTopic} }

func (onceView) Apply(tx *ViewTx, c *AppliedCommit) error {
	for i := range c.Batches {
		if c.Batches[i].Topic != onceTopic {
			continue
		}
		for r, err := range c.Batches[i].Records() {
			if err != nil {
				return err
			}
			told, n := binary.Uvarint(r.Value)
			if n <= 0 || told > uint64(len(c.Batches)) {
				return errors.New("log: record of an idempotency key does not decode")
			}
			places := make([]BatchPlace, len(c.Batches))
			for j, b := range c.Batches {
				places[j] = b.BatchPlace
			}
			tx.Set(r.Key, encodeOnce(places, int(told)))
		}
	}
	return nil
}

// encodeOnce returns the value of a key: the first told batches, or the one that carries the key when
// there is nothing else.
func encodeOnce(places []BatchPlace, told int) []byte {
	if told == 0 {
		places = places[:1]
	} else {
		places = places[:told]
	}
	le := binary.LittleEndian
	b := make([]byte, 0, len(places)*onceBatchBytes)
	for _, p := range places {
		b = le.AppendUint32(b, p.Number)
		b = le.AppendUint64(b, uint64(p.Offset))
		b = le.AppendUint32(b, uint32(p.Count))
		b = le.AppendUint64(b, p.Position)
	}
	return b
}

func (onceView) Key(c *Condition) ([]byte, error) {
	if c.Kind != conditionOnce {
		return nil, ErrCondition
	}
	return c.Key, nil
}

func (onceView) Carry(c *Condition, batches int) (string, []Record) {
	return onceTopic, []Record{{Key: c.Key, Value: binary.AppendUvarint(nil, uint64(batches))}}
}

func (onceView) Verdict(_ *Condition, value []byte) (*Duplicate, error) {
	if value == nil {
		return nil, nil
	}
	le := binary.LittleEndian
	d := &Duplicate{}
	for ; len(value) >= onceBatchBytes; value = value[onceBatchBytes:] {
		d.Batches = append(d.Batches, BatchPlace{
			Number: le.Uint32(value), Offset: int64(le.Uint64(value[4:])),
			Count: int(le.Uint32(value[12:])), Position: le.Uint64(value[16:]),
		})
	}
	return d, nil
}

func (onceView) After(_ *Condition, _ []byte, s *Sequenced) []byte {
	return encodeOnce(s.Batches, s.Told)
}

// engineView returns the engine's own view called name, or nil.
func engineView(name string) View {
	switch name {
	case onceView{}.Name():
		return onceView{}
	case producersView{}.Name():
		return producersView{}
	}
	return nil
}

// Committed returns the Result of the commit that was made under Once(key), with Duplicate set, when that
// is synced; false when there is none yet. One that is under way may not be seen.
func (l *Log) Committed(ctx context.Context, key string) (Result, bool, error) {
	v, err := l.answerer(ctx, onceView{}.Name())
	if err != nil {
		return Result{}, false, err
	}
	h := ViewHandle{v}
	value, ok, err := h.Get(ctx, []byte(key))
	if err != nil || !ok {
		return Result{}, false, err
	}
	d, err := onceView{}.Verdict(nil, value)
	if err != nil {
		return Result{}, false, err
	}
	r := l.duplicate(d)
	if n := len(d.Batches); n > 0 && d.Batches[n-1].Position >= l.syncedPosition.Load() {
		if err := l.Sync(ctx); err != nil {
			return Result{}, false, err
		}
	}
	return *r, true, nil
}
