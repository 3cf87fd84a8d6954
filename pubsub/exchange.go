package pubsub

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stratalog/strata/log"
)

// ExchangeKind says how an exchange compares what is published with its bindings.
type ExchangeKind string

// The kinds of exchanges.
const (
	// Fanout goes to all bindings.
	Fanout ExchangeKind = "fanout"
	// Direct goes to the bindings whose key is the routing key.
	Direct ExchangeKind = "direct"
	// Topic goes to the bindings whose key, a pattern, matches the routing key.
	Topic ExchangeKind = "topic"
	// Headers goes to the bindings whose headers the record has.
	Headers ExchangeKind = "headers"
)

// ExchangeOptions configures an exchange. It never changes.
type ExchangeOptions struct {
	// Kind is one of the four. Empty is Fanout.
	Kind ExchangeKind `json:"kind"`
	// Alternate is the exchange for what no binding of this one wants. Empty is none. It need not be
	// there yet.
	Alternate string `json:"alternate,omitempty"`
}

// Kinds of destinations.
const (
	ToTopic    = "topic"
	ToQueue    = "queue"
	ToExchange = "exchange"
)

// Destination is where a binding leads.
type Destination struct {
	// Kind is ToTopic, ToExchange, or the kind of topics that belong to a layer, such as ToQueue, which
	// SetTarget was called for.
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// topicKind is the log's kind of the topic that d is; d is no exchange.
func (d Destination) topicKind() string {
	if d.Kind == ToTopic {
		return ""
	}
	return d.Kind
}

func (d Destination) String() string { return d.Kind + " " + d.Name }

// Binding leads from an exchange to a destination.
type Binding struct {
	Exchange string `json:"exchange"`
	// Key is the routing key of a direct exchange, the pattern of a topic exchange, and empty otherwise.
	Key string `json:"key,omitempty"`
	// Headers, of a headers exchange, are those that a record must have, all of them or, with Any, one.
	// No headers at all are had by every record, and by none with Any.
	Headers map[string]string `json:"headers,omitempty"`
	Any     bool              `json:"any,omitempty"`
	To      Destination       `json:"to"`
}

// encode returns b as JSON, the same bytes for the same binding.
func (b *Binding) encode() string {
	out, err := json.Marshal(b)
	if err != nil {
		panic("pubsub: a binding of strings does not encode: " + err.Error())
	}
	return string(out)
}

// check returns what is wrong with b as a binding of an exchange of this kind.
func (b *Binding) check(kind ExchangeKind) error {
	bad := func(reason string) error {
		return &InvalidError{What: fmt.Sprintf("binding of %s exchange %q to %v", kind, b.Exchange, b.To), Reason: reason}
	}
	switch {
	case kind != Direct && kind != Topic && b.Key != "":
		return bad("has a key, which is for direct and topic exchanges")
	case kind != Headers && (len(b.Headers) > 0 || b.Any):
		return bad("has headers, which are for headers exchanges")
	case b.To.Kind == "" || b.To.Name == "":
		return bad("has no destination")
	case b.To.Kind == ToExchange && b.To.Name == b.Exchange:
		return bad("leads back to its exchange")
	}
	for key, value := range b.Headers {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return bad("has a header that is not UTF-8")
		}
	}
	return errors.Join(checkName("key", b.Key), checkName("destination", b.To.Name), checkName("destination", b.To.Kind))
}

// matches reports whether a record with these headers has those of b.
func (b *Binding) matches(headers []log.Header) bool {
	for key, want := range b.Headers {
		has := false
		for _, h := range headers {
			has = has || h.Key == key && string(h.Value) == want
		}
		if has == b.Any {
			return b.Any
		}
	}
	return !b.Any
}

// check returns what is wrong with o.
func (o ExchangeOptions) check(name string) error {
	switch o.Kind {
	case Fanout, Direct, Topic, Headers:
	default:
		return &InvalidError{What: fmt.Sprintf("exchange %q", name), Reason: fmt.Sprintf("%q is no kind of exchange", o.Kind)}
	}
	if o.Alternate == name {
		return &InvalidError{What: fmt.Sprintf("exchange %q", name), Reason: "is its own alternate"}
	}
	return nil
}

func checkExchangeName(name string) error {
	if name == "" {
		return &InvalidError{What: "exchange", Reason: "has no name"}
	}
	if strings.IndexByte(name, 0) >= 0 {
		return &InvalidError{What: "exchange", Reason: "has a zero byte in its name"}
	}
	return checkName("exchange", name)
}

// exchange is one in memory.
type exchange struct {
	name     string
	options  ExchangeOptions
	bindings map[string]Binding // by their encoding
	// to are the destinations by key, for direct ones, by pattern for topic ones, and under "" for
	// fanout. A key holds a destination once: bindings differ in key or in destination.
	direct map[string][]Destination
	topics patterns[Destination]
	// matched remembers what a topic exchange found.
	matched map[string][]Destination
}

func newExchange(name string, o ExchangeOptions) *exchange {
	return &exchange{
		name: name, options: o, bindings: map[string]Binding{}, direct: map[string][]Destination{},
		matched: map[string][]Destination{},
	}
}

func (x *exchange) bind(encoded string, b Binding) {
	if _, ok := x.bindings[encoded]; ok {
		return
	}
	x.bindings[encoded] = b
	switch x.options.Kind {
	case Topic:
		x.topics.add(b.Key, b.To)
		clear(x.matched)
	case Fanout, Direct:
		x.direct[b.Key] = append(x.direct[b.Key], b.To)
	}
}

func (x *exchange) unbind(encoded string) {
	b, ok := x.bindings[encoded]
	if !ok {
		return
	}
	delete(x.bindings, encoded)
	switch x.options.Kind {
	case Topic:
		x.topics.remove(b.Key, b.To)
		clear(x.matched)
	case Fanout, Direct:
		left := make([]Destination, 0, len(x.direct[b.Key]))
		for _, d := range x.direct[b.Key] {
			if d != b.To {
				left = append(left, d)
			}
		}
		if x.direct[b.Key] = left; len(left) == 0 {
			delete(x.direct, b.Key)
		}
	}
}

// match returns where the exchange's own bindings lead. The caller must not change it. For topic
// exchanges it may remember what it found, so it is not for concurrent callers.
func (x *exchange) match(key string, headers []log.Header) []Destination {
	switch x.options.Kind {
	case Fanout:
		return x.direct[""]
	case Direct:
		return x.direct[key]
	case Topic:
		found, ok := x.matched[key]
		if !ok {
			found = x.topics.match(key)
			if len(x.matched) >= maxMatched {
				clear(x.matched)
			}
			x.matched[key] = found
		}
		return found
	}
	var found []Destination
	for _, b := range x.bindings {
		if b.matches(headers) {
			found = append(found, b.To)
		}
	}
	slices.SortFunc(found, func(a, b Destination) int { return strings.Compare(a.String(), b.String()) })
	return found
}
