package queue_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
)

// shown is what Messages shows of a message, times in µs.
type shown struct {
	ID       int64
	State    queue.State
	Attempts int
	Due      int64
	Owner    string
	Until    int64
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// look returns the messages of a queue, each of which is there once.
func (w *world) look(name string) map[string]shown {
	out := map[string]shown{}
	for info, err := range w.queue(name).Messages(ctx) {
		require.NoError(w.t, err)
		value := string(info.Record.Value)
		require.NotContains(w.t, out, value, "it is in two places")
		out[value] = shown{info.ID, info.State, info.Attempts, micro(info.Due), info.Owner, micro(info.Until)}
	}
	return out
}

func lines(m map[string]shown) string {
	var out strings.Builder
	for _, value := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&out, "%s %+v\n", value, m[value])
	}
	return out.String()
}

// check compares everything.
func (w *world) check() {
	now := w.l.Now()
	for _, name := range w.names() {
		q := w.m[name]
		got := w.look(name)
		want := map[string]shown{}
		var stats queue.Stats
		for value, m := range q.live {
			if m.id < 0 && got[value].Attempts == 0 {
				m.id = got[value].ID // of one that another queue has sent
				q.live[value] = m
			}
			s := shown{ID: m.id, Attempts: m.attempts}
			switch {
			case m.leased:
				s.State, s.Owner, s.Until = queue.Leased, m.owner, micro(m.until)
				stats.Leased++
			case m.due.After(now):
				s.State, s.Due = queue.Delayed, micro(m.due)
				stats.Delayed++
			case got[value].State == queue.Blocked && q.o.Ordered && m.key != "" && m.attempts == 0:
				s.State = queue.Blocked
				stats.Blocked++
			default:
				stats.Ready++
			}
			stats.Bytes += m.size
			want[value] = s
		}
		require.Equal(w.t, lines(want), lines(got), name)
		stats.Sent, stats.Done, stats.Dead, stats.Dropped = q.sent, q.done, q.dead, q.dropped
		require.Equal(w.t, stats.Sent, int64(len(q.live))+stats.Done+stats.Dead+stats.Dropped, "each is in one place")
		if !q.o.Discard {
			if dead := w.m[q.o.DeadLetter]; dead != nil {
				stats.DeadLetters = int64(len(dead.live))
			}
		}
		s, err := w.queue(name).Stats(ctx)
		require.NoError(w.t, err)
		s.Oldest = 0
		require.Equal(w.t, stats, s, name)
	}
	n := 0
	topic, err := w.l.Topic("out")
	require.NoError(w.t, err)
	for _, err := range topic.Read(log.Oldest, log.ReadOptions{Unsynced: true}) {
		require.NoError(w.t, err)
		n++
	}
	require.Equal(w.t, w.out, n)
}
