package pubsub

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stratalog/strata/log"
)

// Message is what goes through a hub. All subscribers get the same bytes, which nobody may change.
type Message struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []log.Header
	// Mandatory makes Publish fail with a *NoSubscriberError when nobody subscribes to the topic.
	Mandatory bool

	request *request // when it is one
}

// Hub is topics in memory. A topic is there for as long as it has a subscriber. Messages of one
// publisher reach each subscriber in order; those of several interleave. A Hub has no goroutines; its
// methods may be called concurrently.
type Hub struct {
	mu      sync.RWMutex
	closed  bool                       // guarded by mu
	byWords patterns[*Subscription]    // guarded by mu
	subs    map[*Subscription]struct{} // guarded by mu
	// matched remembers who subscribes to a topic. The slices are never changed; the map is replaced
	// by a change of subs. Guarded by mu.
	matched map[string][]*Subscription

	requests requests

	published, delivered, unheard, dropped, slow, late atomic.Uint64
}

// maxMatched bounds how many topics a hub or an exchange remembers the way of.
const maxMatched = 4096

// NewHub returns a hub without subscribers.
func NewHub() *Hub {
	return &Hub{subs: map[*Subscription]struct{}{}, matched: map[string][]*Subscription{}}
}

// HubMetrics are counts since NewHub.
type HubMetrics struct {
	Subscriptions int    // that there are now
	Requests      int    // that wait for a reply now
	Published     uint64 // messages
	Delivered     uint64 // to buffers of subscribers: a message can come to many
	Unheard       uint64 // messages on topics without subscribers
	Dropped       uint64 // by DropOldest
	Slow          uint64 // subscriptions that were disconnected
	Late          uint64 // replies that nobody waited for any more
}

// Metrics returns the counts.
func (h *Hub) Metrics() HubMetrics {
	h.mu.RLock()
	n := len(h.subs)
	h.mu.RUnlock()
	return HubMetrics{
		Subscriptions: n, Requests: h.requests.len(), Published: h.published.Load(), Delivered: h.delivered.Load(),
		Unheard: h.unheard.Load(), Dropped: h.dropped.Load(), Slow: h.slow.Load(), Late: h.late.Load(),
	}
}

// Subscribe begins a subscription to a topic, or to all that match a pattern. What is published from
// now on is for it.
func (h *Hub) Subscribe(pattern string, o SubscribeOptions) (*Subscription, error) {
	if err := checkName("pattern", pattern); err != nil {
		return nil, err
	}
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Subscription{h: h, pattern: pattern, o: o, c: make(chan Message, o.Buffer), done: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	h.subs[s] = struct{}{}
	h.byWords.add(pattern, s)
	h.matched = map[string][]*Subscription{}
	return s, nil
}

// remove forgets s.
func (h *Hub) remove(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
	h.byWords.remove(s.pattern, s)
	h.matched = map[string][]*Subscription{}
}

// Patterns returns what is subscribed to, in order, each once.
func (h *Hub) Patterns() []string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	set := map[string]struct{}{}
	for s := range h.subs {
		set[s.pattern] = struct{}{}
	}
	return slices.Sorted(maps.Keys(set))
}

// Publish gives m to all who subscribe to its topic, and returns how many those were. Those that have
// room, or do not wait, get it at once; then it waits for the others, until ctx ends: the error is then
// that of ctx and the number that of those who have it. Without subscribers the message is counted as
// unheard, and, when it is mandatory, the error is a *NoSubscriberError.
func (h *Hub) Publish(ctx context.Context, m Message) (int, error) {
	subs, err := h.subscribers(m.Topic)
	if err != nil {
		return 0, err
	}
	h.published.Add(1)
	n := 0
	var full []*Subscription
	for _, s := range subs {
		switch s.offer(&m) {
		case delivered:
			n++
		case mustWait:
			full = append(full, s)
		}
	}
	for _, s := range full {
		var got bool
		if got, err = s.deliver(ctx, &m); got {
			n++
		}
		if err != nil {
			break
		}
	}
	h.delivered.Add(uint64(n))
	switch {
	case n > 0 || err != nil:
		return n, err
	case len(subs) > 0 && h.isClosed():
		return 0, ErrClosed
	}
	h.unheard.Add(1)
	if m.Mandatory {
		return 0, &NoSubscriberError{Topic: m.Topic}
	}
	return 0, nil
}

func (h *Hub) isClosed() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.closed
}

// subscribers returns who subscribes to topic.
func (h *Hub) subscribers(topic string) ([]*Subscription, error) {
	h.mu.RLock()
	subs, ok := h.matched[topic]
	closed := h.closed
	h.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case ok:
		return subs, nil
	}
	if err := checkName("topic", topic); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	subs = h.byWords.match(topic)
	if len(h.matched) >= maxMatched {
		h.matched = map[string][]*Subscription{}
	}
	h.matched[topic] = subs
	return subs, nil
}

// Close ends all subscriptions and requests with ErrClosed. What is in the buffers of subscribers can
// still be received.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	subs := slices.Collect(maps.Keys(h.subs))
	h.mu.Unlock()
	for _, s := range subs {
		s.end(ErrClosed)
	}
	h.requests.close()
	return nil
}
