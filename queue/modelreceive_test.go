package queue_test

import (
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
)

func (w *world) receive() {
	name, q := w.pick()
	now := w.l.Now()
	o := queue.ReceiveOptions{Max: 1 + w.rng.IntN(5), Owner: []string{"", "alice", "bob"}[w.rng.IntN(3)], Synced: w.chance(4)}
	until := now.Add(q.o.Lease)
	switch w.rng.IntN(4) {
	case 0:
		o.Held = true
		until = time.Time{}
	case 1:
		o.Lease = time.Duration(1+w.rng.IntN(50)) * time.Second
		until = now.Add(o.Lease)
	}
	want := q.canGo(now)
	leased, expired, plain := 0, 0, true
	for _, m := range q.live {
		if m.leased {
			leased++
		}
		if m.expired(now) {
			expired++
		}
		plain = plain && m.priority == 0 && m.expires.IsZero() && (!w.tiny || m.due.IsZero())
	}
	most := o.Max
	if w.tiny {
		most = min(most, tinyAside)
	}
	if q.o.MaxInFlight > 0 {
		most = max(0, min(most, q.o.MaxInFlight-leased))
	}
	ms, err := w.queue(name).Receive(ctx, o)
	require.NoError(w.t, err)
	if (w.tiny || expired > 8) && len(ms) > 0 { // others were set aside, or died, as many as one commit does
		require.LessOrEqual(w.t, len(ms), min(most, len(want)), "%s of %v", name, want)
	} else {
		require.Len(w.t, ms, min(most, len(want)), "%s of %v", name, want)
	}
	if plain && !q.o.Ordered {
		require.Equal(w.t, want[:len(ms)], append([]string{}, values(ms)...))
	}
	if most > 0 {
		w.dropExpired(name, q)
	}
	if expired > 0 { // they are dropped by commits of their own, between which the model has no moment
		require.NoError(w.t, w.l.Sync(ctx))
	}
	w.calls++
	for _, d := range ms {
		value := string(d.Value)
		require.Contains(w.t, want, value)
		w.serial++
		m := q.live[value]
		require.Equal(w.t, m.id, d.ID())
		m.attempts++
		require.Equal(w.t, m.attempts, d.Attempt)
		require.Equal(w.t, m.priority, d.Priority())
		require.Equal(w.t, q.most(&m), d.MaxAttempts())
		if most := d.MaxAttempts(); most > 0 && !m.died {
			require.LessOrEqual(w.t, d.Attempt, most)
		}
		require.True(w.t, until.Equal(d.Until), "%v %v", until, d.Until)
		m.call, m.opening, m.serial = w.calls, w.opening, w.serial
		m.leased, m.owner, m.until, m.receipt, m.placed, m.due = true, o.Owner, until.UTC(), d.Receipt(), true, time.Time{}
		if until.IsZero() {
			m.until = time.Time{}
		}
		q.live[value] = m
		w.open[m.receipt] = d
	}
}

// dropExpired takes out of the model what had expired and was met.
func (w *world) dropExpired(name string, q *modelQueue) {
	now := w.l.Now()
	got := w.look(name)
	for _, value := range slices.Sorted(maps.Keys(q.live)) {
		m := q.live[value]
		if _, there := got[value]; there || !m.expired(now) {
			continue
		}
		w.bury(q, value, m)
		q.dropped++
	}
}

// leasedMessage draws one.
func (w *world) leasedMessage() (name string, q *modelQueue, value string) {
	for _, name := range w.names() {
		q := w.m[name]
		for _, value := range slices.Sorted(maps.Keys(q.live)) {
			if q.live[value].leased && w.chance(2) {
				return name, q, value
			}
		}
	}
	return "", nil, ""
}

// delivery returns the delivery of a leased message, from its receipt when the log was opened anew.
func (w *world) delivery(name string, m *modelMessage) *queue.Delivery {
	d := w.open[m.receipt]
	if d == nil || w.chance(4) {
		again, err := w.queue(name).Redeem(ctx, m.receipt)
		require.NoError(w.t, err)
		require.Equal(w.t, m.attempts, again.Attempt)
		d = again
		w.open[m.receipt] = d
	}
	return d
}

