package main

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

var pebbleEngine = engine{
	name: "pebble", note: "an LSM tree; compresses tables; unsynced commits return before the write", native: true,
	open: func(dir string, o options) (store, error) {
		cache := pebble.NewCache(256 << 20)
		defer cache.Unref()
		db, err := pebble.Open(dir, &pebble.Options{
			FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 20, Cache: cache, Logger: quiet{},
		})
		if err != nil {
			return nil, err
		}
		s := &pebbleStore{db: db, how: pebble.NoSync}
		if o.sync {
			s.how = pebble.Sync
		}
		it, err := db.NewIter(nil)
		if err != nil {
			return nil, err
		}
		if it.Last() {
			s.next.Store(binary.BigEndian.Uint64(it.Key()) + 1)
		}
		return s, it.Close()
	},
}

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, a ...any) { panic(f) }

type pebbleStore struct {
	db   *pebble.DB
	how  *pebble.WriteOptions
	next atomic.Uint64
	got  []byte
}

type pebbleWriter struct {
	s   *pebbleStore
	key [8]byte
}

func (s *pebbleStore) writer() writer { return &pebbleWriter{s: s} }

func (w *pebbleWriter) append(records [][]byte) error {
	n := w.s.next.Add(uint64(len(records))) - uint64(len(records))
	b := w.s.db.NewBatch()
	defer b.Close()
	for i, r := range records {
		binary.BigEndian.PutUint64(w.key[:], n+uint64(i))
		if err := b.Set(w.key[:], r, nil); err != nil {
			return err
		}
	}
	return b.Commit(w.s.how)
}

func (s *pebbleStore) replay(each func([]byte)) error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		each(v)
	}
	return it.Close()
}

func (s *pebbleStore) get(i int) ([]byte, error) {
	v, closer, err := s.db.Get(binary.BigEndian.AppendUint64(nil, uint64(i)))
	if err != nil {
		return nil, err
	}
	s.got = append(s.got[:0], v...)
	return s.got, closer.Close()
}

func (s *pebbleStore) close() error { return s.db.Close() }
