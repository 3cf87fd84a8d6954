package pubsub

import (
	"context"
	"errors"
	"slices"

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
// nothing of it is mandatory, there is no commit, and the Result is zero. A topic or queue that is deleted
// meanwhile is none of the destinations.
//
// A queue with a window for DedupIDs (queue.Options.Dedup, of messages by queue.Message.Record) decides for all of
// the call: when a DedupID was sent to it before, nothing is appended anywhere, and the Result says Duplicate and
// where the first one went; when two records of the call would bring it the same one, directly or by different
// exchanges, that is a *queue.RepeatedError, and nothing is appended either.
//
// Errors are an *ExchangeError, an *UnroutableError, an *InvalidError for a key, a *TargetError, what the queue says
// (a *queue.FullError, say), and those of a commit.
func (x *Exchanges) Publish(ctx context.Context, ps ...Publication) (log.Result, error) {
	var gone []string
	for {
		r, routed, err := x.publish(ctx, ps, gone)
		var e *log.TopicError
		if errors.As(err, &e) && !slices.Contains(gone, e.Topic) {
			gone = append(gone, e.Topic)
			continue
		}
		if err == nil {
			x.routed.Add(uint64(routed))
			x.unroutable.Add(uint64(len(ps) - routed))
		} else if errors.Is(err, ErrUnroutable) {
			x.unroutable.Add(1)
		}
		return r, err
	}
}

// publish is Publish without the destinations that are gone. routed is how many of ps lead somewhere.
func (x *Exchanges) publish(ctx context.Context, ps []Publication, gone []string) (r log.Result, routed int, err error) {
	c := x.l.NewCommit()
	for i := range ps {
		to, err := x.add(ctx, c, &ps[i], gone)
		if err != nil {
			return r, 0, err
		}
		if len(to) > 0 {
			routed++
		}
	}
	if routed == 0 {
		return r, 0, nil
	}
	r, err = c.Commit(ctx)
	return r, routed, err
}

// Add routes p and adds the record for each destination to a commit, which happens when the caller
// commits it. It returns the destinations, none of which is an exchange. After an error the commit may
// hold a part of it and must not be committed.
func (x *Exchanges) Add(ctx context.Context, c *log.Commit, p Publication) ([]Destination, error) {
	to, err := x.add(ctx, c, &p, nil)
	switch {
	case len(to) > 0:
		x.routed.Add(1)
	case err == nil || errors.Is(err, ErrUnroutable):
		x.unroutable.Add(1)
	}
	return to, err
}

func (x *Exchanges) add(ctx context.Context, c *log.Commit, p *Publication, gone []string) ([]Destination, error) {
	to, err := x.route(p.Exchange, p.Key, p.Record.Headers, gone)
	if err != nil {
		return nil, err
	}
	if len(to) == 0 && p.Mandatory {
		return nil, &UnroutableError{Exchange: p.Exchange, Key: p.Key}
	}
	for _, d := range to {
		if err := x.send(ctx, c, d, p.Record); err != nil {
			return nil, err
		}
	}
	return to, nil
}

// send adds r to c. That d has gone is a *log.TopicError.
func (x *Exchanges) send(ctx context.Context, c *log.Commit, d Destination, r log.Record) error {
	if d.Kind == ToTopic {
		t, err := x.l.LookUpTopic(d.Name)
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
	err := send(ctx, c, d.Name, r)
	if errors.Is(err, log.ErrNoTopic) {
		return &log.TopicError{Topic: d.Name}
	}
	return err
}

// Route returns where a record with this routing key and these headers leads, each destination once. A
// topic or queue that was deleted is none. What an exchange has no binding for goes to its alternate.
func (x *Exchanges) Route(name, key string, headers []log.Header) ([]Destination, error) {
	return x.route(name, key, headers, nil)
}

// route is Route without the topics that are gone.
func (x *Exchanges) route(name, key string, headers []log.Header, gone []string) ([]Destination, error) {
	if err := checkName("key", key); err != nil {
		return nil, err
	}
	if name == "" {
		if to := (Destination{ToQueue, key}); x.isThere(to, gone) {
			return []Destination{to}, nil
		}
		return nil, nil
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
			var next *exchange
			if d.Kind == ToExchange {
				next = x.byName[d.Name]
			}
			if next == nil && (d.Kind == ToExchange || !x.isThere(d, gone)) {
				return
			}
			found++
			if _, ok := known[d]; ok {
				return
			}
			known[d] = struct{}{}
			if next != nil {
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

// isThere reports whether there is the topic that d is, and it is not among gone. On a log that is closed it
// counts as being there: sending to it is what fails.
func (x *Exchanges) isThere(d Destination, gone []string) bool {
	t, err := x.l.LookUpTopic(d.Name)
	if err != nil {
		return !errors.Is(err, log.ErrNoTopic)
	}
	return t.Kind() == d.topicKind() && !slices.Contains(gone, d.Name)
}
