package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/stratalog/strata/pubsub"
)

// errMissing is matched when a peer is a program that is not installed.
var errMissing = errors.New("not installed")

// liveStore hands messages to one subscriber, in memory.
type liveStore interface {
	store
	publish(message []byte) error
	// receive waits for the next message; an error is the end.
	receive() ([]byte, error)
}

var liveOnly = []string{"W14"}

func isLive(e engine) bool { return slices.Equal(e.only, liveOnly) }

// liveEngines are those of W14.
func liveEngines() []engine {
	return []engine{
		{name: "strata-hub", note: "package pubsub: a subscription to a pattern", only: liveOnly, open: openHub},
		{name: "channel", note: "a buffered channel", yardstick: true, only: liveOnly, open: openChannel},
		{name: "nats-core", note: "embedded, a synchronous subscription over an in-process connection, flushed at each publish", only: liveOnly, open: openNatsCore},
		{name: "redis", note: "Debian's redis-server beside it, without persistence, by a plain client over Unix sockets; publish waits for the reply", only: liveOnly, open: openRedis},
	}
}

func liveWorkloads() []workload {
	return []workload{{
		name: "W14", title: "in memory, from publish to one sleeping subscriber, 5,000 messages/s of 128 B", value: "p50", unit: "µs (p50)", lower: true,
		limit: "channel", cases: []string{"128B"}, takes: isLive, trial: liveTrial,
	}}
}

// liveTrial is a trial of W14. A message is published 200 µs after the one before, or when that has
// arrived, so that the subscriber sleeps and nothing queues.
func liveTrial(b *run, e engine, _ string) (v values, err error) {
	dir, clean, err := b.newDir()
	if err != nil {
		return nil, err
	}
	defer clean()
	opened, err := e.open(dir, options{})
	if err != nil {
		return nil, err
	}
	s := opened.(liveStore)
	n := max(int(5_000*b.followSeconds), 100)
	arrived, ended := make(chan time.Duration), make(chan error, 1)
	started := time.Now()
	go func() {
		for {
			m, err := s.receive()
			if err != nil {
				ended <- err
				return
			}
			arrived <- time.Since(started) - time.Duration(binary.LittleEndian.Uint64(m))
		}
	}()
	var h histogram
	message := slices.Clone(b.payloads[128][0])
	begin := time.Now()
	for i := range n {
		for d := time.Until(begin.Add(time.Duration(i) * 200 * time.Microsecond)); d > 0; d = time.Until(begin.Add(time.Duration(i) * 200 * time.Microsecond)) {
			nanosleep(d)
		}
		message = slices.Clone(message) // in memory the subscriber gets these very bytes
		binary.LittleEndian.PutUint64(message, uint64(time.Since(started)))
		if err := s.publish(message); err != nil {
			return nil, errors.Join(err, s.close())
		}
		select {
		case took := <-arrived:
			h.add(took)
		case err := <-ended:
			return nil, errors.Join(err, s.close())
		}
	}
	took := time.Since(begin)
	err = s.close()
	<-ended
	return values{"rate": float64(n) / took.Seconds(), "p50": h.quantile(0.5), "p99": h.quantile(0.99), "p999": h.quantile(0.999)}, err
}

type hubStore struct {
	noWriter
	h *pubsub.Hub
	s *pubsub.Subscription
}

func openHub(string, options) (store, error) {
	h := pubsub.NewHub()
	s, err := h.Subscribe("stock.*.nyse", pubsub.SubscribeOptions{})
	return &hubStore{h: h, s: s}, err
}

func (s *hubStore) publish(m []byte) error {
	n, err := s.h.Publish(background, pubsub.Message{Topic: "stock.usd.nyse", Value: m})
	if err == nil && n != 1 {
		err = fmt.Errorf("%d subscribers", n)
	}
	return err
}

func (s *hubStore) receive() ([]byte, error) {
	m, err := s.s.Receive(background)
	return m.Value, err
}

func (s *hubStore) close() error { return s.h.Close() }

