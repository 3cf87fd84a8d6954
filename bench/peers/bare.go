package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/stratalog/strata/bench"
)

// The yardsticks: what the operating system alone takes for the same bytes.
var (
	bare = engine{
		name: "bare-write", note: "write(2) into a growing file, nothing else", yardstick: true,
		only: []string{"W1", "W2", "W6", "W7", "W12"},
		open: func(dir string, _ options) (store, error) {
			path := filepath.Join(dir, "bare")
			if f, err := os.Open(path); err == nil {
				return &bareStore{file: f}, nil
			}
			b, err := bench.NewBare(path, false)
			if err != nil {
				return nil, err
			}
			return &bareStore{b: b, file: b.File()}, nil
		},
	}
	bareSync = engine{
		name: "bare-fdatasync", note: "write + fdatasync into a growing file", yardstick: true,
		only: []string{"W3", "W5"},
		open: func(dir string, _ options) (store, error) {
			b, err := bench.NewBare(filepath.Join(dir, "bare"), true)
			return &bareStore{b: b}, err
		},
	}
	bareOverwrite = engine{
		name: "bare-overwrite", note: "write + fdatasync over blocks that were written before", yardstick: true,
		only: []string{"W3", "W5"},
		open: func(dir string, _ options) (store, error) {
			b, err := bench.NewOverwritten(filepath.Join(dir, "bare"))
			return &bareStore{b: b}, err
		},
	}
)

type bareStore struct {
	b    *bench.Bare
	file *os.File
	buf  []byte
}

func (s *bareStore) writer() writer { return writerFunc(s.b.Append) }

// replay reads the file from end to end, 1 MiB at a time.
func (s *bareStore) replay(each func([]byte)) error {
	s.buf = make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := s.file.ReadAt(s.buf, at)
		for i := 0; i+readSize <= n; i += readSize {
			each(s.buf[i : i+readSize])
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *bareStore) get(i int) ([]byte, error) {
	if s.buf == nil {
		s.buf = make([]byte, readSize)
	}
	_, err := s.file.ReadAt(s.buf[:readSize], int64(i)*readSize)
	return s.buf[:readSize], err
}

func (s *bareStore) close() error {
	if s.b != nil {
		return s.b.Close()
	}
	return s.file.Close()
}
