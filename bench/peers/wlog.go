package main

import (
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

var promWlog = engine{
	name: "prom-wlog", note: "opening checks nothing; no point reads; the sync of a full segment is not waited for",
	open: func(dir string, o options) (store, error) {
		w, err := wlog.New(slog.New(slog.NewTextHandler(io.Discard, nil)), nil, dir, compression.None)
		if err != nil {
			return nil, err
		}
		s := &wlogStore{w: w, dir: dir, sync: o.sync}
		s.moved = sync.NewCond(&s.mu)
		return s, nil
	},
}

type wlogStore struct {
	w    *wlog.WL
	dir  string
	sync bool

	mu       sync.Mutex
	moved    *sync.Cond
	appended int // guarded by mu; counted only for a follower
	followed bool
}

func (s *wlogStore) writer() writer { return s }

func (s *wlogStore) append(records [][]byte) error {
	err := s.w.Log(records...)
	if err == nil && s.sync {
		err = s.w.Sync()
	}
	if s.followed {
		s.mu.Lock()
		s.appended += len(records)
		s.mu.Unlock()
		s.moved.Broadcast()
	}
	return err
}

func (s *wlogStore) replay(each func([]byte)) error {
	in, err := wlog.NewSegmentsReader(s.dir)
	if err != nil {
		return err
	}
	defer in.Close()
	r := wlog.NewReader(in)
	for r.Next() {
		each(r.Record())
	}
	return r.Err()
}

// follow reads with the package's own live reader; as that polls, the harness tells it when to look.
func (s *wlogStore) follow(ready func(), each func([]byte) bool) error {
	s.followed = true
	first, _, err := wlog.Segments(s.dir)
	if err != nil {
		return err
	}
	f, err := os.Open(wlog.SegmentName(s.dir, first))
	if err != nil {
		return err
	}
	defer f.Close()
	r := wlog.NewLiveReader(slog.New(slog.NewTextHandler(io.Discard, nil)), wlog.NewLiveReaderMetrics(nil), f)
	ready()
	for seen := 0; ; {
		s.mu.Lock()
		for s.appended == seen {
			s.moved.Wait()
		}
		have := s.appended
		s.mu.Unlock()
		for seen < have {
			if !r.Next() {
				return r.Err()
			}
			seen++
			if !each(r.Record()) {
				return nil
			}
		}
	}
}

func (s *wlogStore) close() error { return s.w.Close() }
