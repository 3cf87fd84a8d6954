package queue_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
)

func (w *world) send() {
	name := queueNames[w.rng.IntN(len(queueNames))]
	q := w.m[name]
	now := w.l.Now()
	n := 1 + w.rng.IntN(3)
	if q.o.Dedup != 0 {
		n = 1
	}
	var ms []queue.Message
	var models []modelMessage
	bytes := int64(0)
	for range n {
		w.next++
		m := queue.Message{Value: fmt.Append(nil, "m", w.next)}
		e := modelMessage{}
		if q.o.Ordered && !w.chance(4) {
			e.key = []string{"x", "y"}[w.rng.IntN(2)]
			m.Key = []byte(e.key)
		}
		if q.o.Delay > 0 {
			e.due, e.placed = now.Add(q.o.Delay), true
		}
		if !q.o.Ordered && w.chance(4) {
			m.Priority = w.rng.IntN(10)
			e.priority, e.placed = m.Priority, e.placed || m.Priority > 0
		}
		if !q.o.Ordered && w.chance(4) {
			m.Delay = time.Duration(1+w.rng.IntN(100)) * time.Second
			e.due, e.placed = now.Add(m.Delay), true
		}
		switch {
		case w.chance(6):
			m.TTL = time.Duration(1+w.rng.IntN(100)) * time.Second
			e.expires = now.Add(m.TTL)
		case q.o.TTL > 0:
			e.expires = now.Add(q.o.TTL)
		}
		if w.chance(4) {
			m.Attempts = 1 + w.rng.IntN(3)
			e.most = m.Attempts
		}
		if q.o.Dedup != 0 && !w.chance(3) {
			m.DedupID = fmt.Sprint("d", w.rng.IntN(6))
		}
		e.size = int64(len(m.Key) + len(m.Value))
		bytes += e.size
		ms, models = append(ms, m), append(models, e)
	}
	first, known := q.sentIDs[ms[0].DedupID]
	known = known && (first.until.IsZero() || first.until.After(now))
	depth, held := int64(len(q.live)), int64(0)
	for _, m := range q.live {
		held += m.size
	}
	full := q.o.MaxDepth > 0 && depth+int64(n) > q.o.MaxDepth || q.o.MaxBytes > 0 && held+bytes > q.o.MaxBytes
	send := w.queue(name).Send
	if w.chance(3) && q.o.Dedup == 0 {
		send = w.sendStaged(name)
	}
	ids, err := send(ctx, ms...)
	switch {
	case known:
		require.NoError(w.t, err)
		require.Equal(w.t, []int64{first.id}, ids)
		return
	case full:
		var facts *queue.FullError
		require.ErrorAs(w.t, err, &facts)
		require.Equal(w.t, queue.FullError{Queue: name, Depth: depth, Bytes: held, MaxDepth: q.o.MaxDepth, MaxBytes: q.o.MaxBytes}, *facts)
		return
	}
	require.NoError(w.t, err)
	for i, e := range models {
		e.id = ids[i]
		q.live[string(ms[i].Value)] = e
		if id := ms[i].DedupID; id != "" {
			s := modelSent{id: e.id}
			if q.o.Dedup > 0 {
				s.until = now.Add(q.o.Dedup)
			}
			q.sentIDs[id] = s
		}
	}
	q.sent += int64(n)
}

// sendStaged returns what sends messages by two calls of Stage, in a commit with others.
func (w *world) sendStaged(name string) func(context.Context, ...queue.Message) ([]int64, error) {
	return func(ctx context.Context, ms ...queue.Message) ([]int64, error) {
		q := w.queue(name)
		c := w.l.NewCommit()
		cut := w.rng.IntN(len(ms))
		if cut > 0 {
			require.NoError(w.t, q.Stage(c, ms[:cut]...))
		}
		require.NoError(w.t, q.Stage(c, ms[cut:]...))
		topic, err := w.l.Topic("out")
		require.NoError(w.t, err)
		c.Append(topic, log.Record{Value: []byte("sent")})
		r, err := c.Commit(ctx)
		var full *queue.FullError
		switch {
		case errors.As(err, &full): // which counts the messages of the first call; Send is exact
			return q.Send(ctx, ms...)
		case err != nil:
			return nil, err
		}
		w.out++
		ids := make([]int64, len(ms))
		for i := range ids {
			ids[i] = r.Offset + int64(i)
		}
		return ids, nil
	}
}
