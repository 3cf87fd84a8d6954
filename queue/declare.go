package queue

import (
	"context"
	"errors"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// errDeclared is what the second of two declarations at once gets.
var errDeclared = errors.New("queue: declared meanwhile")

// Declare returns the queue called name, which it begins when there is none, together with the queue of
// its dead letters. Calling it again with the same options returns the queue; with others it is a
// *log.MismatchError that names the first field which differs. Options that contradict each other match
// ErrOptions, a name that no topic can have is a *log.NameError. What it returns is durable.
func Declare(ctx context.Context, l *log.Log, name string, o Options) (*Queue, error) {
	o, err := o.withDefaults(name)
	if err != nil {
		return nil, err
	}
	dir, err := open(ctx, l)
	if err != nil {
		return nil, err
	}
	dir.declaring.Lock()
	defer dir.declaring.Unlock()
	d, err := dir.declare(ctx, name, o)
	if err != nil {
		return nil, err
	}
	return &Queue{d}, nil
}

// Open returns the queue called name, or a *NoQueueError. On a log that was opened read-only it can be
// looked at.
func Open(ctx context.Context, l *log.Log, name string) (*Queue, error) {
	dir, err := open(ctx, l)
	if err != nil {
		return nil, err
	}
	dir.declaring.Lock()
	defer dir.declaring.Unlock()
	d, err := dir.dispatcher(ctx, name)
	if err != nil {
		return nil, err
	}
	return &Queue{d}, nil
}

// deadOptions are those of a queue of dead letters that is declared along with another: nothing leaves
// it by itself.
func deadOptions() Options {
	return Options{Discard: true, Retry: timer.Retry{Attempts: -1}}
}

// declare begins the queue unless it is there. declaring is held.
func (dir *directory) declare(ctx context.Context, name string, o Options) (*dispatcher, error) {
	q, ok, err := dir.lookUp(ctx, name)
	if err != nil {
		return nil, err
	}
	if ok && q.flags&flagDeleting == 0 {
		have, err := decodeOptions(q.options)
		if err != nil {
			return nil, err
		}
		if err := have.differs(name, &o); err != nil {
			return nil, err
		}
		return dir.dispatcher(ctx, name)
	}
	if dir.l.Options().ReadOnly {
		return nil, log.ErrReadOnly
	}
	if ok {
		err = dir.finishDelete(ctx, name, q.id) // a crash cut that short
	} else {
		err = dir.dropTopic(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	if !o.Discard {
		if err := dir.declareDead(ctx, o.DeadLetter); err != nil {
			return nil, err
		}
	}
	if _, err := dir.l.CreateTopic(ctx, name, log.TopicOptions{Compression: o.Compression, Kind: kind}); err != nil {
		return nil, err
	}
	c := dir.l.NewCommit()
	c.Durability(log.Synced)
	c.Require(condition(conditionDeclare, []byte(name), append([]byte{opDeclare}, o.encode()...)))
	if _, err := c.Commit(ctx); err != nil {
		return nil, err
	}
	return dir.dispatcher(ctx, name)
}

// declareDead begins a queue of dead letters unless it is there, however it was declared.
func (dir *directory) declareDead(ctx context.Context, name string) error {
	q, ok, err := dir.lookUp(ctx, name)
	if err != nil || ok && q.flags&flagDeleting == 0 {
		return err
	}
	o, err := deadOptions().withDefaults(name)
	if err != nil {
		return err
	}
	_, err = dir.declare(ctx, name, o)
	return err
}

// lookUp returns what the view has under the queue's name.
func (dir *directory) lookUp(ctx context.Context, name string) (declared, bool, error) {
	value, ok, err := dir.view.Get(ctx, keyName(name))
	if err != nil || !ok {
		return declared{}, false, err
	}
	q, ok := decodeDeclared(value)
	if !ok {
		return q, false, ErrCorrupt
	}
	return q, true, nil
}

// dispatcher returns the dispatcher of a queue that is declared. declaring is held.
func (dir *directory) dispatcher(ctx context.Context, name string) (*dispatcher, error) {
	dir.mu.RLock()
	d, closed := dir.byName[name], dir.closed
	dir.mu.RUnlock()
	switch {
	case closed:
		return nil, log.ErrClosed
	case d != nil:
		return d, nil
	}
	q, ok, err := dir.lookUp(ctx, name)
	if err != nil {
		return nil, err
	}
	if !ok || q.flags&flagDeleting != 0 {
		return nil, &NoQueueError{name}
	}
	o, err := decodeOptions(q.options)
	if err != nil {
		return nil, err
	}
	topic, err := dir.l.LookUpTopic(name)
	if err != nil {
		return nil, err
	}
	d = newDispatcher(dir, name, q.id, o, topic)
	dir.mu.Lock()
	defer dir.mu.Unlock()
	if dir.closed {
		return nil, log.ErrClosed
	}
	dir.byName[name], dir.byID[q.id] = d, d
	if !dir.l.Options().ReadOnly {
		dir.wg.Go(d.pump)
	}
	return d, nil
}

// reviveDead finds the dead letters of d, when the first one comes, and declares them anew when somebody
// has deleted them: no message is lost for that.
func (d *dispatcher) reviveDead(ctx context.Context) error {
	d.dir.declaring.Lock()
	defer d.dir.declaring.Unlock()
	if err := d.dir.declareDead(ctx, d.o.DeadLetter); err != nil {
		return err
	}
	dead, err := d.dir.dispatcher(ctx, d.o.DeadLetter)
	if err != nil {
		return err
	}
	d.dead.Store(dead)
	return nil
}

// withDead calls f, once more when it failed because there are no dead letters.
func (d *dispatcher) withDead(ctx context.Context, f func() error) error {
	err := f()
	if !errors.Is(err, errNoDead) {
		return err
	}
	if err := d.reviveDead(ctx); err != nil {
		return err
	}
	return f()
}

// dropTopic deletes what is left of a queue of that name that has ended.
func (dir *directory) dropTopic(ctx context.Context, name string) error {
	t, err := dir.l.LookUpTopic(name)
	if errors.Is(err, log.ErrNoTopic) {
		return nil
	}
	if err != nil {
		return err
	}
	if t.Kind() != kind {
		return &log.MismatchError{Name: name, Field: "kind", Have: t.Kind(), Want: kind}
	}
	return dir.l.DeleteTopicAs(ctx, kind, name)
}
