package main

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.etcd.io/bbolt"
	_ "modernc.org/sqlite" // the driver "sqlite", without cgo

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// eventStore keeps streams of events. Its methods may be called by many goroutines.
type eventStore interface {
	store
	// appendAt appends events to a stream, all or none, if it has so many already.
	appendAt(stream string, version int, events [][]byte) error
	// load calls each with the events of a stream.
	load(stream string, each func(event []byte)) error
}

var errVersion = errors.New("the stream is at another version")

// noWriter is for stores that are nothing but event stores.
type noWriter struct{}

func (noWriter) writer() writer {
	return writerFunc(func([][]byte) error { return errors.ErrUnsupported })
}

// eventEngines are those of E1 and E2.
func eventEngines() []engine {
	return []engine{
		{name: "strata-events", note: "package aggregate", native: true, events: true, open: openStrataEvents},
		{name: "sqlite", note: "a table with a unique (stream, version) index; WAL, synchronous=FULL; one connection writes", native: true, events: true, open: openSQLite},
		{name: "bbolt-streams", note: "a bucket a stream; Batch with many writers", native: true, events: true, open: openBoltStreams},
		{name: "nats-streams", note: "a subject a stream, expected-last-subject-sequence; several events are an atomic batch; a load is an ordered consumer", native: true, events: true, open: openNatsStreams},
	}
}

type strataEvents struct {
	noWriter
	l *log.Log
	s *aggregate.Store
}

func openStrataEvents(dir string, o options) (store, error) {
	lo := log.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if !o.sync {
		lo.Durability, lo.SyncInterval = log.Written, -1
	}
	l, err := log.Open(dir, lo)
	if err != nil {
		return nil, err
	}
	s, err := aggregate.Open(background, l, "events", aggregate.Options{})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &strataEvents{l: l, s: s}, nil
}

func (s *strataEvents) appendAt(stream string, version int, events [][]byte) error {
	list := make([]aggregate.Event, len(events))
	for i, e := range events {
		list[i] = aggregate.Event{Type: "happened", Data: e}
	}
	_, err := s.s.Append(background, stream, aggregate.At(uint64(version)), list...)
	if errors.Is(err, aggregate.ErrVersionConflict) {
		return errVersion
	}
	return err
}

func (s *strataEvents) load(stream string, each func([]byte)) error {
	for e, err := range s.s.Load(background, stream) {
		if err != nil {
			return err
		}
		each(e.Data)
	}
	return nil
}

func (s *strataEvents) close() error { return s.l.Close() }

type sqliteEvents struct {
	noWriter
	write, read    *sql.DB
	insert, choose *sql.Stmt
}

func openSQLite(dir string, o options) (store, error) {
	pragmas := "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_txlock=immediate"
	if !o.sync {
		pragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(10000)&_txlock=immediate"
	}
	path := "file:" + filepath.Join(dir, "events.db") + pragmas
	write, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if _, err := write.Exec(`CREATE TABLE IF NOT EXISTS events (
		position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
		time INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (stream, version))`); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	s := &sqliteEvents{write: write}
	if s.read, err = sql.Open("sqlite", path); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	if s.insert, err = write.Prepare(`INSERT INTO events (stream, version, id, type, time, data) VALUES (?, ?, ?, ?, ?, ?)`); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.choose, err = s.read.Prepare(`SELECT version, id, type, time, data FROM events WHERE stream = ? ORDER BY version`); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *sqliteEvents) appendAt(stream string, version int, events [][]byte) error {
	now := time.Now().UnixMilli()
	one := func(insert *sql.Stmt, i int) error {
		_, err := insert.Exec(stream, version+i+1, fmt.Sprintf("%s/%d", stream, version+i+1), "happened", now, events[i])
		return err
	}
	if len(events) == 1 {
		return one(s.insert, 0)
	}
	tx, err := s.write.Begin()
	if err != nil {
		return err
	}
	insert := tx.Stmt(s.insert)
	for i := range events {
		if err := one(insert, i); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

func (s *sqliteEvents) load(stream string, each func([]byte)) error {
	rows, err := s.choose.Query(stream)
	if err != nil {
		return err
	}
	defer rows.Close()
	var version, at int64
	var id, kind string
	var data sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&version, &id, &kind, &at, &data); err != nil {
			return err
		}
		each(data)
	}
	return rows.Err()
}

