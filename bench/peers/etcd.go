package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	etcdwal "go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

var etcd = engine{
	name: "etcd-wal", note: "reopening reads all records into memory; no point reads",
	open: func(dir string, o options) (store, error) {
		s := &etcdStore{dir: filepath.Join(dir, "wal")}
		var err error
		if etcdwal.Exist(s.dir) {
			if s.w, err = etcdwal.Open(zap.NewNop(), s.dir, walpb.Snapshot{}); err != nil {
				return nil, err
			}
			_, _, entries, err := s.w.ReadAll()
			if err != nil {
				return nil, err
			}
			s.next = uint64(len(entries))
		} else if s.w, err = etcdwal.Create(zap.NewNop(), s.dir, nil); err != nil {
			return nil, err
		}
		if !o.sync {
			s.w.SetUnsafeNoFsync()
		}
		return s, nil
	},
}

type etcdStore struct {
	dir     string
	w       *etcdwal.WAL
	next    uint64
	entries []raftpb.Entry
}

func (s *etcdStore) writer() writer { return s }

func (s *etcdStore) append(records [][]byte) error {
	s.entries = s.entries[:0]
	for _, r := range records {
		s.next++
		s.entries = append(s.entries, raftpb.Entry{Index: s.next, Term: 1, Data: r})
	}
	return s.w.Save(raftpb.HardState{}, s.entries)
}

func (s *etcdStore) replay(each func([]byte)) error {
	if err := s.w.Sync(); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(s.dir, "*.wal"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	var readers []fileutil.FileReader
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		readers = append(readers, fileutil.NewFileReader(f))
	}
	d := etcdwal.NewDecoder(readers...)
	var rec walpb.Record
	for {
		switch err := d.Decode(&rec); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		switch rec.Type {
		case etcdwal.EntryType:
			each(etcdwal.MustUnmarshalEntry(rec.Data).Data)
		case etcdwal.CrcType:
			if crc := d.LastCRC(); crc != 0 && rec.Validate(crc) != nil {
				return etcdwal.ErrCRCMismatch
			}
			d.UpdateCRC(rec.Crc)
		}
	}
}

func (s *etcdStore) close() error { return s.w.Close() }
