package projection

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Table is a typed part of a model: values of type V under keys, as JSON, with secondary indexes. It is used by
// handlers to write and by queries to read. It never changes, and may be used concurrently.
//
// Its keys in the model are NAME 0 "r" KEY for the rows, and NAME 0 "i" INDEX 0 VALUE 0 KEY for each value
// that an index gives for a row. Keys and values of indexes must not have a zero byte.
type Table[V any] struct {
	name    string
	indexes []index[V]
}

type index[V any] struct {
	name string
	of   func(key string, v V) []string
}

// NewTable returns the table called name, which must not have a zero byte and not be that of another table of
// the same model.
func NewTable[V any](name string) *Table[V] { return &Table[V]{name: name} }

// Index adds a secondary index, and returns t: of gives the values under which a row is found by it. It must
// depend on nothing but its arguments. What it gives may only be changed together with the version of the
// definition. It is called before t is used.
func (t *Table[V]) Index(name string, of func(key string, v V) []string) *Table[V] {
	t.indexes = append(t.indexes, index[V]{name, of})
	return t
}

func (t *Table[V]) rowKey(key string) string { return t.name + "\x00r" + key }

func (t *Table[V]) indexKey(index, value string) string {
	return t.name + "\x00i" + index + "\x00" + value + "\x00"
}

// Get returns the row with a key, and whether there is one.
func (t *Table[V]) Get(r Reader, key string) (v V, ok bool, err error) {
	b, ok, err := r.Get(t.rowKey(key))
	if err != nil || !ok {
		return v, false, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, false, fmt.Errorf("projection: table %q, row %q: %w", t.name, key, err)
	}
	return v, true, nil
}

// Put gives a key a row.
func (t *Table[V]) Put(tx *Tx, key string, v V) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("projection: table %q, row %q: %w", t.name, key, err)
	}
	if len(t.indexes) > 0 {
		if strings.IndexByte(key, 0) >= 0 {
			return fmt.Errorf("projection: table %q: row %q has a zero byte in its key, and the table has indexes", t.name, key)
		}
		if err := t.reindex(tx, key, &v); err != nil {
			return err
		}
	}
	tx.Set(t.rowKey(key), b)
	return nil
}

// Update gives a key the row that change makes of the one it has, or of the zero V.
func (t *Table[V]) Update(tx *Tx, key string, change func(*V) error) error {
	v, _, err := t.Get(tx, key)
	if err != nil {
		return err
	}
	if err := change(&v); err != nil {
		return err
	}
	return t.Put(tx, key, v)
}

// Delete removes the row with a key, if there is one.
func (t *Table[V]) Delete(tx *Tx, key string) error {
	if len(t.indexes) > 0 {
		if err := t.reindex(tx, key, nil); err != nil {
			return err
		}
	}
	tx.Delete(t.rowKey(key))
	return nil
}

// reindex changes the indexes for a row that becomes v, or is removed when v is nil.
func (t *Table[V]) reindex(tx *Tx, key string, v *V) error {
	old, had, err := t.Get(tx, key)
	if err != nil {
		return err
	}
	for _, ix := range t.indexes {
		var before, after []string
		if had {
			before = ix.of(key, old)
		}
		if v != nil {
			after = ix.of(key, *v)
		}
		for _, value := range before {
			if !slices.Contains(after, value) {
				tx.Delete(t.indexKey(ix.name, value) + key)
			}
		}
		for _, value := range after {
			if strings.IndexByte(value, 0) >= 0 {
				return fmt.Errorf("projection: table %q, row %q: index %q: %q has a zero byte", t.name, key, ix.name, value)
			}
			if !slices.Contains(before, value) {
				tx.Set(t.indexKey(ix.name, value)+key, nil)
			}
		}
	}
	return nil
}

// Row is a row with its key.
type Row[V any] struct {
	Key   string
	Value V
}

// Scan yields the rows whose keys begin with prefix, in order. An error is the last pair.
func (t *Table[V]) Scan(r Reader, prefix string) iter.Seq2[Row[V], error] {
	return func(yield func(Row[V], error) bool) {
		for kv, err := range r.Scan(t.rowKey(prefix)) {
			row := Row[V]{}
			if err == nil {
				row.Key = kv.Key[len(t.rowKey("")):]
				err = json.Unmarshal(kv.Value, &row.Value)
			}
			if err != nil {
				yield(Row[V]{}, err)
				return
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// Find yields the rows that an index has under a value, by key. On a *Model each row is read by itself; use a
// Snapshot for all as of one moment. An error is the last pair.
func (t *Table[V]) Find(r Reader, index, value string) iter.Seq2[Row[V], error] {
	return func(yield func(Row[V], error) bool) {
		prefix := t.indexKey(index, value)
		for kv, err := range r.Scan(prefix) {
			row := Row[V]{}
			ok := true
			if err == nil {
				row.Key = kv.Key[len(prefix):]
				row.Value, ok, err = t.Get(r, row.Key)
			}
			if err != nil {
				yield(Row[V]{}, err)
				return
			}
			if ok && !yield(row, nil) {
				return
			}
		}
	}
}
