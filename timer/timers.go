package timer

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"iter"
	"sync"

	"github.com/stratalog/strata/log"
)

// Timers are the durable timers of a log. Its methods may be called concurrently, also by handlers.
// They end with the log, whose Close waits for the handlers.
type Timers struct {
	l *log.Log
	v *log.ViewHandle
	p *log.Partition // of the topic of timers; nil on a log that was opened read-only

	ctx    context.Context // of all goroutines; ends with the log
	cancel context.CancelFunc
	wg     sync.WaitGroup // added to under mu, while closed is false

	mu       sync.Mutex
	closed   bool             // guarded by mu
	watching bool             // guarded by mu
	loops    map[string]*loop // by owner; guarded by mu
}

// Open returns the timers of l, always the same for a log. The first call registers the view, which
// can take a while when it must be derived from the log. It works on a log that was opened read-only,
// where timers can be looked at and are never due.
func Open(ctx context.Context, l *log.Log) (*Timers, error) {
	c, err := l.Attach(viewName, func() (io.Closer, error) {
		v, err := l.Register(ctx, view{})
		if err != nil {
			return nil, err
		}
		t := &Timers{l: l, v: v, loops: map[string]*loop{}}
		if !l.Options().ReadOnly {
			topic, err := l.Topic(viewName)
			if err != nil {
				return nil, err
			}
			t.p = topic.Partition(0)
		}
		t.ctx, t.cancel = context.WithCancel(context.Background())
		return attached{t}, nil
	})
	if err != nil {
		return nil, err
	}
	return c.(attached).t, nil
}

// attached is what the log closes.
type attached struct{ t *Timers }

func (a attached) Close() error {
	t := a.t
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
	return nil
}

// Handler is given timers of one owner that are due, in the order of Due, at most 1024 at a time. It
// commits what belongs to them, with Fire for each. A timer that is not set any more, of which the
// commit's *NotSetError tells, is done with.
//
// When it returns an error, or leaves timers set, those are given to it again: after an error one by
// one, so that one that fails does not hold up the others, and later with exponential backoff, at most
// a minute apart, for as long as they are set and the log is open. ctx ends with the log and with
// what Handle returns. The slice is the handler's; the payloads stay as they are.
type Handler func(ctx context.Context, due []Timer) error

// Handle calls h with the owner's timers as they become due, one call at a time, until stop is called,
// which waits for a call that is under way, or the log is closed. h must call neither. Another
// handler for an owner that has one is ErrHandled.
func (t *Timers) Handle(owner string, h Handler) (stop func(), err error) {
	if err := check(owner, "-"); err != nil {
		return nil, err
	}
	if t.p == nil {
		return nil, log.ErrReadOnly
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, log.ErrClosed
	case t.loops[owner] != nil:
		return nil, ErrHandled
	}
	if !t.watching {
		t.watching = true
		from := t.p.Next() // before any loop looks at what is set
		t.wg.Go(func() { t.watch(from) })
	}
	lp := newLoop(t, owner, h)
	t.loops[owner] = lp
	t.wg.Go(lp.run)
	return func() {
		lp.cancel()
		<-lp.done
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.loops[owner] == lp {
			delete(t.loops, owner)
		}
	}, nil
}

// HandleEach is Handle with a commit for each timer, which has Fire already: f adds what belongs to
// it. The commits of timers that are due together share their writes. What f adds is not committed
// when it returns an error, or when the timer is not set any more.
func (t *Timers) HandleEach(owner string, f func(ctx context.Context, c *log.Commit, due Timer) error) (stop func(), err error) {
	return t.Handle(owner, func(ctx context.Context, due []Timer) error {
		var failed error
		acks := make([]*log.Ack, 0, len(due))
		for _, d := range due {
			c := t.l.NewCommit()
			c.Require(Fire(d))
			if err := f(ctx, c, d); err != nil {
				failed = err
				continue
			}
			acks = append(acks, c.CommitAsync(ctx))
		}
		for _, a := range acks {
			// A timer that is gone is told by the look at what is left.
			if _, err := a.Wait(ctx); err != nil {
				failed = err
			}
		}
		return failed
	})
}

// watch tells the loops of timers that are set.
func (t *Timers) watch(from int64) {
	for r, err := range t.p.Follow(t.ctx, log.AtOffset(from), log.ReadOptions{Unsynced: true}) {
		if err != nil {
			if t.ctx.Err() == nil {
				t.l.Options().Logger.Error("timers set from now on are not noticed", "error", err.Error())
			}
			return
		}
		owner, _, ok := bytes.Cut(r.Key, []byte{0})
		if !ok || len(r.Value) < 9 || r.Value[0] != opSet {
			continue
		}
		t.mu.Lock()
		lp := t.loops[string(owner)]
		t.mu.Unlock()
		if lp != nil {
			lp.set(binary.BigEndian.Uint64(r.Value[1:]))
		}
	}
}

// Get returns the timer that the owner has set under id, or false when there is none.
func (t *Timers) Get(ctx context.Context, owner, id string) (Timer, bool, error) {
	if err := check(owner, id); err != nil {
		return Timer{}, false, err
	}
	for {
		set, ok, err := t.v.Get(ctx, append([]byte{'i'}, encodeName(owner, id)...))
		if err != nil || !ok || len(set) != setBytes {
			return Timer{}, false, err
		}
		key := dueKey([]byte(owner), set, []byte(id))
		payload, ok, err := t.v.Get(ctx, key)
		if err != nil {
			return Timer{}, false, err
		}
		if ok {
			found, _ := decodeTimer(key, payload)
			return found, true, nil
		}
		// It was replaced or removed between the two looks.
	}
}

// List yields the owner's timers that are set, in the order in which they are due, or those of all
// owners, one owner after the other, when owner is "". It is as of one moment. A timer's payload is
// valid inside the loop body only. An error is the last pair.
func (t *Timers) List(ctx context.Context, owner string) iter.Seq2[Timer, error] {
	return func(yield func(Timer, error) bool) {
		from, to := []byte{'d'}, []byte{'d' + 1}
		if owner != "" {
			if err := check(owner, "-"); err != nil {
				yield(Timer{}, err)
				return
			}
			from, to = ownerRange(owner)
		}
		for kv, err := range t.v.Scan(ctx, from, to) {
			if err != nil {
				yield(Timer{}, err)
				return
			}
			if due, ok := decodeTimer(kv.Key, kv.Value); ok && !yield(due, nil) {
				return
			}
		}
	}
}

// Next returns the owner's timer that is due before the others, or false when none is set. It may be
// due already.
func (t *Timers) Next(ctx context.Context, owner string) (Timer, bool, error) {
	if err := check(owner, "-"); err != nil {
		return Timer{}, false, err
	}
	for next, err := range t.List(ctx, owner) {
		next.Payload = bytes.Clone(next.Payload)
		return next, err == nil, err
	}
	return Timer{}, false, nil
}

// Count returns how many timers the owner has set.
func (t *Timers) Count(ctx context.Context, owner string) (int, error) {
	value, _, err := t.v.Get(ctx, countKey([]byte(owner)))
	return int(decodeCount(value)), err
}

// ownerRange returns the range of an owner's keys under 'd'.
func ownerRange(owner string) (from, to []byte) {
	from = dueKey([]byte(owner), nil, nil)
	to = bytes.Clone(from)
	to[len(to)-1] = 1
	return from, to
}
