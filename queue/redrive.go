package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// RedriveOptions says which dead letters go where. The zero value takes all back to where they were.
type RedriveOptions struct {
	// To is the queue to which they go. Empty is, for each, the one in which it died.
	To string
	// Filter selects by the message; what it is given is valid during the call. Nil is all.
	Filter func(*Info) bool
	// Max is how many are moved at most. Zero is all that are there when the call begins.
	Max int
	// Rate is how many are moved a second at most. Zero is as fast as it goes.
	Rate float64
}

// Redrive moves messages of q, a queue of dead letters, to where they can be tried again, from the first
// attempt on and without the headers of their death, by commits that take them off here. It returns how many were
// moved. A message that is leased is passed over. One whose queue is not there is an error, behind those that
// were moved before.
func (q *Queue) Redrive(ctx context.Context, o RedriveOptions) (int, error) {
	if o.Max < 0 || !(o.Rate >= 0) {
		return 0, fmt.Errorf("%w: queue %q: Max %d, Rate %v", ErrOptions, q.d.name, o.Max, o.Rate)
	}
	r := &redrive{q: q, to: o.To, targets: map[string]*Queue{}}
	if o.To != "" {
		if err := r.target(ctx, o.To); err != nil {
			return 0, err
		}
	}
	begun := q.d.dir.l.Options().Clock.Monotonic()
	for info, err := range q.Messages(ctx) {
		if err != nil {
			err = errors.Join(err, r.flush(ctx)) // before moved is read
			return r.moved, err
		}
		if o.Max > 0 && r.moved+len(r.batch) >= o.Max {
			// Some of the batch may be passed over.
			if err := r.flush(ctx); err != nil || r.moved >= o.Max {
				return r.moved, err
			}
		}
		if info.State == Leased || o.Filter != nil && !o.Filter(info) {
			continue
		}
		if o.Rate > 0 {
			// So long a time that it is no time.Duration is for ever.
			after := min(float64(r.moved+len(r.batch))/o.Rate*float64(time.Second), 1<<62)
			at := begun + time.Duration(after)
			if err := r.pace(ctx, at); err != nil {
				return r.moved, err
			}
		}
		if err := r.add(ctx, info); err != nil {
			return r.moved, err
		}
	}
	err := r.flush(ctx)
	return r.moved, err
}

// redrive is one call of Redrive.
type redrive struct {
	q       *Queue
	to      string
	targets map[string]*Queue // by name, those that were used
	batch   []redriven
	bytes   int // of batch
	moved   int
}

// redriven is a message that is about to be moved.
type redriven struct {
	id     int64
	to     *Queue
	record log.Record
}

func (r *redrive) target(ctx context.Context, name string) (err error) {
	if r.targets[name] == nil {
		r.targets[name], err = Open(ctx, r.q.d.dir.l, name)
	}
	return err
}

// pace waits until at, a reading of the monotonic clock, with nothing kept back meanwhile.
func (r *redrive) pace(ctx context.Context, at time.Duration) error {
	d := r.q.d
	clock := d.dir.l.Options().Clock
	if at <= clock.Monotonic() {
		return ctx.Err()
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	t := clock.NewTimer(at - clock.Monotonic())
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-d.dir.ctx.Done():
		return log.ErrClosed
	}
}

func (r *redrive) add(ctx context.Context, info *Info) error {
	d := r.q.d
	to := r.to
	err := ctx.Err()
	if to == "" && err == nil {
		var dead record.Dead
		dead, err = record.ParseDead(info.Record.Headers)
		to = dead.Topic
	}
	if err == nil {
		err = r.target(ctx, to)
	}
	if err != nil {
		return errors.Join(r.flush(ctx), fmt.Errorf("queue: message %d of %q: %w", info.ID, d.name, err))
	}
	letter := info.Record
	letter.Headers = record.WithoutDead(withoutTraits(letter.Headers))
	r.batch = append(r.batch, redriven{info.ID, r.targets[to], log.Record{Key: letter.Key, Value: letter.Value, Headers: letter.Headers}})
	r.bytes += record.EncodedRecordBytes(&letter)
	if len(r.batch) >= d.dir.limits.aside || r.bytes >= d.dir.together() {
		return r.flush(ctx)
	}
	return nil
}

// flush moves what has come together.
func (r *redrive) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	batch := r.batch
	r.batch, r.bytes = nil, 0
	rs := make([]removal, len(batch))
	for i := range batch {
		rs[i].id = batch[i].id
	}
	err := r.q.d.remove(ctx, rs, func(c *log.Commit, i int) { batch[i].to.d.stageAnyway(c, batch[i].record) })
	if err != nil {
		return fmt.Errorf("queue: messages %d to %d of %q: %w", batch[0].id, batch[len(batch)-1].id, r.q.d.name, err)
	}
	for i := range rs {
		if rs[i].refused == nil {
			r.moved++
		}
	}
	return nil
}
