package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

var background = context.Background()

var quietLogger = slog.New(slog.NewTextHandler(io.Discard, nil))

type strataStore struct {
	l      *log.Log
	p      *log.Partition
	groups int
	got    log.Record // of get, as buf is
	buf    []byte
}

// strata returns Strata as one of its rows: the plain one gives each commit to the operating system,
// or syncs it, as its peers do.
func strata(name, note string) engine {
	e := engine{name: name, note: note, native: true}
	switch name {
	case "strata":
	case "strata-zstd":
		e.only = []string{"W11"}
	case "strata-4g":
		e.only = []string{"W2"}
	case "strata-default":
		e.only = []string{"W1"}
	default:
		e.only = []string{"W1", "W2"}
	}
	e.open = func(dir string, o options) (store, error) {
		lo := log.Options{Logger: quietLogger}
		switch {
		case o.sync:
		case name == "strata-buffered":
			lo.Durability, lo.SyncInterval = log.Buffered, -1
		case name == "strata-default":
			lo.Durability = log.Written
		case name == "strata-4g":
			lo.Durability, lo.SyncInterval, lo.SegmentBytes = log.Written, -1, 4<<30
		default:
			lo.Durability, lo.SyncInterval = log.Written, -1
		}
		to := log.TopicOptions{}
		if name == "strata-zstd" {
			to.Compression = record.Zstd
		}
		return openStrata(dir, lo, to)
	}
	return e
}

func openStrata(dir string, o log.Options, to log.TopicOptions) (*strataStore, error) {
	l, err := log.Open(dir, o)
	if err != nil {
		return nil, err
	}
	t, err := l.CreateTopic(background, "events", to)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &strataStore{l: l, p: t.Partition(0)}, nil
}

type strataWriter struct {
	s *strataStore
	c *log.Commit
}

func (s *strataStore) writer() writer { return &strataWriter{s, s.l.NewCommit()} }

func (w *strataWriter) fill(records [][]byte) *log.Commit {
	w.c.Reset()
	for _, r := range records {
		w.c.AppendTo(w.s.p, log.Record{Value: r})
	}
	return w.c
}

func (w *strataWriter) append(records [][]byte) error {
	_, err := w.fill(records).Commit(background)
	return err
}

func (w *strataWriter) start(records [][]byte) (func() error, error) {
	a := w.fill(records).CommitAsync(background)
	return func() error {
		_, err := a.Wait(background)
		return err
	}, nil
}

func (s *strataStore) replay(each func([]byte)) error {
	if err := s.l.Sync(background); err != nil {
		return err
	}
	for r, err := range s.p.Read(log.Oldest) {
		if err != nil {
			return err
		}
		each(r.Value)
	}
	return nil
}

func (s *strataStore) get(i int) ([]byte, error) {
	var err error
	s.buf, err = s.p.GetInto(int64(i), &s.got, s.buf)
	return s.got.Value, err
}

func (s *strataStore) follow(ready func(), each func([]byte) bool) error {
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	ready()
	for r, err := range s.p.Follow(ctx, log.Oldest, log.ReadOptions{Unsynced: true}) {
		if err != nil {
			return err
		}
		if !each(r.Value) {
			return nil
		}
	}
	return nil
}

func (s *strataStore) consumeGroup(records int, each func([]byte)) error {
	if err := s.l.Sync(background); err != nil {
		return err
	}
	s.groups++
	m, err := consumer.Join(background, s.l, fmt.Sprint("g", s.groups), consumer.Options{Topics: []string{"events"}})
	if err != nil {
		return err
	}
	for r, err := range m.Available(background) {
		if err != nil {
			return errors.Join(err, m.Close())
		}
		each(r.Value)
		m.Mark(r)
	}
	return errors.Join(m.Commit(background), m.Close())
}

func (s *strataStore) close() error { return s.l.Close() }
