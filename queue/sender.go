package queue

import (
	"context"
	"errors"

	"github.com/stratalog/strata/log"
)

// Sender returns what adds a record, as a message, to a commit for the queue called name, as Stage does:
// that is how exchanges lead to queues.
//
//	exchanges.SetTarget(pubsub.ToQueue, queue.Sender(l))
//
// The message has the record's key, value and headers, and what Message.Record has made headers of; what the queue
// cannot do, as priorities on an ordered one, is left out. With a DedupID that was sent before, the commit as a
// whole is a duplicate. A queue that is not there, or is being deleted, is a *log.TopicError.
func Sender(l *log.Log) func(ctx context.Context, c *log.Commit, name string, r log.Record) error {
	return func(ctx context.Context, c *log.Commit, name string, r log.Record) error {
		dir, err := open(ctx, l)
		if err != nil {
			return err
		}
		q := &Queue{dir.opened(name)}
		if q.d == nil {
			// It was not used yet, or is ending, which this waits for.
			q, err = Open(ctx, l, name)
		}
		if errors.Is(err, ErrNoQueue) {
			return &log.TopicError{Topic: name}
		}
		if err != nil {
			return err
		}
		m, why := carried(&r, &q.d.o)
		if why != "" {
			return &InvalidError{Queue: name, Reason: why}
		}
		return q.Stage(c, m)
	}
}

// opened returns the dispatcher of a queue that is open, or nil.
func (dir *directory) opened(name string) *dispatcher {
	dir.mu.RLock()
	defer dir.mu.RUnlock()
	return dir.byName[name]
}
