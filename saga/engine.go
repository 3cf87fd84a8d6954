package saga

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// engine is what the runners and stores of a log share.
type engine struct {
	l      *log.Log
	h      *log.ViewHandle
	timers *timer.Timers
	p      *log.Partition // of the topic of sagas; nil on a log that was opened read-only

	ctx    context.Context // ends with the log
	cancel context.CancelFunc
	wg     sync.WaitGroup // of watch and of Runs; added to under mu, while closed is false

	mu       sync.Mutex
	closed   bool               // guarded by mu
	watching bool               // guarded by mu
	running  map[*Runner]func() // how to end each; guarded by mu
	claims   map[string]*claim  // by key; guarded by mu
	unhandle func()             // ends the handler of timers; guarded by mu
}

// claim is one runner's hold on an instance.
type claim struct {
	// taken says that the epoch of the instance is that of who has the claim, to whom it belongs.
	taken bool
	// poke has something when the instance was told something since.
	poke chan struct{}
}

// engineOf returns the engine of l, always the same for a log.
func engineOf(ctx context.Context, l *log.Log) (*engine, error) {
	c, err := l.Attach(viewName, func() (io.Closer, error) {
		ts, err := timer.Open(ctx, l) // before this is attached, so that it is closed after it
		if err != nil {
			return nil, err
		}
		h, err := l.Register(ctx, view{})
		if err != nil {
			return nil, err
		}
		e := &engine{l: l, h: h, timers: ts, running: map[*Runner]func(){}, claims: map[string]*claim{}}
		if !l.Options().ReadOnly {
			t, err := l.Topic(viewName)
			if err != nil {
				return nil, err
			}
			e.p = t.Partition(0)
		}
		e.ctx, e.cancel = context.WithCancel(context.Background())
		return attached{e}, nil
	})
	if err != nil {
		return nil, err
	}
	return c.(attached).e, nil
}

// attached is what the log closes.
type attached struct{ e *engine }

// Close ends all runners and waits for them.
func (a attached) Close() error {
	e := a.e
	e.mu.Lock()
	e.closed = true
	for _, stop := range e.running {
		stop()
	}
	e.mu.Unlock()
	e.cancel()
	e.wg.Wait()
	return nil
}

// join notes that r runs. stop ends it.
func (e *engine) join(r *Runner, stop func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.p == nil:
		return log.ErrReadOnly
	case e.closed:
		return log.ErrClosed
	case e.running[r] != nil:
		return ErrRunning
	}
	if !e.watching {
		e.watching = true
		from := e.p.Next() // before any runner looks at what is ready
		e.wg.Go(func() { e.watch(from) })
	}
	if len(e.running) == 0 {
		unhandle, err := e.timers.Handle(timerOwner, e.due)
		if err != nil {
			return err
		}
		e.unhandle = unhandle
	}
	e.running[r] = stop
	e.wg.Add(1)
	return nil
}

func (e *engine) leave(r *Runner) {
	e.mu.Lock()
	delete(e.running, r)
	for other := range e.running {
		notify(other.look) // for what r had claimed and has not finished
	}
	if len(e.running) == 0 {
		// Under mu, so that who joins meanwhile finds the owner free. The handler takes no lock.
		e.unhandle()
		e.unhandle = nil
	}
	e.mu.Unlock()
	e.wg.Done()
}

// timerOwner owns the timers of all sagas: one an instance, with the id saga/id.
const timerOwner = "strata.sagas"

func timerID(saga, id string) string { return saga + "/" + id }

// due wakes the instances whose timers are due: each timer is consumed in the commit that does so.
func (e *engine) due(ctx context.Context, due []timer.Timer) error {
	var failed error
	acks := make([]*log.Ack, 0, len(due))
	for _, d := range due {
		c := e.l.NewCommit()
		c.Require(timer.Fire(d))
		if saga, id, ok := bytes.Cut([]byte(d.ID), []byte{'/'}); ok {
			cond, err := tell(instanceKey(string(saga), string(id)), Event{Type: EventWoken})
			if err != nil {
				failed = err
				continue
			}
			c.Require(cond)
		}
		acks = append(acks, c.CommitAsync(ctx))
	}
	for _, a := range acks {
		if _, err := a.Wait(ctx); err != nil && !errors.Is(err, timer.ErrNotSet) {
			failed = err
		}
	}
	return failed
}

// watch tells runners of instances that something was told to.
func (e *engine) watch(from int64) {
	for r, err := range e.p.Follow(e.ctx, log.AtOffset(from), log.ReadOptions{Unsynced: true}) {
		if err != nil {
			if e.ctx.Err() == nil {
				e.l.Options().Logger.Error("what sagas are told from now on is noticed late", "error", err.Error())
			}
			return
		}
		if byRunner(r.Value) {
			continue
		}
		if e.h.Wait(e.ctx, r.Position+1) != nil {
			return
		}
		e.told(string(r.Key))
	}
}

// byRunner reports whether an event is of a type that only runners append. The type is what an event's
// JSON begins with.
func byRunner(value []byte) bool {
	return !slices.ContainsFunc(fromOutside, func(prefix []byte) bool { return bytes.HasPrefix(value, prefix) })
}

// fromOutside is what the JSON of events begins with that others than runners append; immutable.
var fromOutside = func() (prefixes [][]byte) {
	for _, t := range []EventType{
		EventStarted, EventSignalled, EventWoken, EventAbort, EventRetried, EventResumed,
	} {
		prefixes = append(prefixes, []byte(`{"type":"`+string(t)+`"`))
	}
	return prefixes
}()

// told passes on that there may be something to do for an instance.
func (e *engine) told(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.claims[key]; c != nil {
		notify(c.poke)
		return
	}
	for r := range e.running {
		r.enqueue(key)
	}
}

// claim takes an instance for one runner, or returns nil when another one has it.
func (e *engine) claim(key string) *claim {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.claims[key] != nil {
		return nil
	}
	c := &claim{poke: make(chan struct{}, 1)}
	e.claims[key] = c
	return c
}

func (e *engine) release(key string, c *claim) {
	e.mu.Lock()
	delete(e.claims, key)
	e.mu.Unlock()
	select {
	case <-c.poke:
		e.told(key)
	default:
	}
}
