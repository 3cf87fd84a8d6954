package pubsub

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

var (
	// ErrClosed is returned by what was closed, or whose hub was.
	ErrClosed = errors.New("pubsub: closed")
	// ErrInvalid is matched by every *InvalidError.
	ErrInvalid = errors.New("pubsub: invalid")
	// ErrNoSubscriber is matched by every *NoSubscriberError.
	ErrNoSubscriber = errors.New("pubsub: nobody subscribes to the topic")
	// ErrSlow is matched by every *SlowError.
	ErrSlow = errors.New("pubsub: subscriber was too slow")
	// ErrNoReply is matched by every *NoReplyError.
	ErrNoReply = errors.New("pubsub: no reply in time")
	// ErrLate is returned by Respond when nobody waits for the reply any more.
	ErrLate = errors.New("pubsub: the requester does not wait any more")
	// ErrNoRequest is returned by Respond for a message that is no request.
	ErrNoRequest = errors.New("pubsub: message is no request")
	// ErrNoExchange is matched by every *ExchangeError.
	ErrNoExchange = errors.New("pubsub: no such exchange")
	// ErrUnroutable is matched by every *UnroutableError.
	ErrUnroutable = errors.New("pubsub: unroutable")
	// ErrNoTarget is matched by every *TargetError.
	ErrNoTarget = errors.New("pubsub: nobody sends to destinations of this kind")
	// ErrNotBound is returned by Unbind for a binding that there is not.
	ErrNotBound = errors.New("pubsub: no such binding")
)

// InvalidError says what is wrong with the name, pattern, exchange or binding What.
type InvalidError struct{ What, Reason string }

func (e *InvalidError) Error() string { return fmt.Sprintf("pubsub: %s: %s", e.What, e.Reason) }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// NoSubscriberError is returned for a mandatory message, or a request, on a topic without subscribers.
type NoSubscriberError struct{ Topic string }

func (e *NoSubscriberError) Error() string {
	return fmt.Sprintf("pubsub: nobody subscribes to %q", e.Topic)
}

// Is makes errors.Is(err, ErrNoSubscriber) true.
func (e *NoSubscriberError) Is(target error) bool { return target == ErrNoSubscriber }

// SlowError is what a subscription with the policy Disconnect ends with when its buffer was full.
type SlowError struct {
	Pattern string
	Buffer  int
}

func (e *SlowError) Error() string {
	return fmt.Sprintf("pubsub: subscriber to %q was disconnected: its buffer of %d messages was full", e.Pattern, e.Buffer)
}

// Is makes errors.Is(err, ErrSlow) true.
func (e *SlowError) Is(target error) bool { return target == ErrSlow }

// NoReplyError is returned for a request whose context ended before a reply came. Somebody may have
// received it. Cause is the context's error, which errors.Is finds.
type NoReplyError struct {
	Topic string
	Cause error
}

func (e *NoReplyError) Error() string {
	return fmt.Sprintf("pubsub: no reply to the request on %q: %v", e.Topic, e.Cause)
}

// Is makes errors.Is(err, ErrNoReply) true.
func (e *NoReplyError) Is(target error) bool { return target == ErrNoReply }

// Unwrap returns Cause.
func (e *NoReplyError) Unwrap() error { return e.Cause }

// ExchangeError says which exchange there is not.
type ExchangeError struct{ Exchange string }

func (e *ExchangeError) Error() string { return fmt.Sprintf("pubsub: no exchange %q", e.Exchange) }

// Is makes errors.Is(err, ErrNoExchange) true.
func (e *ExchangeError) Is(target error) bool { return target == ErrNoExchange }

// UnroutableError is returned for a mandatory record that no binding leads anywhere.
type UnroutableError struct{ Exchange, Key string }

func (e *UnroutableError) Error() string {
	return fmt.Sprintf("pubsub: exchange %q routes key %q nowhere", e.Exchange, e.Key)
}

// Is makes errors.Is(err, ErrUnroutable) true.
func (e *UnroutableError) Is(target error) bool { return target == ErrUnroutable }

// TargetError says for which kind of destination SetTarget was not called.
type TargetError struct{ Kind, Name string }

func (e *TargetError) Error() string {
	return fmt.Sprintf("pubsub: nobody sends to %s %q", e.Kind, e.Name)
}

// Is makes errors.Is(err, ErrNoTarget) true.
func (e *TargetError) Is(target error) bool { return target == ErrNoTarget }

// MaxNameBytes bounds topics of hubs, patterns, routing keys and names of exchanges, as AMQP does.
const MaxNameBytes = 255

func checkName(what, name string) error {
	switch {
	case len(name) > MaxNameBytes:
		return &InvalidError{What: what, Reason: fmt.Sprintf("%d bytes are above %d", len(name), MaxNameBytes)}
	case !utf8.ValidString(name):
		return &InvalidError{What: what, Reason: "is not UTF-8"}
	}
	return nil
}
