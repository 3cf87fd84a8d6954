package main

import "github.com/tidwall/wal"

var tidwall = engine{
	name: "tidwall", note: "no checksums; keeps the last segment in memory",
	open: func(dir string, o options) (store, error) {
		opts := *wal.DefaultOptions
		opts.NoSync, opts.NoCopy = !o.sync, true
		l, err := wal.Open(dir, &opts)
		if err != nil {
			return nil, err
		}
		last, err := l.LastIndex()
		return &tidwallStore{l: l, next: last + 1}, err
	},
}

type tidwallStore struct {
	l     *wal.Log
	next  uint64
	batch wal.Batch
}

func (s *tidwallStore) writer() writer { return s }

func (s *tidwallStore) append(records [][]byte) error {
	if len(records) == 1 {
		s.next++
		return s.l.Write(s.next-1, records[0])
	}
	s.batch.Clear()
	for _, r := range records {
		s.batch.Write(s.next, r)
		s.next++
	}
	return s.l.WriteBatch(&s.batch)
}

func (s *tidwallStore) replay(each func([]byte)) error {
	for i := uint64(1); i < s.next; i++ {
		b, err := s.l.Read(i)
		if err != nil {
			return err
		}
		each(b)
	}
	return nil
}

func (s *tidwallStore) get(i int) ([]byte, error) { return s.l.Read(uint64(i) + 1) }
func (s *tidwallStore) close() error              { return s.l.Close() }
