package queue

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// Delivery is a message that was received: it is leased to its receiver, who says what becomes of it by
// one of Ack, Nack, NackAfter, Release and Reject, or by Done in a commit. When the lease ends before, the
// message is handed out again. Bytes are the receiver's. Methods may be called concurrently.
//
// The first call that is made counts; later ones are a *LeaseError, as are all when the lease has ended.
type Delivery struct {
	// Record is the message as it is in the queue's topic: Key, Value, Headers, Timestamp (when it was
	// sent), Offset (its id) and Position.
	log.Record
	// Attempt is which attempt this is, from 1.
	Attempt int
	// Until is when the lease ends, as of the receipt; zero when it is held until it is released.
	Until time.Time

	d      *dispatcher
	lease  uint64
	serial uint64
	traits traits
	synced bool
	ack    *log.Ack // of the take
}

func newDelivery(d *dispatcher, l *leased, r log.Record, t traits, a *log.Ack) *Delivery {
	return &Delivery{
		Record: r, Attempt: l.attempt, Until: timeOf(l.deadline), d: d, lease: l.lease.id, serial: l.serial, traits: t, ack: a,
	}
}

// ID returns the message's id: its offset in the queue's topic.
func (m *Delivery) ID() int64 { return m.Offset }

// Priority returns the message's priority.
func (m *Delivery) Priority() int { return int(m.traits.level) }

// ContentType returns the media type of the value, "" when it was not said.
func (m *Delivery) ContentType() string {
	v, _ := m.Header(HeaderContentType)
	return string(v)
}

// MaxAttempts returns how often the message is tried at most, negative for ever.
func (m *Delivery) MaxAttempts() int { return m.d.maxAttempts(&m.Record, m.traits) }

// maxAttempts returns how often a message is tried. What it was to be before it died does not count.
func (d *dispatcher) maxAttempts(r *log.Record, t traits) int {
	if _, died := r.Header(record.HeaderDeadCause); t.attempts == 0 || died {
		return d.o.Retry.Attempts
	}
	return t.attempts
}

// Receipt returns the token by which the message can be claimed from elsewhere: see Queue.Redeem.
func (m *Delivery) Receipt() string { return encodeReceipt(m.d.id, m.lease, m.Offset) }

const receiptBytes = 24

