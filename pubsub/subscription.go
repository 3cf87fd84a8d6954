package pubsub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
)

// Policy says what becomes of a message for a subscriber whose buffer is full.
type Policy uint8

const (
	// Wait makes the publisher wait. It is the default.
	Wait Policy = iota
	// DropOldest makes room by dropping the oldest message of the buffer, and counts it.
	DropOldest
	// Disconnect ends the subscription with a *SlowError.
	Disconnect
	policies
)

func (p Policy) String() string {
	switch p {
	case Wait:
		return "wait"
	case DropOldest:
		return "drop-oldest"
	case Disconnect:
		return "disconnect"
	}
	return "invalid"
}

// SubscribeOptions configures Subscribe. The zero value is ready for use.
type SubscribeOptions struct {
	// Policy is for when the buffer is full. Zero is Wait.
	Policy Policy
	// Buffer is how many messages wait for the subscriber at most, up to a million. Zero is 256.
	Buffer int
}

const (
	defaultBuffer = 256
	maxBuffer     = 1_000_000
)

func (o SubscribeOptions) withDefaults() (SubscribeOptions, error) {
	if o.Policy >= policies {
		return o, &InvalidError{What: "policy", Reason: fmt.Sprintf("%d is none", o.Policy)}
	}
	if o.Buffer < 0 || o.Buffer > maxBuffer {
		return o, &InvalidError{What: "buffer", Reason: fmt.Sprintf("%d messages are not from 1 to %d", o.Buffer, maxBuffer)}
	}
	if o.Buffer == 0 {
		o.Buffer = defaultBuffer
	}
	return o, nil
}

// Subscription receives messages of a hub. Its methods may be called concurrently; each message is
// received once.
type Subscription struct {
	h       *Hub // immutable, like the four that follow
	pattern string
	o       SubscribeOptions
	c       chan Message  // closed by end
	done    chan struct{} // closed by end, before c, for publishers that wait
	once    sync.Once
	// sending is held for reading by who sends to c, and for writing by who closes it. So a receiver waits
	// at one channel alone, which is what it costs to be woken.
	sending sync.RWMutex
	ended   bool  // guarded by sending
	err     error // why it has ended; set before done and c are closed
	dropped atomic.Uint64
}

// Pattern returns what is subscribed to.
func (s *Subscription) Pattern() string { return s.pattern }

// Dropped returns how many messages were dropped, because the buffer was full.
func (s *Subscription) Dropped() uint64 { return s.dropped.Load() }

// Waiting returns how many messages are in the buffer.
func (s *Subscription) Waiting() int { return len(s.c) }

// Close ends the subscription. What is in the buffer can still be received; then Receive returns
// ErrClosed. A publisher that waits for it goes on.
func (s *Subscription) Close() error {
	s.end(ErrClosed)
	return nil
}

// end ends the subscription, and reports whether it was this call that did. The caller does not hold
// sending.
func (s *Subscription) end(why error) (ended bool) {
	s.once.Do(func() {
		s.err, ended = why, true
		close(s.done) // those who wait for room give sending back
		s.sending.Lock()
		s.ended = true
		close(s.c)
		s.sending.Unlock()
		s.h.remove(s)
	})
	return ended
}

// offered is what became of a message that was offered to a subscription.
type offered uint8

const (
	refused   offered = iota // it has ended, now or before
	delivered                // it is in the buffer
	mustWait                 // there is no room
)

// offer puts m into the buffer, if that needs no wait.
func (s *Subscription) offer(m *Message) offered {
	s.sending.RLock()
	became := s.offerSending(m)
	s.sending.RUnlock()
	if became != mustWait || s.o.Policy != Disconnect {
		return became
	}
	// Of several publishers that find it full one ends it.
	if s.end(&SlowError{Pattern: s.pattern, Buffer: s.o.Buffer}) {
		s.h.slow.Add(1)
	}
	return refused
}

// offerSending is offer with sending held.
func (s *Subscription) offerSending(m *Message) offered {
	if s.ended {
		return refused
	}
	select {
	case s.c <- *m:
		return delivered
	default:
	}
	if s.o.Policy != DropOldest {
		return mustWait
	}
	s.replaceOldest(m)
	return delivered
}

// replaceOldest makes room for m, as often as other publishers are quicker to take it. sending is held.
func (s *Subscription) replaceOldest(m *Message) {
	for {
		select {
		case <-s.c:
			s.dropped.Add(1)
			s.h.dropped.Add(1)
		default:
		}
		select {
		case s.c <- *m:
			return
		default:
		}
	}
}

// deliver waits until m is in the buffer, and reports whether it is.
func (s *Subscription) deliver(ctx context.Context, m *Message) (bool, error) {
	s.sending.RLock()
	defer s.sending.RUnlock()
	if s.ended {
		return false, nil
	}
	select {
	case s.c <- *m:
		return true, nil
	case <-s.done:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// Receive returns the next message, and waits for it until ctx ends. When the subscription has ended
// and the buffer is empty, the error says why: ErrClosed or a *SlowError.
func (s *Subscription) Receive(ctx context.Context) (Message, error) {
	var m Message
	var ok bool
	if ended := ctx.Done(); ended == nil {
		m, ok = <-s.c
	} else {
		select {
		case m, ok = <-s.c: // before the end of ctx
		default:
			select {
			case m, ok = <-s.c:
			case <-ended:
				return Message{}, ctx.Err()
			}
		}
	}
	if !ok {
		return Message{}, s.err
	}
	return m, nil
}

// Messages yields what Receive returns. An error is the last pair; a subscription that was closed ends
// the loop without one.
func (s *Subscription) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := s.Receive(ctx)
			if errors.Is(err, ErrClosed) || !yield(m, err) || err != nil {
				return
			}
		}
	}
}
