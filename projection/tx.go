package projection

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// KeyValue is a key of a model with its value.
type KeyValue struct {
	Key string
	// Value is valid inside the loop body. It must not be changed.
	Value []byte
}

// Reader reads a model: a *Tx, a *Model and a *Snapshot are some.
type Reader interface {
	// Get returns the value of a key, and whether there is one.
	Get(key string) (value []byte, ok bool, err error)
	// Scan yields the keys that begin with prefix, in order, with their values. An error is the last pair.
	Scan(prefix string) iter.Seq2[KeyValue, error]
	// Range yields the keys in [from, to), in order; to "" is no bound.
	Range(from, to string) iter.Seq2[KeyValue, error]
}

// Tx is the transaction of a model in Pebble or in memory. It sees what it has written itself. It is valid
// during the call of the handler.
type Tx struct {
	base  base
	layer map[string]layered
	bytes int
}

// NewTx returns a transaction on an empty model, which is never committed: for tests of handlers.
func NewTx() *Tx { return &Tx{layer: map[string]layered{}} }

// layered is what a transaction has written: nil for a key that was deleted.
type layered struct{ value []byte }

// base is what a transaction stands on: a build, or nothing.
type base interface {
	get(key string) ([]byte, bool, error)
	scan(from, to string) iter.Seq2[KeyValue, error]
}

// Get returns the value of a key, and whether there is one. The value is valid until the key is set again. It
// must not be changed.
func (tx *Tx) Get(key string) (value []byte, ok bool, err error) {
	if v, there := tx.layer[key]; there {
		return v.value, v.value != nil, nil
	}
	if tx.base == nil {
		return nil, false, nil
	}
	return tx.base.get(key)
}

// Set gives a key a value, which is copied.
func (tx *Tx) Set(key string, value []byte) {
	v, there := tx.layer[key]
	if !there {
		tx.bytes += len(key) + layerBytes
		key = strings.Clone(key) // it may be a part of something large
	}
	tx.bytes += len(value) - len(v.value)
	kept := append(v.value[:0], value...)
	if kept == nil {
		kept = []byte{}
	}
	tx.layer[key] = layered{kept}
}

// layerBytes is about what a key takes in memory besides its bytes.
const layerBytes = 64

// Delete removes a key, if it is there.
func (tx *Tx) Delete(key string) {
	v, there := tx.layer[key]
	if !there {
		tx.bytes += len(key) + layerBytes
		key = strings.Clone(key)
	}
	tx.bytes -= len(v.value)
	tx.layer[key] = layered{}
}

// Scan yields the keys that begin with prefix, in order, as they are when the loop begins. The body may write.
func (tx *Tx) Scan(prefix string) iter.Seq2[KeyValue, error] {
	return tx.Range(prefix, string(behind([]byte(prefix))))
}

// Range yields the keys in [from, to), in order, as they are when the loop begins. The body may write.
func (tx *Tx) Range(from, to string) iter.Seq2[KeyValue, error] {
	return func(yield func(KeyValue, error) bool) {
		type pair struct {
			key string
			layered
		}
		var own []pair
		for key, v := range tx.layer {
			if key >= from && (to == "" || key < to) {
				own = append(own, pair{key, layered{bytes.Clone(v.value)}})
			}
		}
		slices.SortFunc(own, func(a, b pair) int { return strings.Compare(a.key, b.key) })
		next := func() bool { // yields the first of own
			p := own[0]
			own = own[1:]
			return p.value == nil || yield(KeyValue{p.key, p.value}, nil)
		}
		if tx.base != nil {
			for kv, err := range tx.base.scan(from, to) {
				if err != nil {
					yield(KeyValue{}, err)
					return
				}
				for len(own) > 0 && own[0].key < kv.Key {
					if !next() {
						return
					}
				}
				if len(own) > 0 && own[0].key == kv.Key {
					if !next() {
						return
					}
					continue
				}
				if !yield(kv, nil) {
					return
				}
			}
		}
		for len(own) > 0 {
			if !next() {
				return
			}
		}
	}
}

// transaction is a Transaction on a build in Pebble.
type transaction struct {
	s     *PebbleStore
	name  string
	b     *build
	tx    *Tx
	forks []*Tx
}

// Begin implements Store.
func (s *PebbleStore) Begin(_ context.Context, name string, b Build) (Transaction[*Tx], error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usableLocked(); err != nil {
		return nil, err
	}
	m := s.names[name]
	if m == nil || m.builds[b.Number] == nil {
		return nil, &FencedError{Projection: name}
	}
	t := &transaction{s: s, name: name, b: m.builds[b.Number]}
	t.tx = &Tx{base: &buildBase{s: s, number: b.Number}, layer: map[string]layered{}}
	return t, nil
}

func (t *transaction) Handle() *Tx { return t.tx }

func (t *transaction) Bytes() int {
	n := t.tx.bytes
	for _, f := range t.forks {
		n += f.bytes
	}
	return n
}

func (t *transaction) Rollback() { t.tx, t.forks = nil, nil }

// fork returns handles that stand on what the first one has written so far; it must not be written to
// afterwards.
func (t *transaction) fork(n int) []*Tx {
	for range n {
		t.forks = append(t.forks, &Tx{base: &buildBase{s: t.s, number: t.b.Number}, layer: map[string]layered{}})
	}
	return t.forks[len(t.forks)-n:]
}

// merge takes up what forks have written.
func (t *transaction) merge() error {
	for _, f := range t.forks {
		for key, v := range f.layer {
			if _, twice := t.tx.layer[key]; twice {
				return &OrderError{Projection: t.name, Key: key}
			}
			t.tx.layer[key] = v
		}
	}
	t.forks = nil
	return nil
}

// Commit implements Transaction.
func (t *transaction) Commit(ctx context.Context, c Change) error {
	defer t.Rollback()
	if err := t.merge(); err != nil {
		return err
	}
	s := t.s
	if err := s.told(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usableLocked(); err != nil {
		return err
	}
	if at := t.b.at.Load(); *at != c.From {
		return &FencedError{Projection: t.name, Expected: c.From.Position, Actual: at.Position}
	}
	b := s.db.NewBatchWithSize(t.tx.bytes + 256)
	if err := t.fill(b, &c); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, errors.Join(err, b.Close()))
	}
	size := b.Len()
	if err := s.commit(b); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	t.b.at.Store(&c.To)
	if m := s.names[t.name]; m.active == t.b.Number {
		m.watching.changed(t.tx.layer)
	}
	return s.took(ctx, size)
}

// fill puts into a batch what the transaction comes to. Keys go in order, so that two builds make the same
// of the same events.
func (t *transaction) fill(b *pebble.Batch, c *Change) error {
	key := numbered(dataKey, t.b.Number)
	for _, k := range slices.Sorted(maps.Keys(t.tx.layer)) {
		key = append(key[:dataPrefixBytes], k...)
		var err error
		if v := t.tx.layer[k].value; v != nil {
			err = b.Set(key, v, nil)
		} else {
			err = b.Delete(key, nil)
		}
		if err != nil {
			return err
		}
	}
	parked := func(position uint64) []byte {
		return binary.BigEndian.AppendUint64(numbered(parkedKey, t.b.Number), position)
	}
	for _, p := range c.Park {
		value, err := json.Marshal(p)
		if err = errors.Join(err, b.Set(parked(p.Position), value, nil)); err != nil {
			return err
		}
	}
	for _, position := range c.Unpark {
		if err := b.Delete(parked(position), nil); err != nil {
			return err
		}
	}
	return b.Set(numbered(checkpointKey, t.b.Number), encodeCheckpoint(c.To), nil)
}
