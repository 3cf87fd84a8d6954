package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stratalog/strata/log"
)

// RunOptions configures Run and RunBatch. The zero value is one worker that takes one message at a time.
type RunOptions struct {
	// Workers is how many handlers are at work at once. Zero is 1.
	Workers int
	// MaxInFlight bounds how many messages are leased to this consumer: those that are handled and those
	// that are ready for it. Zero is twice the workers for Run, once for RunBatch times Batch; it is at
	// least the number of workers. With 1 worker, 1 is a prefetch of none.
	MaxInFlight int
	// Batch is how many messages a handler of RunBatch gets at most. Zero is 10.
	Batch int
	// HandleTimeout ends a handler's context after that time; the message counts as failed when it then
	// returns. Zero is never.
	HandleTimeout time.Duration
	// Owner, Synced and Unsynced are as in ReceiveOptions.
	Owner            string
	Synced, Unsynced bool
}

// Handler handles a message. A nil error acknowledges it; another one is Nack, so that it is tried again as
// the queue's Retry says, and goes to the dead letters behind the last attempt, or at once with Reject. A
// handler that has concluded the message itself, by Done in a commit say, returns nil. What it is given is
// its own.
type Handler func(ctx context.Context, m *Delivery) error

// BatchHandler handles messages and returns what became of each, in their order; nil is all well. Missing
// ones count as handled.
type BatchHandler func(ctx context.Context, ms []*Delivery) []error

// Run handles messages until ctx ends, which is no error, or the queue or the log does. The messages are
// this consumer's for as long as their handlers live: no lease runs out under them. A handler's ctx ends
// with ctx; Run waits for the handlers, and gives back what they have not begun, without counting an
// attempt. What a handler returns because ctx has ended counts no attempt either.
//
// When it cannot be recorded what has become of a message, of a full disk say, that is an error which ends Run;
// the message is tried again, or goes to the dead letters, as soon as there is room for that.
//
// A message that failed waits in the log for its next attempt, and holds up no worker.
func (q *Queue) Run(ctx context.Context, h Handler, o RunOptions) error {
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 2 * max(o.Workers, 1)
	}
	o.Batch = 1
	return q.run(ctx, o, func(ctx context.Context, ms []*Delivery) []error {
		return []error{h(ctx, ms[0])}
	})
}

// RunBatch is Run with several messages for a handler.
func (q *Queue) RunBatch(ctx context.Context, h BatchHandler, o RunOptions) error {
	if o.Batch == 0 {
		o.Batch = 10
	}
	return q.run(ctx, o, h)
}

func (q *Queue) run(ctx context.Context, o RunOptions, h BatchHandler) error {
	if o.Workers < 0 || o.MaxInFlight < 0 || o.Batch < 0 || o.HandleTimeout < 0 {
		return fmt.Errorf("%w: queue %q: Workers %d, MaxInFlight %d, Batch %d, HandleTimeout %v", ErrOptions, q.d.name, o.Workers, o.MaxInFlight, o.Batch, o.HandleTimeout)
	}
	o.Workers = max(o.Workers, 1)
	o.MaxInFlight = max(o.MaxInFlight, o.Workers*o.Batch)
	c, err := q.Consume()
	if err != nil {
		return err
	}
	r := &runner{
		q: q, o: o, h: h, work: make(chan []*Delivery, o.MaxInFlight), free: make(chan struct{}, o.MaxInFlight),
		acks: make(chan *Delivery, o.MaxInFlight),
	}
	for range o.MaxInFlight {
		r.free <- struct{}{}
	}
	err = r.run(ctx)
	return errors.Join(err, c.Close(context.WithoutCancel(ctx)))
}

// runner is one call of Run. Its goroutines are waited for by run.
type runner struct {
	q    *Queue
	o    RunOptions
	h    BatchHandler
	work chan []*Delivery
	free chan struct{}  // a token for each message that may be leased
	acks chan *Delivery // handled, to be acknowledged
	stop context.CancelCauseFunc
}

