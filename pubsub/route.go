package pubsub

import (
	"context"
	"errors"

	"github.com/stratalog/strata/log"
)

// Publication is a record on its way to an exchange.
type Publication struct {
	// Exchange is its name. Empty is the one that everybody has: it leads to the queue whose name is the
	// key.
	Exchange string
	// Key is the routing key. It is not stored.
	Key string
	// Record is what each destination gets. Topic exchanges look at Key, headers exchanges at the
	// record's headers.
	Record log.Record
	// Mandatory makes it an *UnroutableError that no binding leads anywhere. Otherwise such records are
	// counted, and are gone.
	Mandatory bool
}

// Publish routes and appends records in one commit, and returns when it is as durable as the log's
// commits are: all destinations have all records, or none has any. When all of it leads nowhere, and
// nothing of it is mandatory, there is no commit, and the Result is zero.
func (x *Exchanges) Publish(ctx context.Context, ps ...Publication) (log.Result, error) {
	c := x.l.NewCommit()
	added := false
	for _, p := range ps {
		to, err := x.Add(ctx, c, p)
		if err != nil {
			return log.Result{}, err
		}
		added = added || len(to) > 0
	}
	if !added {
		return log.Result{}, nil
	}
	return c.Commit(ctx)
}

// Add routes p and adds the record for each destination to a commit, which happens when the caller
// commits it. It returns the destinations, none of which is an exchange.
func (x *Exchanges) Add(ctx context.Context, c *log.Commit, p Publication) ([]Destination, error) {
	to, err := x.Route(p.Exchange, p.Key, p.Record.Headers)
	if err != nil {
		return nil, err
	}
	if len(to) == 0 {
		x.unroutable.Add(1)
		if p.Mandatory {
			return nil, &UnroutableError{Exchange: p.Exchange, Key: p.Key}
		}
		return nil, nil
	}
	for _, d := range to {
		if err := x.send(ctx, c, d, p.Record); err != nil {
			return nil, err
		}
	}
	x.routed.Add(1)
	return to, nil
}

func (x *Exchanges) send(ctx context.Context, c *log.Commit, d Destination, r log.Record) error {
	if d.Kind == ToTopic {
		t, err := x.l.Topic(d.Name)
		if err != nil {
			return err
		}
		c.Append(t, r)
		return nil
	}
	x.mu.Lock()
	send := x.targets[d.Kind]
	x.mu.Unlock()
	if send == nil {
		return &TargetError{Kind: d.Kind, Name: d.Name}
	}
	return send(ctx, c, d.Name, r)
}

// Route returns where a record with this routing key and these headers leads, each destination once. A
// topic that was deleted is none. What an exchange has no binding for goes to its alternate.
func (x *Exchanges) Route(name, key string, headers []log.Header) ([]Destination, error) {
	if err := checkName("key", key); err != nil {
		return nil, err
	}
	if name == "" {
		if key == "" {
			return nil, nil
		}
		return []Destination{{ToQueue, key}}, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	first := x.byName[name]
	if first == nil {
		return nil, &ExchangeError{Exchange: name}
	}
	var to []Destination
	known := map[Destination]struct{}{{ToExchange, name}: {}}
	for exchanges := []*exchange{first}; len(exchanges) > 0; exchanges = exchanges[1:] {
		found := 0
		visit := func(d Destination) {
			next := x.byName[d.Name]
			if d.Kind == ToTopic && !x.hasTopic(d.Name) || d.Kind == ToExchange && next == nil {
				return
			}
			found++
			if _, ok := known[d]; ok {
				return
			}
			known[d] = struct{}{}
			if d.Kind == ToExchange {
				exchanges = append(exchanges, next)
				return
			}
			to = append(to, d)
		}
		e := exchanges[0]
		for _, d := range e.match(key, headers) {
			visit(d)
		}
		if found == 0 && e.options.Alternate != "" {
			visit(Destination{ToExchange, e.options.Alternate})
		}
	}
	return to, nil
}

// hasTopic reports whether there is such a topic.
func (x *Exchanges) hasTopic(name string) bool {
	_, err := x.l.Topic(name)
	return !errors.Is(err, log.ErrNoTopic)
}