func (w *world) conclude() {
	name, q, value := w.leasedMessage()
	if q == nil {
		return
	}
	m := q.live[value]
	d := w.delivery(name, &m)
	now := w.l.Now()
	switch w.rng.IntN(11) {
	case 9, 10:
		w.ackUpTo(name, q, value, d)
	case 0, 1:
		require.NoError(w.t, d.Ack(ctx))
		w.leave(q, value)
		q.done++
	case 2, 3:
		c := w.l.NewCommit()
		c.Durability(log.Durability(w.rng.IntN(3)))
		topic, err := w.l.Topic("out")
		require.NoError(w.t, err)
		c.Append(topic, log.Record{Value: d.Value})
		c.Require(d.Done())
		_, err = c.Commit(ctx)
		require.NoError(w.t, err)
		w.leave(q, value)
		q.done++
		w.out++
	case 4, 5:
		require.NoError(w.t, d.Nack(ctx, errTest))
		if most := q.most(&m); most > 0 && m.attempts >= most {
			w.bury(q, value, m)
			q.dead++
			return
		}
		w.unlease(&m)
		m.due = now.Add(q.o.Retry.Bound(m.attempts))
		if !q.o.Retry.Even {
			m.due = w.jittered(name, value, now, m.due)
		}
		q.live[value] = m
	case 6:
		require.NoError(w.t, d.Release(ctx))
		w.unlease(&m)
		m.attempts--
		q.live[value] = m
	case 7:
		require.NoError(w.t, d.Reject(ctx, errTest))
		w.bury(q, value, m)
		q.dead++
	case 8:
		require.NoError(w.t, d.Extend(ctx, 70*time.Second))
		m.until = now.Add(70 * time.Second).UTC()
		q.live[value] = m
	}
}

// ackUpTo acknowledges a message and those that its owner, or its call, had before.
func (w *world) ackUpTo(name string, q *modelQueue, value string, d *queue.Delivery) {
	require.NoError(w.t, w.queue(name).AckUpTo(ctx, d))
	own := q.live[value]
	for _, other := range slices.Sorted(maps.Keys(q.live)) {
		m := q.live[other]
		mine := m.call == own.call || own.owner != "" && m.owner == own.owner && m.opening == w.opening && own.opening == w.opening
		if m.leased && mine && m.serial <= own.serial {
			w.leave(q, other)
			q.done++
		}
	}
}

// jittered returns when a message is due, which is drawn.
func (w *world) jittered(name, value string, now, latest time.Time) time.Time {
	for info, err := range w.queue(name).Messages(ctx) {
		require.NoError(w.t, err)
		if string(info.Record.Value) == value && !info.Due.IsZero() {
			require.False(w.t, info.Due.Before(now) || info.Due.After(latest), info.Due)
			return info.Due
		}
	}
	return time.Time{}
}

// concludeStale shows that no call does anything when the lease is gone.
func (w *world) concludeStale() {
	if len(w.stale) == 0 {
		return
	}
	d := w.stale[w.rng.IntN(len(w.stale))]
	c := w.l.NewCommit()
	topic, err := w.l.Topic("out")
	require.NoError(w.t, err)
	c.Append(topic, log.Record{Value: d.Value})
	c.Require(d.Done())
	_, err = c.Commit(ctx)
	for _, err := range []error{
		err, d.Ack(ctx), d.Nack(ctx, errTest), d.NackAfter(ctx, 0, errTest), d.Release(ctx), d.Reject(ctx, errTest), d.Extend(ctx, time.Hour),
	} {
		require.ErrorIs(w.t, err, queue.ErrLease)
	}
}

func (w *world) releaseOwner() {
	name, q := w.pick()
	n := 0
	for _, value := range slices.Sorted(maps.Keys(q.live)) {
		m := q.live[value]
		if !m.leased || m.owner != "alice" {
			continue
		}
		n++
		w.unlease(&m)
		if most := q.most(&m); most > 0 && m.attempts >= most {
			w.bury(q, value, m)
			q.dead++
		} else {
			q.live[value] = m
		}
	}
	got, err := w.queue(name).ReleaseOwner(ctx, "alice")
	require.NoError(w.t, err)
	require.Equal(w.t, n, got)
	if n > 1 { // by several commits, between which the model has no moment
		require.NoError(w.t, w.l.Sync(ctx))
	}
}