type channelStore struct {
	noWriter
	c chan []byte
}

func openChannel(string, options) (store, error) {
	return &channelStore{c: make(chan []byte, 256)}, nil
}

func (s *channelStore) publish(m []byte) error {
	s.c <- m
	return nil
}

func (s *channelStore) receive() ([]byte, error) {
	if m, ok := <-s.c; ok {
		return m, nil
	}
	return nil, io.EOF
}

func (s *channelStore) close() error {
	close(s.c)
	return nil
}

type natsCore struct {
	noWriter
	srv *server.Server
	nc  *nats.Conn
	sub *nats.Subscription
}

func openNatsCore(string, options) (store, error) {
	srv, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true})
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
	sub, err := nc.SubscribeSync("stock.*.nyse")
	if err != nil {
		return nil, err
	}
	return &natsCore{srv: srv, nc: nc, sub: sub}, nc.Flush()
}

func (s *natsCore) publish(m []byte) error {
	if err := s.nc.Publish("stock.usd.nyse", m); err != nil {
		return err
	}
	return s.nc.Flush()
}

func (s *natsCore) receive() ([]byte, error) {
	m, err := s.sub.NextMsgWithContext(background)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

func (s *natsCore) close() error {
	s.nc.Close()
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	return nil
}

// redisStore speaks to a server of its own, by two connections.
type redisStore struct {
	noWriter
	server             *exec.Cmd
	publisher          net.Conn
	subscriber         net.Conn
	replies, delivered *bufio.Reader
}

func openRedis(dir string, _ options) (store, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redis-server is %w (apt-get install redis-server)", errMissing)
	}
	socket := filepath.Join(dir, "redis")
	if len(socket) > 100 { // longer ones have no address
		short, err := os.MkdirTemp("", "r")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(short) }() // who is connected stays so
		socket = filepath.Join(short, "s")
	}
	cmd := exec.Command(program, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &redisStore{server: cmd}
	for deadline := time.Now().Add(30 * time.Second); s.publisher == nil; nanosleep(time.Millisecond) {
		if s.publisher, err = net.Dial("unix", socket); err != nil && time.Now().After(deadline) {
			return nil, errors.Join(err, s.close())
		}
	}
	if s.subscriber, err = net.Dial("unix", socket); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.replies, s.delivered = bufio.NewReader(s.publisher), bufio.NewReader(s.subscriber)
	if _, err := s.subscriber.Write(redisCommand("PSUBSCRIBE", []byte("stock.*.nyse"))); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if _, err := redisReply(s.delivered); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func redisCommand(name string, args ...[]byte) []byte {
	b := fmt.Appendf(nil, "*%d\r\n$%d\r\n%s\r\n", 1+len(args), len(name), name)
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n", len(a))
		b = append(append(b, a...), "\r\n"...)
	}
	return b
}

// redisReply reads a reply, and returns its last string.
func redisReply(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	n := 0
	switch _, _ = fmt.Sscan(line[1:], &n); line[0] {
	case '-':
		return nil, errors.New("redis: " + line[1:])
	case '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(r, b)
		return b[:n], err
	case '*':
		var last []byte
		for range n {
			b, err := redisReply(r)
			if err != nil {
				return nil, err
			}
			last = b
		}
		return last, nil
	}
	return []byte(line[1:]), nil
}

func (s *redisStore) publish(m []byte) error {
	if _, err := s.publisher.Write(redisCommand("PUBLISH", []byte("stock.usd.nyse"), m)); err != nil {
		return err
	}
	n, err := redisReply(s.replies)
	if err == nil && string(n) != "1" {
		err = fmt.Errorf("redis: %s subscribers", n)
	}
	return err
}

func (s *redisStore) receive() ([]byte, error) { return redisReply(s.delivered) }

func (s *redisStore) close() error {
	for _, c := range []net.Conn{s.publisher, s.subscriber} {
		if c != nil {
			_ = c.Close()
		}
	}
	err := s.server.Process.Kill()
	_ = s.server.Wait() // it was killed
	return err
}
