package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
)

// queueStore is a work queue.
type queueStore interface {
	store
	// send sends messages together, to be received after delay.
	send(bodies [][]byte, delay time.Duration) error
	// work receives and acknowledges n messages, so many at a time at most. It returns when their
	// acknowledgements are as durable as was asked.
	work(n, batch int, each func(body []byte)) error
}

var queueOnly = []string{"W15", "W16", "W17", "W18"}

// queueEngines are those of W15 to W18.
func queueEngines() []engine {
	return []engine{
		{name: "strata-queue", note: "package queue; synced: what is sent, and acknowledgements; leases are written, as JetStream's are", only: queueOnly, open: openStrataQueue},
		{name: "nats-queue", note: "JetStream embedded, a work-queue stream and a pull consumer; the last acknowledgement of a batch is waited for; no delays", only: queueOnly, open: openNatsQueue},
		{name: "river", note: "River on SQLite without cgo, WAL, one connection; synced: synchronous=FULL; a client that fetches at most every ms", only: queueOnly, open: openRiver},
	}
}

type strataQueue struct {
	noWriter
	l      *log.Log
	q      *queue.Queue
	synced bool
}

func openStrataQueue(dir string, o options) (store, error) {
	lo := log.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if !o.sync {
		lo.Durability, lo.SyncInterval = log.Written, -1
	}
	l, err := log.Open(dir, lo)
	if err != nil {
		return nil, err
	}
	q, err := queue.Declare(background, l, "work", queue.Options{})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &strataQueue{l: l, q: q, synced: o.sync}, nil
}

func (s *strataQueue) send(bodies [][]byte, delay time.Duration) error {
	ms := make([]queue.Message, len(bodies))
	for i, b := range bodies {
		ms[i] = queue.Message{Value: b, Delay: delay}
	}
	_, err := s.q.Send(background, ms...)
	return err
}

func (s *strataQueue) work(n, batch int, each func([]byte)) error {
	for n > 0 {
		// Without syncing nobody else syncs what was sent, either.
		ms, err := s.q.Receive(background, queue.ReceiveOptions{Max: min(batch, n), Wait: -1, Unsynced: !s.synced})
		if err != nil {
			return err
		}
		for _, m := range ms {
			each(m.Value)
		}
		if err := s.ack(ms); err != nil {
			return err
		}
		n -= len(ms)
	}
	return nil
}

func (s *strataQueue) ack(ms []*queue.Delivery) error {
	if !s.synced {
		return s.q.Ack(background, ms...)
	}
	c := s.l.NewCommit() // as durable as the log's commits are
	c.Require(queue.AllDone(ms...)...)
	_, err := c.Commit(background)
	return err
}

func (s *strataQueue) close() error { return s.l.Close() }

type natsQueue struct {
	noWriter
	srv *server.Server
	nc  *nats.Conn
	js  nats.JetStreamContext
	sub *nats.Subscription
}

func openNatsQueue(dir string, o options) (store, error) {
	srv, err := server.NewServer(&server.Options{
		JetStream: true, StoreDir: dir, DontListen: true, NoLog: true, NoSigs: true,
		SyncAlways: o.sync, SyncInterval: 2 * time.Minute, JetStreamMaxStore: 64 << 30, JetStreamMaxMemory: 1 << 30,
	})
	if err != nil {
		return nil, err
	}
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		return nil, errors.New("nats: server not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return nil, err
	}
	s := &natsQueue{srv: srv, nc: nc}
	if s.js, err = nc.JetStream(nats.PublishAsyncMaxPending(4096)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	config := &nats.StreamConfig{Name: "work", Subjects: []string{"work"}, Storage: nats.FileStorage, Retention: nats.WorkQueuePolicy}
	if _, err := s.js.AddStream(config); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.sub, err = s.js.PullSubscribe("work", "workers", nats.AckExplicit(), nats.MaxAckPending(10_000))
	if err != nil {
		err = errors.Join(err, s.close())
	}
	return s, err
}

func (s *natsQueue) send(bodies [][]byte, delay time.Duration) error {
	if delay > 0 {
		return errors.ErrUnsupported
	}
	acks := make([]nats.PubAckFuture, len(bodies))
	for i, b := range bodies {
		var err error
		if acks[i], err = s.js.PublishAsync("work", b); err != nil {
			return err
		}
	}
	for _, a := range acks {
		if err := wait(a); err != nil {
			return err
		}
	}
	return nil
}

func (s *natsQueue) work(n, batch int, each func([]byte)) error {
	for n > 0 {
		ms, err := s.sub.Fetch(min(batch, n), nats.MaxWait(30*time.Second))
		if err != nil {
			return err
		}
		for i, m := range ms {
			each(m.Data)
			ack := m.Ack // of which nobody hears
			if i == len(ms)-1 {
				ack = m.AckSync
			}
			if err := ack(); err != nil {
				return err
			}
		}
		n -= len(ms)
	}
	return nil
}

func (s *natsQueue) close() error {
	s.nc.Close()
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	return nil
}

type riverArgs struct {
	Body []byte `json:"body"`
}

func (riverArgs) Kind() string { return "work" }

type riverStore struct {
	noWriter
	db     *sql.DB
	insert *river.Client[*sql.Tx]
}

func openRiver(dir string, o options) (store, error) {
	level := "OFF"
	if o.sync {
		level = "FULL"
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "river.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous("+level+")&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // as its driver asks
	s := &riverStore{db: db}
	m, err := rivermigrate.New(riversqlite.New(db), &rivermigrate.Config{Logger: silent()})
	if err == nil {
		_, err = m.Migrate(background, rivermigrate.DirectionUp, nil)
	}
	if err == nil {
		s.insert, err = river.NewClient(riversqlite.New(db), &river.Config{Logger: silent()})
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *riverStore) send(bodies [][]byte, delay time.Duration) error {
	var o *river.InsertOpts
	if delay > 0 {
		o = &river.InsertOpts{ScheduledAt: time.Now().Add(delay)}
	}
	if len(bodies) == 1 {
		_, err := s.insert.Insert(background, riverArgs{bodies[0]}, o)
		return err
	}
	ps := make([]river.InsertManyParams, len(bodies))
	for i, b := range bodies {
		ps[i] = river.InsertManyParams{Args: riverArgs{b}, InsertOpts: o}
	}
	_, err := s.insert.InsertMany(background, ps)
	return err
}

func (s *riverStore) work(n, batch int, each func([]byte)) error {
	workers := river.NewWorkers()
	var given atomic.Int64
	handle := river.WorkFunc(func(_ context.Context, job *river.Job[riverArgs]) error {
		given.Add(1)
		each(job.Args.Body)
		return nil
	})
	if err := river.AddWorkerSafely(workers, handle); err != nil {
		return err
	}
	c, err := river.NewClient(riversqlite.New(s.db), &river.Config{
		Logger: silent(), Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: batch}},
		FetchCooldown: time.Millisecond, FetchPollInterval: time.Millisecond,
	})
	if err != nil {
		return err
	}
	completed, cancel := c.SubscribeConfig(&river.SubscribeConfig{ChanSize: n + 1, Kinds: []river.EventKind{river.EventKindJobCompleted}})
	defer cancel()
	if err := c.Start(background); err != nil {
		return err
	}
	for range n {
		select {
		case <-completed:
		case <-time.After(60 * time.Second):
			return errors.Join(fmt.Errorf("river: %d of %d jobs were given out in time", given.Load(), n), c.Stop(background))
		}
	}
	return c.Stop(background)
}

func (s *riverStore) close() error { return s.db.Close() }

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