func encodeReceipt(id, lease uint64, offset int64) string {
	b := be.AppendUint64(make([]byte, 0, receiptBytes), id)
	b = be.AppendUint64(b, lease)
	b = be.AppendUint64(b, uint64(offset))
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeReceipt(receipt string) (id, lease uint64, offset int64, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(receipt)
	if err != nil || len(b) != receiptBytes {
		return 0, 0, 0, false
	}
	return be.Uint64(b), be.Uint64(b[8:]), int64(be.Uint64(b[16:])), true
}

// Redeem returns the delivery that a receipt stands for, also in another process and after a restart,
// while its lease lasts. A stale receipt is a *LeaseError, one that is none a *ReceiptError.
func (q *Queue) Redeem(ctx context.Context, receipt string) (*Delivery, error) {
	d := q.d
	id, lease, offset, ok := decodeReceipt(receipt)
	switch {
	case !ok:
		return nil, &ReceiptError{d.name, receipt, "it does not decode"}
	case id != d.id:
		return nil, &ReceiptError{d.name, receipt, "it is of another queue, or of an earlier one of this name"}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	if err := d.settleView(ctx); err != nil {
		return nil, err
	}
	l := d.byOffset[offset]
	if l == nil || l.lease.id != lease {
		return nil, &LeaseError{d.name, offset}
	}
	r, err := d.read(offset)
	if err != nil {
		return nil, err
	}
	return newDelivery(d, l, r, readTraits(r.Headers), nil), nil
}

// Done returns the condition that the message is still leased, which takes it off the queue with the
// commit that requires it. Otherwise the commit gets a *LeaseError.
func (m *Delivery) Done() log.Condition {
	return m.d.settlement(m.lease, true, outcome{what: done, offset: m.Offset})
}

func (d *dispatcher) settlement(lease uint64, strict bool, outcomes ...outcome) log.Condition {
	s := settle{strict, outcomes}
	return condition(conditionLease, leaseKey(d.id, lease), s.encode())
}

// Ack takes the message off the queue.
func (m *Delivery) Ack(ctx context.Context) error {
	return m.d.finish(ctx, m.synced, m.Done())
}

// finish is conclude for messages that are done: what can be received next is only touched by those of an
// ordered queue, or of one with a bound of those in flight.
func (d *dispatcher) finish(ctx context.Context, synced bool, conditions ...log.Condition) error {
	err := d.commit(ctx, synced, conditions)
	if d.o.Ordered || d.o.MaxInFlight > 0 {
		d.unsettled.Store(true)
	}
	return err
}

// conclude commits what becomes of messages, Written unless it is to be synced.
func (d *dispatcher) conclude(ctx context.Context, synced bool, conditions ...log.Condition) error {
	err := d.commit(ctx, synced, conditions)
	d.unsettled.Store(true)
	return err
}

func (d *dispatcher) commit(ctx context.Context, synced bool, conditions []log.Condition) error {
	c := d.newCommit(synced)
	c.Require(conditions...)
	_, err := c.Commit(ctx)
	return err
}

// newCommit returns one that is Written, unless it is to be synced.
func (d *dispatcher) newCommit(synced bool) *log.Commit {
	c := d.dir.l.NewCommit()
	c.Durability(log.Written)
	if synced {
		c.Durability(log.Synced)
	}
	return c
}

// Nack says that an attempt has failed, and why. The message can be received again when the backoff of the
// queue's Retry is over; behind the last attempt, and when cause is of Reject, it goes to the dead letters.
func (m *Delivery) Nack(ctx context.Context, cause error) error {
	d := m.d
	retry := d.o.Retry
	retry.Attempts = m.MaxAttempts()
	wait, again := retry.Next(m.Attempt, cause, d.dir.jitter())
	if !again || errors.Is(cause, ErrRejected) {
		return m.Reject(ctx, cause)
	}
	return m.NackAfter(ctx, wait, cause)
}

// NackAfter says that an attempt has failed, and why. The message can be received again after wait, 0 for
// at once, however many attempts were made: it does not go to the dead letters.
func (m *Delivery) NackAfter(ctx context.Context, wait time.Duration, cause error) error {
	o := outcome{what: returned, offset: m.Offset, cause: causeOf(cause)}
	if wait > 0 {
		o.what, o.until = delayed, micro(m.d.dir.l.Now().Add(wait))
	}
	return m.d.conclude(ctx, m.synced, m.d.settlement(m.lease, true, o))
}

func causeOf(cause error) string {
	if cause == nil {
		return ""
	}
	return shorten(cause.Error())
}

// Release gives the message back at once; this attempt does not count.
func (m *Delivery) Release(ctx context.Context) error {
	return m.d.conclude(ctx, m.synced, m.d.settlement(m.lease, true, outcome{what: released, offset: m.Offset}))
}

// Reject moves the message to the dead letters, with its history; a queue that discards drops it.
func (m *Delivery) Reject(ctx context.Context, cause error) error {
	return m.d.withDead(ctx, func() error {
		o := outcome{what: dead, offset: m.Offset, cause: causeOf(cause)}
		return m.d.buryTogether(ctx, []dying{{m.lease, m.Record, m.Attempt, o}}, m.synced)
	})
}

// Extend makes the lease end a time from now, in place of when it would have. It is durable.
func (m *Delivery) Extend(ctx context.Context, lease time.Duration) error {
	until := micro(m.d.dir.l.Now().Add(lease))
	return m.d.conclude(ctx, m.synced, m.d.settlement(m.lease, true, outcome{what: extended, offset: m.Offset, until: until}))
}

// History returns the attempts that have failed, the earliest first; only so many are remembered.
func (m *Delivery) History(ctx context.Context) ([]Attempt, error) {
	return m.d.history(ctx, m.Offset)
}

// Ack takes messages off the queue, all in one commit, so all of them or none.
func (q *Queue) Ack(ctx context.Context, messages ...*Delivery) error {
	if len(messages) == 0 {
		return nil
	}
	return q.d.finish(ctx, messages[0].synced, AllDone(messages...)...)
}

// AllDone returns the conditions that all of the messages are still leased, which take them off their
// queues with the commit that requires them.
func AllDone(messages ...*Delivery) []log.Condition {
	type claim struct {
		d     *dispatcher
		lease uint64
	}
	at := map[claim]int{}
	var claims []claim
	var outcomes [][]outcome
	for _, m := range messages {
		k := claim{m.d, m.lease}
		i, ok := at[k]
		if !ok {
			i = len(claims)
			at[k] = i
			claims, outcomes = append(claims, k), append(outcomes, nil)
		}
		outcomes[i] = append(outcomes[i], outcome{what: done, offset: m.Offset})
	}
	conditions := make([]log.Condition, len(claims))
	for i, k := range claims {
		conditions[i] = k.d.settlement(k.lease, true, outcomes[i]...)
	}
	return conditions
}
