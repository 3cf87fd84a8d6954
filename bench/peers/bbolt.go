package main

import (
	"encoding/binary"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// batchDelay is how long a Batch waits for others. By default it is 10 ms, which is what a trial would measure.
const batchDelay = 100 * time.Microsecond

var bucketName = []byte("log")

var bolt = engine{
	name: "bbolt", note: "a B+tree; no checksums over data", native: true,
	open: func(dir string, o options) (store, error) {
		db, err := bbolt.Open(filepath.Join(dir, "bolt.db"), 0o600, &bbolt.Options{NoSync: !o.sync, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return nil, err
		}
		s := &boltStore{db: db}
		return s, db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucketName)
			if err == nil {
				if k, _ := b.Cursor().Last(); k != nil {
					s.next.Store(binary.BigEndian.Uint64(k) + 1)
				}
			}
			return err
		})
	},
}

type boltStore struct {
	db   *bbolt.DB
	next atomic.Uint64
	many bool // many writers: Batch, which shares syncs, in place of Update
	key  [8]byte
	got  []byte
}

func (s *boltStore) writer() writer { return s }

func (s *boltStore) shared() { s.many, s.db.MaxBatchDelay = true, batchDelay }

func (s *boltStore) append(records [][]byte) error {
	do := s.db.Update
	if s.many {
		do = s.db.Batch
	}
	first := s.next.Add(uint64(len(records))) - uint64(len(records))
	return do(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketName)
		b.FillPercent = 1
		for i, r := range records {
			if err := b.Put(binary.BigEndian.AppendUint64(nil, first+uint64(i)), r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *boltStore) replay(each func([]byte)) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketName).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			each(v)
		}
		return nil
	})
}

func (s *boltStore) get(i int) ([]byte, error) {
	err := s.db.View(func(tx *bbolt.Tx) error {
		binary.BigEndian.PutUint64(s.key[:], uint64(i))
		s.got = append(s.got[:0], tx.Bucket(bucketName).Get(s.key[:])...)
		return nil
	})
	return s.got, err
}

func (s *boltStore) close() error { return s.db.Close() }
