package queue_test

import (
	"maps"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/queue"
)

func (w *world) cancel() {
	name, q := w.pick()
	for _, value := range slices.Sorted(maps.Keys(q.live)) {
		if !w.chance(3) {
			continue
		}
		m := q.live[value]
		err := w.queue(name).Cancel(ctx, m.id)
		if m.leased {
			var facts *queue.LeasedError
			require.ErrorAs(w.t, err, &facts)
			require.Equal(w.t, m.owner, facts.Owner)
			return
		}
		require.NoError(w.t, err)
		w.leave(q, value)
		q.dropped++
		require.ErrorIs(w.t, w.queue(name).Cancel(ctx, m.id), queue.ErrNoMessage)
		return
	}
}

func (w *world) purge() {
	name, q := w.pick()
	n := int64(0)
	for value, m := range q.live {
		if !m.leased {
			n++
			delete(q.live, value)
		}
	}
	got, err := w.queue(name).Purge(ctx)
	require.NoError(w.t, err)
	require.Equal(w.t, n, got)
	q.dropped += n
}

func (w *world) redrive() {
	name := queueNames[w.rng.IntN(len(queueNames))]
	to := w.m[name]
	from := w.m[to.o.DeadLetter]
	if from == nil || from == to {
		return
	}
	o := queue.RedriveOptions{Max: w.rng.IntN(3)}
	if w.chance(2) {
		o.Filter = func(i *queue.Info) bool { return i.Record.Value[len(i.Record.Value)-1]%2 == 0 }
	}
	n, err := w.queue(to.o.DeadLetter).Redrive(ctx, o)
	require.NoError(w.t, err)
	got := w.look(to.o.DeadLetter)
	moved := 0
	for _, value := range slices.Sorted(maps.Keys(from.live)) {
		if _, there := got[value]; there {
			continue
		}
		m := w.leave(from, value)
		from.dropped++
		m.died = false
		w.arrive(to, value, m)
		moved++
	}
	require.Equal(w.t, n, moved)
	if o.Max > 0 {
		require.LessOrEqual(w.t, n, o.Max)
	}
}

// replace deletes a queue, and declares another of the same name unless that is for dead letters.
func (w *world) replace() {
	name, q := w.pick()
	for _, value := range slices.Sorted(maps.Keys(q.live)) {
		w.leave(q, value)
	}
	require.NoError(w.t, queue.Delete(ctx, w.l, name))
	require.ErrorIs(w.t, queue.Delete(ctx, w.l, name), queue.ErrNoQueue)
	delete(w.m, name)
	if slices.Contains(queueNames, name) {
		w.declare(name, w.options())
	}
}
