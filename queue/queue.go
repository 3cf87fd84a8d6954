package queue

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// Queue is a handle on a queue. It is cheap, and safe for concurrent use.
type Queue struct{ d *dispatcher }

// Name returns the queue's name.
func (q *Queue) Name() string { return q.d.name }

// Options returns what the queue was declared with, with defaults.
func (q *Queue) Options() Options { return q.d.o }

// Topic returns the topic that holds the messages, as records that anybody may read.
func (q *Queue) Topic() *log.Topic { return q.d.topic }

// Send sends messages and returns their ids, which are their offsets in the queue's topic. They are
// durable as the log's default says, all in one commit, so all of them or none; but those with a DedupID
// go in a commit each, since each may have been sent before: its id is then the first one's. Send only
// reads the messages during the call.
//
// The error is an *InvalidError, a *NoQueueError, a *FullError when there is no room, or one of a commit. A
// message is to be 2 KiB shorter than records are at most (and than three quarters of a commit), so that it
// can die; a longer one is a *log.LimitError.
// With WaitWhenFull it waits for room until ctx ends; more messages than MaxDepth are refused at once.
func (q *Queue) Send(ctx context.Context, messages ...Message) ([]int64, error) {
	d := q.d
	single := false
	for i := range messages {
		single = single || messages[i].DedupID != ""
	}
	if len(messages) == 0 {
		return nil, log.ErrEmpty
	}
	if !single {
		return d.send(ctx, messages)
	}
	for i := range messages {
		if why := messages[i].check(&d.o); why != "" {
			return nil, &InvalidError{d.name, i, why}
		}
	}
	ids := make([]int64, 0, len(messages))
	for i := range messages {
		id, err := d.send(ctx, messages[i:i+1])
		if err != nil {
			return ids, err
		}
		ids = append(ids, id...)
	}
	return ids, nil
}

// send sends messages in one commit.
func (d *dispatcher) send(ctx context.Context, messages []Message) ([]int64, error) {
	c := d.dir.l.NewCommit()
	for {
		freed := d.in.freedChannelIf(d.o.bounded())
		if d.isEnded() { // behind the channel, which the end closes
			return nil, &NoQueueError{d.name}
		}
		removed, removedBytes := d.removed.Load(), d.removedBytes.Load()
		if err := d.stage(c, messages); err != nil {
			return nil, err
		}
		r, err := c.Commit(ctx)
		if err == nil {
			if special(messages) {
				d.unsettled.Store(true)
			}
			return idsOf(&r, len(messages)), nil
		}
		if !errors.Is(err, ErrQueueFull) {
			return nil, d.explain(err)
		}
		s, stateErr := d.state(ctx)
		if stateErr != nil {
			return nil, stateErr
		}
		d.noteRemoved(&s)
		if d.removed.Load() == removed && d.removedBytes.Load() == removedBytes {
			full := d.full(&s)
			if d.o.WhenFull == RejectWhenFull || d.neverFits(messages) {
				return nil, full
			}
			select {
			case <-freed:
			case <-ctx.Done():
				return nil, errors.Join(ctx.Err(), full)
			case <-d.dir.ctx.Done():
				return nil, log.ErrClosed
			}
		}
		c.Reset()
	}
}

// special reports whether the view has to say where one of the messages is.
func special(messages []Message) bool {
	for i := range messages {
		if m := &messages[i]; m.Priority > 0 || m.Delay != 0 || !m.At.IsZero() {
			return true
		}
	}
	return false
}

// idsOf returns the offsets of the messages, which are the only ones of their commit.
func idsOf(r *log.Result, n int) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = r.Offset + int64(i)
	}
	return ids
}

// explain turns what the log says of a topic that is gone into what it means.
func (d *dispatcher) explain(err error) error {
	if errors.Is(err, log.ErrNoTopic) {
		return &NoQueueError{d.name}
	}
	return err
}

func (d *dispatcher) full(s *state) error {
	return &FullError{Queue: d.name, Depth: s.depth(), Bytes: s.bytes, MaxDepth: d.o.MaxDepth, MaxBytes: d.o.MaxBytes}
}

