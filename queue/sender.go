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
// The message has the record's key, value and headers, and otherwise what the queue was declared with. A
// queue that is not there, or is being deleted, is a *log.TopicError.
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
		return q.Stage(c, Message{Key: r.Key, Value: r.Value, Headers: r.Headers})
	}
}

// opened returns the dispatcher of a queue that is open, or nil.
func (dir *directory) opened(name string) *dispatcher {
	dir.mu.RLock()
	defer dir.mu.RUnlock()
	return dir.byName[name]
}
