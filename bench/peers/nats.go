package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

var natsEngine = engine{
	name: "nats", note: "JetStream embedded: a server beside the load generator, by an in-process connection", native: true,
	open: func(dir string, o options) (store, error) {
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
		js, err := nc.JetStream(nats.PublishAsyncMaxPending(4096))
		if err != nil {
			return nil, err
		}
		_, err = js.AddStream(&nats.StreamConfig{Name: "log", Subjects: []string{"log"}, Storage: nats.FileStorage})
		return &natsStore{srv: srv, nc: nc, js: js}, err
	},
}

type natsStore struct {
	srv *server.Server
	nc  *nats.Conn
	js  nats.JetStreamContext

	consumers int
}

func (s *natsStore) writer() writer { return s }

func (s *natsStore) append(records [][]byte) error {
	if len(records) == 1 {
		_, err := s.js.Publish("log", records[0])
		return err
	}
	acks := make([]nats.PubAckFuture, len(records))
	for i, r := range records {
		var err error
		if acks[i], err = s.js.PublishAsync("log", r); err != nil {
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

func wait(a nats.PubAckFuture) error {
	select {
	case <-a.Ok():
		return nil
	case err := <-a.Err():
		return err
	}
}

func (s *natsStore) start(records [][]byte) (func() error, error) {
	a, err := s.js.PublishAsync("log", records[0])
	return func() error { return wait(a) }, err
}

func (s *natsStore) replay(each func([]byte)) error {
	info, err := s.js.StreamInfo("log")
	if err != nil {
		return err
	}
	n := uint64(0)
	return s.consume(nats.DeliverAll(), func() {}, func(b []byte) bool {
		each(b)
		n++
		return n < info.State.Msgs
	})
}

func (s *natsStore) consume(from nats.SubOpt, ready func(), each func([]byte) bool) error {
	sub, err := s.js.SubscribeSync("log", from, nats.OrderedConsumer())
	if err != nil {
		return err
	}
	ready()
	for {
		m, err := sub.NextMsg(30 * time.Second)
		if err != nil {
			return err
		}
		if !each(m.Data) {
			return sub.Unsubscribe()
		}
	}
}

// consumeGroup pulls batches of 1,000, and acknowledges each by its last message, which stands for those
// before it.
func (s *natsStore) consumeGroup(records int, each func([]byte)) error {
	s.consumers++
	name := fmt.Sprint("g", s.consumers)
	sub, err := s.js.PullSubscribe("log", name, nats.AckAll(), nats.DeliverAll(), nats.MaxAckPending(10_000))
	if err != nil {
		return err
	}
	for n := 0; n < records; {
		messages, err := sub.Fetch(min(1000, records-n), nats.MaxWait(30*time.Second))
		if err != nil {
			return err
		}
		for _, m := range messages {
			each(m.Data)
		}
		n += len(messages)
		last := messages[len(messages)-1]
		if n < records {
			err = last.Ack()
		} else {
			err = last.AckSync()
		}
		if err != nil {
			return err
		}
	}
	return sub.Unsubscribe()
}

func (s *natsStore) follow(ready func(), each func([]byte) bool) error {
	return s.consume(nats.DeliverNew(), ready, each)
}

func (s *natsStore) get(i int) ([]byte, error) {
	m, err := s.js.GetMsg("log", uint64(i)+1)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

func (s *natsStore) close() error {
	s.nc.Close()
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	return nil
}