func (d *dispatcher) neverFits(messages []Message) bool {
	bytes := int64(0)
	for i := range messages {
		bytes += int64(len(messages[i].Key) + len(messages[i].Value))
	}
	return d.o.MaxDepth > 0 && int64(len(messages)) > d.o.MaxDepth || d.o.MaxBytes > 0 && bytes > d.o.MaxBytes
}

// Stage adds messages to c: they are sent when c is committed, with everything else in it. On a queue
// that is full c gets a *FullError then, also with WaitWhenFull (what has left the queue by the time of Stage makes
// room), and with a DedupID that was sent before c as a whole is a duplicate. Two messages with the same are an
// *InvalidError here, or a *RepeatedError that c gets when they have come by two calls. c keeps no reference to the
// messages.
func (q *Queue) Stage(c *log.Commit, messages ...Message) error {
	if d := q.d; d.o.bounded() {
		// Send finds out when it is refused; nobody does here.
		s, err := d.state(context.Background())
		if err != nil {
			return err
		}
		d.noteRemoved(&s)
	}
	if special(messages) {
		q.d.staged.Store(true)
	}
	return q.d.stage(c, messages)
}

func (d *dispatcher) stage(c *log.Commit, messages []Message) error {
	now := d.dir.l.Now()
	records := make([]log.Record, len(messages))
	bytes := int64(0)
	var seen map[string]bool // DedupIDs
	for i := range messages {
		m := &messages[i]
		if why := m.check(&d.o); why != "" {
			return &InvalidError{d.name, i, why}
		}
		records[i] = m.record(&d.o, now)
		if n, most := record.EncodedRecordBytes(&records[i]), d.dir.letterBytes-deadRoom; n > most {
			return &log.LimitError{What: "record", Limit: int64(most), Got: int64(n)}
		}
		bytes += size(&records[i])
		if m.DedupID == "" {
			continue
		}
		if seen[m.DedupID] {
			return &InvalidError{d.name, i, "an earlier one has the same DedupID"}
		}
		if seen == nil && i+1 < len(messages) {
			seen = map[string]bool{}
		}
		if seen != nil {
			seen[m.DedupID] = true
		}
		u := dedup{now: now.UnixMicro()}
		if d.o.Dedup > 0 {
			u.until = now.Add(d.o.Dedup).UnixMicro()
		}
		c.Require(condition(conditionDedup, append(queueKey(d.id), m.DedupID...), u.encode()))
	}
	c.AppendAs(kind, d.p, records...)
	if d.o.bounded() {
		c.Require(room(d.id, int64(len(records)), bytes, d.most(d.o.MaxDepth, &d.removed), d.most(d.o.MaxBytes, &d.removedBytes)))
	}
	return nil
}

// most returns how much may ever have been sent, when so much has left.
func (d *dispatcher) most(bound int64, removed interface{ Load() int64 }) int64 {
	if bound == 0 {
		return math.MaxInt64
	}
	return removed.Load() + bound
}

// inOrder changes the headers of a message of another queue to those that messages of an ordered queue have:
// all of a key become due in the order in which they come.
func (d *dispatcher) inOrder(headers []record.Header) []record.Header {
	headers = slices.DeleteFunc(headers, func(h record.Header) bool { return h.Key == HeaderPriority })
	if d.o.Delay > 0 {
		due := strconv.AppendInt(nil, micro(d.dir.l.Now().Add(d.o.Delay)), 10)
		headers = append(headers, record.Header{Key: HeaderDue, Value: due})
	}
	return headers
}

// stageAnyway adds records to c for which there is always room. Their headers are changed.
func (d *dispatcher) stageAnyway(c *log.Commit, records ...log.Record) {
	bytes := int64(0)
	for i := range records {
		if d.o.Ordered {
			records[i].Headers = d.inOrder(records[i].Headers)
		}
		bytes += size(&records[i])
	}
	c.AppendAs(kind, d.p, records...)
	if d.o.bounded() {
		c.Require(room(d.id, int64(len(records)), bytes, math.MaxInt64, math.MaxInt64))
	}
}
