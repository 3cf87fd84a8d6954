package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// errNoDead is returned inside of the package when the queue of the dead letters is not there.
var errNoDead = errors.New("queue: the dead letters are gone")

// bury adds the message to c, for the dead letters.
func (d *dispatcher) bury(c *log.Commit, r *log.Record, attempts int, cause string, history []Attempt) error {
	to := d.dead.Load()
	if to == nil || to.isEnded() {
		return errNoDead
	}
	dead := record.Dead{
		Cause: cause, Attempts: attempts, Topic: d.name, Partition: 0, Offset: r.Offset, Group: d.name, Time: d.dir.l.Now(),
	}
	for _, a := range history {
		dead.History = append(dead.History, record.DeadAttempt{Time: a.Time, Cause: a.Cause})
	}
	letter := log.Record{Key: r.Key, Value: r.Value}
	for {
		letter.Headers = dead.AppendTo(withoutTraits(r.Headers))
		if len(dead.History) == 0 || record.EncodedRecordBytes(&letter) <= d.dir.letterBytes {
			break
		}
		dead.History = dead.History[len(dead.History)/2+len(dead.History)%2:] // the latest attempts say most
	}
	to.stageAnyway(c, letter)
	return nil
}

func (d *dispatcher) isEnded() bool {
	d.dir.mu.RLock()
	defer d.dir.mu.RUnlock()
	return d.dir.byID[d.id] != d
}

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
// attempt on and without the headers of their death, each in one commit that takes it off here. It returns
// how many were moved. A message that is leased is passed over. One whose queue is not there is an error,
// behind those that were moved before.
func (q *Queue) Redrive(ctx context.Context, o RedriveOptions) (int, error) {
	if o.Max < 0 || !(o.Rate >= 0) {
		return 0, fmt.Errorf("%w: Max %d, Rate %v", ErrOptions, o.Max, o.Rate)
	}
	targets := map[string]*Queue{}
	moved := 0
	begun := q.d.dir.l.Options().Clock.Monotonic()
	for info, err := range q.Messages(ctx) {
		if err != nil {
			return moved, err
		}
		if o.Max > 0 && moved >= o.Max {
			return moved, nil
		}
		if info.State == Leased || o.Filter != nil && !o.Filter(info) {
			continue
		}
		if o.Rate > 0 {
			if err := q.d.pace(ctx, begun, moved, o.Rate); err != nil {
				return moved, err
			}
		}
		err := q.redrive(ctx, info, o.To, targets)
		switch {
		case errors.Is(err, ErrNoMessage) || errors.Is(err, ErrLeased):
		case err != nil:
			return moved, fmt.Errorf("queue: message %d of %q: %w", info.ID, q.d.name, err)
		default:
			moved++
		}
	}
	return moved, nil
}

// pace waits until so many may have been moved.
func (d *dispatcher) pace(ctx context.Context, begun time.Duration, moved int, rate float64) error {
	clock := d.dir.l.Options().Clock
	at := begun + time.Duration(float64(moved)/rate*float64(time.Second))
	left := at - clock.Monotonic()
	if left <= 0 {
		return ctx.Err()
	}
	t := clock.NewTimer(left)
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

func (q *Queue) redrive(ctx context.Context, info *Info, to string, targets map[string]*Queue) error {
	if to == "" {
		dead, err := record.ParseDead(info.Record.Headers)
		if err != nil {
			return err
		}
		to = dead.Topic
	}
	target := targets[to]
	if target == nil {
		var err error
		if target, err = Open(ctx, q.d.dir.l, to); err != nil {
			return err
		}
		targets[to] = target
	}
	return q.d.remove(ctx, info.ID, func(c *log.Commit) {
		r := info.Record
		target.d.stageAnyway(c, log.Record{Key: r.Key, Value: r.Value, Headers: record.WithoutDead(withoutTraits(r.Headers))})
	})
}
