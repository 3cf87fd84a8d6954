package pubsub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stratalog/strata/log"
)

// Exchanges are the exchanges of a log. Its methods may be called concurrently.
type Exchanges struct {
	l *log.Log        // immutable
	v *log.ViewHandle // immutable

	// changing is held over a change, from the look at what is there to the end of its commit. Lock
	// order: changing, then mu.
	changing sync.Mutex
	mu       sync.Mutex           // not held across I/O
	byName   map[string]*exchange // guarded by mu
	targets  map[string]Sender    // by kind; guarded by mu

	routed, unroutable atomic.Uint64
}

// Sender adds a record for the destination called name to a commit. It must not change the record. An
// error that matches log.ErrNoTopic says that the destination has gone.
type Sender func(ctx context.Context, c *log.Commit, name string, r log.Record) error

// Open returns the exchanges of l, always the same for a log.
func Open(ctx context.Context, l *log.Log) (*Exchanges, error) {
	c, err := l.Attach(viewName, func() (io.Closer, error) {
		v, err := l.Register(ctx, view{})
		if err != nil {
			return nil, err
		}
		x := &Exchanges{l: l, v: v, targets: map[string]Sender{}}
		return attached{x}, x.load(ctx)
	})
	if err != nil {
		return nil, err
	}
	return c.(attached).x, nil
}

// attached is what the log closes. There is nothing to end.
type attached struct{ x *Exchanges }

func (attached) Close() error { return nil }