func (r *runner) run(ctx context.Context) error {
	inner, stop := context.WithCancelCause(ctx)
	r.stop = stop
	defer stop(nil)
	var workers, acker sync.WaitGroup
	for range r.o.Workers {
		workers.Go(func() { r.handle(inner) })
	}
	acker.Go(r.acknowledge)
	err := r.receive(inner)
	close(r.work)
	workers.Wait()
	close(r.acks)
	acker.Wait()
	if cause := context.Cause(inner); ctx.Err() == nil && cause != nil {
		return cause
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// receive leases messages as there is room, until ctx ends.
func (r *runner) receive(ctx context.Context) error {
	o := ReceiveOptions{Wait: -1, Held: true, Owner: r.o.Owner, Synced: r.o.Synced, Unsynced: r.o.Unsynced}
	for {
		select {
		case <-r.free:
			o.Max = 1
		case <-ctx.Done():
			return ctx.Err()
		}
	more:
		for {
			select {
			case <-r.free:
				o.Max++
			default:
				break more
			}
		}
		ms, err := r.q.Receive(ctx, o)
		for range o.Max - len(ms) {
			r.free <- struct{}{}
		}
		if err != nil {
			return err
		}
		for len(ms) > 0 {
			n := min(len(ms), r.o.Batch)
			r.work <- ms[:n:n] // it has room for all that are free
			ms = ms[n:]
		}
	}
}

// handle calls the handler.
func (r *runner) handle(ctx context.Context) {
	for ms := range r.work {
		if ctx.Err() != nil {
			r.q.d.giveBack(ms)
			r.give(len(ms))
			continue
		}
		results := r.call(ctx, ms)
		for i, m := range ms {
			var err error
			if i < len(results) {
				err = results[i]
			}
			if err == nil {
				r.acks <- m
				continue
			}
			r.conclude(ctx, m, err)
			r.give(1)
		}
	}
}

func (r *runner) call(ctx context.Context, ms []*Delivery) []error {
	if r.o.HandleTimeout <= 0 {
		return r.h(ctx, ms)
	}
	ctx, cancel := withTimeout(ctx, r.q.d.dir.l.Options().Clock, r.o.HandleTimeout)
	defer cancel()
	return r.h(ctx, ms)
}

func (r *runner) give(n int) {
	for range n {
		r.free <- struct{}{}
	}
}

// conclude says what becomes of a message whose handler has failed.
func (r *runner) conclude(ctx context.Context, m *Delivery, cause error) {
	var err error
	if ctx.Err() != nil && errors.Is(cause, ctx.Err()) {
		err = m.Release(context.WithoutCancel(ctx))
	} else {
		err = m.Nack(context.WithoutCancel(ctx), cause)
	}
	r.note(err, m)
}

// note ends the run when an error says that what has become of messages could not be recorded; they come
// again when that is possible. A message that somebody has concluded is none.
func (r *runner) note(err error, ms ...*Delivery) {
	if err != nil && !errors.Is(err, ErrLease) {
		r.q.d.abandon(ms)
		r.stop(err)
	}
}

// acknowledge acknowledges what was handled: what has come together since the last commit, in one.
func (r *runner) acknowledge() {
	var ms []*Delivery
	for m := range r.acks {
		ms = append(ms[:0], m)
	more:
		for len(ms) < r.q.d.dir.limits.aside {
			select {
			case m, ok := <-r.acks:
				if !ok {
					break more
				}
				ms = append(ms, m)
			default:
				break more
			}
		}
		r.ack(ms)
		r.give(len(ms))
	}
}

// ack acknowledges messages, also when some of them are concluded already.
func (r *runner) ack(ms []*Delivery) {
	d := r.q.d
	var conditions []log.Condition
	for _, c := range AllDone(ms...) {
		c.Want[1] = 0 // not strict
		conditions = append(conditions, c)
	}
	r.note(d.finish(context.Background(), r.o.Synced, conditions...), ms...)
}

// withTimeout is context.WithTimeout by the clock of the log.
func withTimeout(ctx context.Context, clock log.Clock, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := clock.NewTimer(d)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-t.C():
			cancel(context.DeadlineExceeded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		t.Stop()
		cancel(nil)
		<-done
	}
}

// Consumer is a claim on a queue's life: one that was declared with AutoDelete goes with its last consumer.
type Consumer struct {
	d    *dispatcher
	once sync.Once
}

// Consume returns a consumer of the queue. Run is one by itself.
func (q *Queue) Consume() (*Consumer, error) {
	if q.d.dir.l.Options().ReadOnly {
		return nil, log.ErrReadOnly
	}
	if q.d.isEnded() {
		return nil, &NoQueueError{q.d.name}
	}
	q.d.consumers.Add(1)
	return &Consumer{d: q.d}, nil
}

// Close ends the consumer. It deletes a queue with AutoDelete when it was the last. Calling it again does
// nothing.
func (c *Consumer) Close(ctx context.Context) (err error) {
	c.once.Do(func() {
		d := c.d
		if d.consumers.Add(-1) > 0 || !d.o.AutoDelete {
			return
		}
		d.dir.declaring.Lock()
		defer d.dir.declaring.Unlock()
		if d.consumers.Load() > 0 || d.isEnded() {
			return
		}
		if err = d.dir.delete(ctx, d.name); errors.Is(err, log.ErrClosed) {
			err = nil // the next consumer of the open log will be the last, some time
		}
	})
	return err
}
