package main

import (
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
)

var raftWAL = engine{
	name: "raft-wal", note: "always syncs; a checksum per commit, never checked by reads",
	only: []string{"W3", "W4", "W5", "W6", "W7", "W8"},
	open: func(dir string, _ options) (store, error) {
		w, err := raftwal.Open(dir)
		if err != nil {
			return nil, err
		}
		last, err := w.LastIndex()
		return &raftStore{w: w, next: last + 1}, err
	},
}

type raftStore struct {
	w    *raftwal.WAL
	next uint64
	logs []*raft.Log
	one  raft.Log
}

func (s *raftStore) writer() writer { return s }

func (s *raftStore) append(records [][]byte) error {
	for len(s.logs) < len(records) {
		s.logs = append(s.logs, &raft.Log{})
	}
	for i, r := range records {
		*s.logs[i] = raft.Log{Index: s.next, Term: 1, Data: r}
		s.next++
	}
	return s.w.StoreLogs(s.logs[:len(records)])
}

func (s *raftStore) replay(each func([]byte)) error {
	for i := range int(s.next - 1) {
		b, err := s.get(i)
		if err != nil {
			return err
		}
		each(b)
	}
	return nil
}

func (s *raftStore) get(i int) ([]byte, error) {
	err := s.w.GetLog(uint64(i)+1, &s.one)
	return s.one.Data, err
}

func (s *raftStore) close() error { return s.w.Close() }
