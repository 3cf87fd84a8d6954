package queue

import (
	"context"
	"errors"

	"github.com/stratalog/strata/log"
)

// Delete ends the queue called name and drops its messages; those that are leased can not be
// acknowledged any more. Its dead letters stay. A queue that is not there is a *NoQueueError.
func Delete(ctx context.Context, l *log.Log, name string) error {
	dir, err := open(ctx, l)
	if err != nil {
		return err
	}
	if l.Options().ReadOnly {
		return log.ErrReadOnly
	}
	dir.declaring.Lock()
	defer dir.declaring.Unlock()
	return dir.delete(ctx, name)
}

// delete ends the queue. declaring is held.
func (dir *directory) delete(ctx context.Context, name string) error {
	q, ok, err := dir.lookUp(ctx, name)
	if err != nil {
		return err
	}
	if !ok || q.flags&flagDeleting != 0 {
		if ok {
			return dir.finishDelete(ctx, name, q.id)
		}
		return &NoQueueError{name}
	}
	dir.mu.Lock()
	d := dir.byName[name]
	delete(dir.byName, name)
	delete(dir.byID, q.id)
	dir.mu.Unlock()
	if d != nil {
		d.end()
	}
	if err := dir.mark(ctx, name, opDeleting); err != nil {
		return err
	}
	return dir.finishDelete(ctx, name, q.id)
}

func (dir *directory) mark(ctx context.Context, name string, op byte) error {
	c := dir.l.NewCommit()
	c.Durability(log.Synced)
	c.Require(condition(conditionEnd, []byte(name), []byte{op}))
	_, err := c.Commit(ctx)
	return err
}

// end makes the dispatcher refuse everything from now on.
func (d *dispatcher) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	d.awaitUnderway()
	d.in.endAll()
}

// finishDelete drops what the view has of a queue that takes no messages any more, and its topic.
func (dir *directory) finishDelete(ctx context.Context, name string, id uint64) error {
	for _, prefix := range []byte{prefixLease, prefixReady, prefixDelayed, prefixTally, prefixWaiting, prefixGone, prefixHistory, prefixDedupEnd, prefixDedup} {
		if err := dir.dropKeys(ctx, prefix, id); err != nil {
			return err
		}
	}
	if err := dir.mark(ctx, name, opDelete); err != nil {
		return err
	}
	err := dir.l.DeleteTopicAs(ctx, kind, name)
	if errors.Is(err, log.ErrNoTopic) {
		return nil
	}
	return err
}

// dropKeys drops the keys of a queue with this prefix.
func (dir *directory) dropKeys(ctx context.Context, prefix byte, id uint64) error {
	from := keyOf(prefix, id)
	to := after(from)
	for {
		var keys [][]byte
		for kv, err := range dir.view.Scan(ctx, from, to) {
			if err != nil {
				return err
			}
			if keys = append(keys, append([]byte(nil), kv.Key...)); len(keys) == dir.limits.drop {
				break
			}
		}
		if len(keys) == 0 {
			return nil
		}
		c := dir.l.NewCommit()
		c.Durability(log.Written)
		from = append(keys[len(keys)-1], 0)
		for _, key := range keys {
			c.Require(condition(conditionDrop, key, []byte{opDrop}))
		}
		if _, err := c.Commit(ctx); err != nil {
			return err
		}
	}
}

// dropExclusive deletes the queues that end with the open log.
func (dir *directory) dropExclusive(ctx context.Context) error {
	dir.declaring.Lock()
	defer dir.declaring.Unlock()
	var names []string
	for kv, err := range dir.view.Scan(ctx, []byte{prefixName}, []byte{prefixName + 1}) {
		if err != nil {
			return err
		}
		q, ok := decodeDeclared(kv.Value)
		if !ok {
			return ErrCorrupt
		}
		o, err := decodeOptions(q.options)
		if err != nil {
			return err
		}
		if o.Exclusive || q.flags&flagDeleting != 0 {
			names = append(names, string(kv.Key[1:]))
		}
	}
	for _, name := range names {
		if err := dir.delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// List yields the names of the queues, in order.
func List(ctx context.Context, l *log.Log) ([]string, error) {
	dir, err := open(ctx, l)
	if err != nil {
		return nil, err
	}
	var names []string
	for kv, err := range dir.view.Scan(ctx, []byte{prefixName}, []byte{prefixName + 1}) {
		if err != nil {
			return nil, err
		}
		if q, ok := decodeDeclared(kv.Value); ok && q.flags&flagDeleting == 0 {
			names = append(names, string(kv.Key[1:]))
		}
	}
	return names, nil
}
