package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

// Failure says what becomes of a record that its handler has failed for good.
type Failure uint8

const (
	// FailureStops makes Run return the error. The record is not passed: it comes again.
	FailureStops Failure = iota
	// FailureParks puts the record into the dead-letter topic, in the commit that passes it, and goes on.
	FailureParks
)

// RunOptions configures Run. The zero value handles one record of a partition at a time, in order, tries
// five times, and stops at what fails for good.
type RunOptions struct {
	// Workers is how many records are handled at once. Zero or 1 keeps the order of each partition; more keep
	// the order of each key within a partition, and a key that is slow or waits to be tried again holds up
	// itself alone. Records without a key then have no order.
	Workers int
	// Retry says how often a record is tried, and how long to wait before. The zero value is its default.
	Retry timer.Retry
	// Failure says what becomes of a record behind that.
	Failure Failure
	// DeadLetters is the topic into which records are parked, which is created when it is missing. Zero is
	// the group's name with ".dead" behind it. The records keep key, value and headers, and carry
	// what record's headers of dead records say besides.
	DeadLetters string
}

// Run joins the group and handles its records until ctx ends, which is no error, or, with FailureStops, a
// record fails. It joins again by itself when it was taken out of the group. Handlers are called at least
// once for each record; what handle keeps of a record it may keep. The offset that is committed is that of
// the first record that is not handled.
//
// The context of handlers ends with ctx, and when the member is taken out because a handler takes longer
// than PollTimeout. Run waits for handlers to return before it joins again, and before it returns.
func Run(ctx context.Context, l *log.Log, group string, o Options, run RunOptions, handle func(context.Context, log.Record) error) error {
	if err := run.Retry.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if run.Workers < 0 || run.Failure > FailureParks || o.Committing != CommitMarked {
		return fmt.Errorf("%w: Workers %d, Failure %d, Committing %d", ErrOptions, run.Workers, run.Failure, o.Committing)
	}
	if run.DeadLetters == "" {
		run.DeadLetters = group + ".dead"
	}
	for {
		err := runOnce(ctx, l, group, o, run, handle)
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err()) || errors.Is(err, ErrClosed)):
			return nil
		case errors.Is(err, ErrClosed):
			continue // taken out: once more
		}
		return err
	}
}

// runner is one membership of Run.
type runner struct {
	m      *Member
	o      RunOptions
	handle func(context.Context, log.Record) error
	stop   context.CancelCauseFunc

	mu   sync.Mutex
	dead *log.Topic // the dead-letter topic, once it was needed; guarded by mu
}

func runOnce(ctx context.Context, l *log.Log, group string, o Options, run RunOptions, handle func(context.Context, log.Record) error) (err error) {
	m, err := Join(context.WithoutCancel(ctx), l, group, o)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	r := &runner{m: m, o: run, handle: handle, stop: stop}
	ls := newLanes(l.Options().Clock, run.Workers > 1, r.try)
	m.lanes.Store(ls)
	ls.start(ctx, max(run.Workers, 1))
	defer func() {
		stop(nil)
		ls.end()
		m.lanes.Store(nil)
		err = errors.Join(err, m.Close())
	}()
	for rec, err := range m.Records(ctx) {
		if err != nil {
			if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
				return cause
			}
			if errors.Is(err, log.ErrLost) || errors.Is(err, log.ErrCorrupt) {
				l.Options().Logger.Warn("records passed over", "group", group, "error", err.Error())
				continue
			}
			return err
		}
		ls.put(&rec)
	}
	return nil
}

// try makes one attempt at a record.
func (r *runner) try(ctx context.Context, j *job) time.Duration {
	err := r.handle(ctx, j.r)
	if err == nil {
		r.m.Mark(j.r)
		return 0
	}
	if ctx.Err() != nil {
		return 0 // it is not marked, and comes again
	}
	j.failed++
	if wait, again := r.o.Retry.Next(j.failed, err, rand.Float64()); again {
		return max(wait, 1)
	}
	if r.o.Failure == FailureStops {
		r.stop(fmt.Errorf("consumer: group %q: %s/%d offset %d: %w", r.m.g.name, j.r.Topic, j.r.Partition, j.r.Offset, err))
		return 0
	}
	if parkErr := r.park(ctx, j, err); parkErr != nil {
		if errors.Is(parkErr, ErrFenced) {
			return 0 // somebody else's now
		}
		// It is neither lost nor passed: it stays where it is, and is tried again.
		r.m.g.l.Options().Logger.Warn("record not parked, trying again", "group", r.m.g.name, "error", parkErr.Error())
		return max(r.o.Retry.Bound(j.failed), time.Millisecond)
	}
	return 0
}

// park puts a record into the dead-letter topic, once, in the commit that passes it when it is the first
// unfinished one.
func (r *runner) park(ctx context.Context, j *job, cause error) error {
	dead, err := r.deadLetters(ctx)
	if err != nil {
		return err
	}
	l := r.m.g.l
	c := l.NewCommit()
	c.Durability(log.Synced)
	d := record.Dead{
		Cause: cause.Error(), Attempts: j.failed, Topic: j.r.Topic, Partition: j.r.Partition, Offset: j.r.Offset,
		Group: r.m.g.name, Time: l.Now(),
	}
	parked := j.r.Clone()
	parked.Headers = d.AppendTo(parked.Headers)
	parked.Timestamp = time.Time{}
	c.Append(dead, parked)
	source, err := l.Topic(j.r.Topic)
	if err != nil {
		return err
	}
	// A crash before the offset is committed brings the record again: it is parked once all the same.
	c.Require(log.Once(fmt.Sprintf("parked/%s/%s/%d/%d", r.m.g.name, source.ID(), j.r.Partition, j.r.Offset)))
	cl := r.m.delivered(&j.r)
	if cl == nil {
		return &FencedError{Group: r.m.g.name, Topic: j.r.Topic, Partition: j.r.Partition}
	}
	passes := cl.isFirst(j.r.Offset)
	if passes {
		c.Require(onOffset(kindCommit, r.m.g.name, source, j.r.Partition, 0, Offset{
			Generation: cl.generation, Offset: j.r.Offset + 1, LeaderEpoch: -1, Time: l.Now().UnixMilli(),
		}))
	}
	if _, err := c.Commit(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	r.m.Mark(j.r)
	return nil
}

func (r *runner) deadLetters(ctx context.Context) (*log.Topic, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead != nil {
		return r.dead, nil
	}
	t, err := r.m.g.l.Topic(r.o.DeadLetters)
	if errors.Is(err, log.ErrNoTopic) {
		t, err = r.m.g.l.CreateTopic(context.WithoutCancel(ctx), r.o.DeadLetters, log.TopicOptions{})
	}
	r.dead = t
	return t, err
}
