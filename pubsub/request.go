package pubsub

import (
	"context"
	"errors"
	"sync"
)

// request is one that was made. Its fields are immutable.
type request struct {
	h     *Hub
	reply chan Message // has room for one
	// answered ends the wait for subscribers that are too slow to be given the request: somebody has
	// replied to it.
	answered context.CancelFunc
}

// requests are those that wait for a reply.
type requests struct {
	mu      sync.Mutex
	waiting map[*request]struct{} // guarded by mu
	closed  chan struct{}         // made by the first request; guarded by mu
	isOver  bool                  // guarded by mu
}

func (r *requests) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

// begin notes q, and returns what is closed with the hub.
func (r *requests) begin(q *request) (closed <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isOver {
		return nil, ErrClosed
	}
	if r.waiting == nil {
		r.waiting, r.closed = map[*request]struct{}{}, make(chan struct{})
	}
	r.waiting[q] = struct{}{}
	return r.closed, nil
}

// take forgets q, and reports whether it was the first to: who replies, or who gives up.
func (r *requests) take(q *request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.waiting[q]
	delete(r.waiting, q)
	return ok
}

func (r *requests) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isOver && r.closed != nil {
		close(r.closed)
	}
	r.isOver = true
}

// Request publishes m and returns the first reply to it, which it waits for until ctx ends: give ctx a
// deadline. Any number of requests may be under way. Each reply finds the request that it belongs to;
// one that comes when nobody waits for it, or after another, is dropped and counted. Nobody who
// subscribes to the topic is a *NoSubscriberError, at once, the end of ctx a *NoReplyError, that of the
// hub ErrClosed.
func (h *Hub) Request(ctx context.Context, m Message) (Message, error) {
	published, answered := context.WithCancel(ctx)
	defer answered()
	q := &request{h: h, reply: make(chan Message, 1), answered: answered}
	closed, err := h.requests.begin(q)
	if err != nil {
		return Message{}, err
	}
	m.request, m.Mandatory = q, true
	if _, err = h.Publish(published, m); err == nil {
		select {
		case reply := <-q.reply:
			return reply, nil
		case <-closed:
			err = ErrClosed
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if !h.requests.take(q) {
		return <-q.reply, nil // who replies has it by now, or is about to send it
	}
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) {
		err = &NoReplyError{Topic: m.Topic, Cause: cause}
	}
	return Message{}, err
}

// IsRequest reports whether somebody waits for a reply to m, or did.
func (m *Message) IsRequest() bool { return m.request != nil }

// Respond replies to m, which was received from a hub. It does not wait. The error is ErrLate when
// nobody waits for the reply any more, ErrNoRequest when m is no request.
func (m *Message) Respond(reply Message) error {
	q := m.request
	if q == nil {
		return ErrNoRequest
	}
	if !q.h.requests.take(q) {
		q.h.late.Add(1)
		return ErrLate
	}
	reply.request = nil
	q.reply <- reply // has room: whoever took it is alone
	q.answered()
	return nil
}