func (s *sqliteEvents) close() error {
	var errs []error
	if s.choose != nil {
		errs = append(errs, s.choose.Close())
	}
	if s.insert != nil {
		errs = append(errs, s.insert.Close())
	}
	return errors.Join(append(errs, s.read.Close(), s.write.Close())...)
}

type boltStreams struct {
	noWriter
	db   *bbolt.DB
	many bool
}

func openBoltStreams(dir string, o options) (store, error) {
	db, err := bbolt.Open(filepath.Join(dir, "bolt.db"), 0o600, &bbolt.Options{NoSync: !o.sync, NoFreelistSync: true})
	return &boltStreams{db: db}, err
}

func (s *boltStreams) shared() { s.many = true }

func (s *boltStreams) appendAt(stream string, version int, events [][]byte) error {
	do := s.db.Update
	if s.many {
		do = s.db.Batch
	}
	return do(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(stream))
		if err != nil {
			return err
		}
		if b.Sequence() != uint64(version) {
			return errVersion
		}
		for _, e := range events {
			n, err := b.NextSequence()
			if err != nil {
				return err
			}
			if err := b.Put(binary.BigEndian.AppendUint64(nil, n), e); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *boltStreams) load(stream string, each func([]byte)) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(stream))
		if b == nil {
			return nil
		}
		return b.ForEach(func(_, v []byte) error { each(v); return nil })
	})
}

func (s *boltStreams) close() error { return s.db.Close() }

type natsStreams struct {
	noWriter
	srv   *server.Server
	nc    *nats.Conn
	js    nats.JetStreamContext
	last  sync.Map // of a subject, the sequence of its last message; users get it by loading
	batch atomic.Int64
}

func openNatsStreams(dir string, o options) (store, error) {
	base, err := natsEngine.open(dir, o)
	if err != nil {
		return nil, err
	}
	n := base.(*natsStore)
	s := &natsStreams{srv: n.srv, nc: n.nc, js: n.js}
	// The client that the other workloads use has no field for atomic batches.
	reply, err := n.nc.Request("$JS.API.STREAM.CREATE.events", []byte(
		`{"name":"events","subjects":["events.>"],"storage":"file","retention":"limits","num_replicas":1,"allow_atomic":true}`), 10*time.Second)
	if err == nil && bytes.Contains(reply.Data, []byte(`"error"`)) {
		err = fmt.Errorf("nats: %s", reply.Data)
	}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return s, nil
}

func (s *natsStreams) appendAt(stream string, _ int, events [][]byte) error {
	subject := "events." + stream
	last := uint64(0)
	if v, ok := s.last.Load(subject); ok {
		last = v.(uint64)
	}
	if len(events) == 1 {
		ack, err := s.js.Publish(subject, events[0], nats.ExpectLastSequencePerSubject(last))
		if err == nil {
			s.last.Store(subject, ack.Sequence)
		}
		return err
	}
	id := fmt.Sprint("b", s.batch.Add(1))
	for i, e := range events {
		m := nats.NewMsg(subject)
		m.Data = e
		m.Header.Set("Nats-Batch-Id", id)
		m.Header.Set("Nats-Batch-Sequence", fmt.Sprint(i+1))
		if i == 0 {
			m.Header.Set("Nats-Expected-Last-Subject-Sequence", fmt.Sprint(last))
		}
		if i < len(events)-1 {
			if err := s.nc.PublishMsg(m); err != nil {
				return err
			}
			continue
		}
		m.Header.Set("Nats-Batch-Commit", "1")
		ack, err := s.js.PublishMsg(m)
		if err != nil {
			return err
		}
		s.last.Store(subject, ack.Sequence)
	}
	return nil
}

func (s *natsStreams) load(stream string, each func([]byte)) error {
	sub, err := s.js.SubscribeSync("events."+stream, nats.OrderedConsumer(), nats.DeliverAll(), nats.BindStream("events"))
	if err != nil {
		return err
	}
	for {
		m, err := sub.NextMsg(30 * time.Second)
		if err != nil {
			return err
		}
		each(m.Data)
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.NumPending == 0 {
			return sub.Unsubscribe()
		}
	}
}

func (s *natsStreams) close() error {
	return (&natsStore{srv: s.srv, nc: s.nc, js: s.js}).close()
}