// load reads everything from the view.
func (x *Exchanges) load(ctx context.Context) error {
	byName := map[string]*exchange{}
	for kv, err := range x.v.Scan(ctx, []byte{'x'}, []byte{'x' + 1}) {
		if err != nil {
			return err
		}
		var o ExchangeOptions
		if err := json.Unmarshal(kv.Value, &o); err != nil {
			return err
		}
		name := string(kv.Key[1:])
		byName[name] = newExchange(name, o)
	}
	for kv, err := range x.v.Scan(ctx, []byte{'b'}, []byte{'b' + 1}) {
		if err != nil {
			return err
		}
		_, encoded, _ := bytes.Cut(kv.Key, []byte{0})
		var b Binding
		if err := json.Unmarshal(encoded, &b); err != nil {
			return err
		}
		if e := byName[b.Exchange]; e != nil {
			e.bind(string(encoded), b)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byName = byName
	return nil
}

// change commits conditions, and then has done bring what is in memory up to date. changing is held. The
// end of ctx does not cut the wait for the disk short: what is in memory would then not be what is in the
// log. An error means that nothing has changed, or that the log has failed and takes no more records.
func (x *Exchanges) change(ctx context.Context, conditions []log.Condition, done func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := x.l.NewCommit()
	c.Durability(log.Synced)
	c.Require(conditions...)
	if _, err := c.Commit(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	done()
	return nil
}

// Declare makes an exchange. It is no error when there is one of that name with the same options, and
// a *log.MismatchError when they are others. It is durable when Declare returns.
func (x *Exchanges) Declare(ctx context.Context, name string, o ExchangeOptions) error {
	if o.Kind == "" {
		o.Kind = Fanout
	}
	if err := errors.Join(checkExchangeName(name), o.check(name)); err != nil {
		return err
	}
	options, err := json.Marshal(o)
	if err != nil {
		return err
	}
	x.changing.Lock()
	defer x.changing.Unlock()
	return x.change(ctx, []log.Condition{{View: viewName, Kind: conditionDeclare, Key: []byte(name), Want: options}}, func() {
		if x.byName[name] == nil {
			x.byName[name] = newExchange(name, o)
		}
	})
}

// Delete removes an exchange with its bindings and those that lead to it, in one commit.
func (x *Exchanges) Delete(ctx context.Context, name string) error {
	x.changing.Lock()
	defer x.changing.Unlock()
	conditions := []log.Condition{}
	var gone []Binding
	for _, b := range x.Bindings("") {
		if b.Exchange == name || b.To == (Destination{ToExchange, name}) {
			gone = append(gone, b)
			conditions = append(conditions, bindingCondition(conditionUnbind, b))
		}
	}
	conditions = append(conditions, log.Condition{View: viewName, Kind: conditionDelete, Key: []byte(name)})
	return x.change(ctx, conditions, func() {
		for _, b := range gone {
			x.byName[b.Exchange].unbind(b.encode())
		}
		delete(x.byName, name)
	})
}

func bindingCondition(kind uint8, b Binding) log.Condition {
	return log.Condition{View: viewName, Kind: kind, Key: bindingName([]byte(b.Exchange), []byte(b.encode()))}
}

// Bind adds a binding, once: one that is there already is no error. What it leads to must be there. It is
// durable when Bind returns, and holds for what is published then. A binding is to a name: it leads
// nowhere while there is no such topic or queue, and to the next one that is called so.
func (x *Exchanges) Bind(ctx context.Context, b Binding) error {
	b.Headers = maps.Clone(b.Headers)
	x.changing.Lock()
	defer x.changing.Unlock()
	if err := x.checkBinding(&b); err != nil {
		return err
	}
	return x.change(ctx, []log.Condition{bindingCondition(conditionBind, b)}, func() {
		x.byName[b.Exchange].bind(b.encode(), b)
	})
}

func (x *Exchanges) checkBinding(b *Binding) error {
	x.mu.Lock()
	from, to := x.byName[b.Exchange], x.byName[b.To.Name]
	x.mu.Unlock()
	if from == nil {
		return &ExchangeError{Exchange: b.Exchange}
	}
	if err := b.check(from.options.Kind); err != nil {
		return err
	}
	switch {
	case b.To.Kind == ToExchange && to == nil:
		return &ExchangeError{Exchange: b.To.Name}
	case b.To.Kind != ToExchange:
		lookUp := x.l.LookUpTopic
		if b.To.Kind == ToTopic {
			lookUp = x.l.Topic // which creates it, on a log that does
		}
		t, err := lookUp(b.To.Name)
		if err != nil {
			return err
		}
		if t.Kind() != b.To.topicKind() {
			return &log.KindError{Topic: t.Name(), Kind: t.Kind()}
		}
	}
	return nil
}

// Unbind removes a binding, ErrNotBound when there is no such one.
func (x *Exchanges) Unbind(ctx context.Context, b Binding) error {
	x.changing.Lock()
	defer x.changing.Unlock()
	return x.change(ctx, []log.Condition{bindingCondition(conditionUnbind, b)}, func() {
		x.byName[b.Exchange].unbind(b.encode())
	})
}

// ExchangeInfo describes an exchange.
type ExchangeInfo struct {
	Name string `json:"name"`
	ExchangeOptions
	Bindings int `json:"bindings"` // how many begin here
}

// List returns the exchanges, by name.
func (x *Exchanges) List() []ExchangeInfo {
	x.mu.Lock()
	defer x.mu.Unlock()
	var infos []ExchangeInfo
	for _, name := range slices.Sorted(maps.Keys(x.byName)) {
		e := x.byName[name]
		infos = append(infos, ExchangeInfo{Name: name, ExchangeOptions: e.options, Bindings: len(e.bindings)})
	}
	return infos
}

// Bindings returns the bindings of an exchange, or of all when the name is empty, in a fixed order.
func (x *Exchanges) Bindings(name string) []Binding {
	x.mu.Lock()
	defer x.mu.Unlock()
	var encoded []string
	all := map[string]Binding{}
	for _, e := range x.byName {
		if name == "" || e.name == name {
			for k, b := range e.bindings {
				encoded, all[k] = append(encoded, k), b
			}
		}
	}
	slices.SortFunc(encoded, strings.Compare)
	var bindings []Binding
	for _, k := range encoded {
		b := all[k]
		b.Headers = maps.Clone(b.Headers)
		bindings = append(bindings, b)
	}
	return bindings
}

// SetTarget makes send responsible for destinations of a kind, until it is called again:
//
//	exchanges.SetTarget(pubsub.ToQueue, queue.Sender(l))
//
// Topics and exchanges are this package's own. Without it, publishing to such a destination is a
// *TargetError. Call it before the first record is published.
func (x *Exchanges) SetTarget(kind string, send Sender) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.targets[kind] = send
}

// ExchangeMetrics are counts since Open.
type ExchangeMetrics struct {
	Routed     uint64 // records that led somewhere
	Unroutable uint64 // records that led nowhere
}

// Metrics returns the counts.
func (x *Exchanges) Metrics() ExchangeMetrics {
	return ExchangeMetrics{Routed: x.routed.Load(), Unroutable: x.unroutable.Load()}
}
