package queue_test

import (
	"maps"
	"slices"
	"time"

	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/timer"
)

// modelMessage is a message that is in a queue. It is in exactly one place: leased, delayed, or neither.
type modelMessage struct {
	id       int64 // -1 until it is looked up
	key      string
	priority int
	attempts int // made
	most     int // of its own, 0 for the queue's
	died     bool
	placed   bool      // it has a place of its own, before the backlog
	due      time.Time // delayed until then
	expires  time.Time
	leased   bool
	receipt  string
	owner    string
	until    time.Time // of the lease, zero when held
	call     int       // of Receive, that made the lease
	opening  int       // of the log, in which that was
	serial   int       // of handing out
	size     int64
}

type modelSent struct {
	id    int64
	until time.Time
}

// modelQueue is what the naive queue is: a map. Values are unique.
type modelQueue struct {
	o                         queue.Options
	live                      map[string]modelMessage
	sent, done, dead, dropped int64
	sentIDs                   map[string]modelSent
}

type model map[string]*modelQueue

func (m model) clone() model {
	out := model{}
	for name, q := range m {
		c := *q
		c.live, c.sentIDs = maps.Clone(q.live), maps.Clone(q.sentIDs)
		out[name] = &c
	}
	return out
}

// deadOf returns the dead letters of q, which begin when they are needed.
func (w *world) deadOf(q *modelQueue) *modelQueue {
	name := q.o.DeadLetter
	if w.m[name] == nil {
		o := queue.Options{Lease: 30 * time.Second, Discard: true, Retry: timer.Retry{Attempts: -1}}
		w.m[name] = &modelQueue{o: o, live: map[string]modelMessage{}, sentIDs: map[string]modelSent{}}
	}
	return w.m[name]
}

func (q *modelQueue) most(m *modelMessage) int {
	if m.most == 0 || m.died {
		return q.o.Retry.Attempts
	}
	return m.most
}

// unlease makes a leased message ready.
func (w *world) unlease(m *modelMessage) {
	if d := w.open[m.receipt]; d != nil {
		w.stale = append(w.stale, d)
		delete(w.open, m.receipt)
	}
	m.leased, m.receipt, m.owner, m.until, m.placed, m.due = false, "", "", time.Time{}, true, time.Time{}
}

// leave takes a message out.
func (w *world) leave(q *modelQueue, value string) modelMessage {
	m := q.live[value]
	w.unlease(&m)
	delete(q.live, value)
	return m
}

// bury moves a message to the dead letters.
func (w *world) bury(q *modelQueue, value string, m modelMessage) {
	w.leave(q, value)
	if !q.o.Discard {
		m.died = true
		w.arrive(w.deadOf(q), value, m)
	}
}

// arrive puts a message of another queue to the end of q.
func (w *world) arrive(q *modelQueue, value string, m modelMessage) {
	if q.o.Ordered {
		m.priority = 0
	}
	e := modelMessage{id: -1, key: m.key, priority: m.priority, most: m.most, died: m.died, placed: m.priority > 0, size: m.size}
	if q.o.Ordered && q.o.Delay > 0 {
		e.due, e.placed = w.l.Now().Add(q.o.Delay), true
	}
	q.live[value] = e
	q.sent++
}

func (m *modelMessage) expired(now time.Time) bool {
	return !m.expires.IsZero() && !m.expires.After(now) && !m.leased && !m.due.After(now)
}

// canGo returns the values of what can be received, in order when there are no priorities.
func (q *modelQueue) canGo(now time.Time) []string {
	out := []string{}
	for value, m := range q.live {
		if m.leased || m.due.After(now) || m.expired(now) || q.o.Ordered && q.heldUp(value, now) {
			continue
		}
		out = append(out, value)
	}
	slices.SortFunc(out, func(a, b string) int {
		x, y := q.live[a], q.live[b]
		if x.placed != y.placed {
			return map[bool]int{true: -1, false: 1}[x.placed]
		}
		return int(x.id - y.id)
	})
	return out
}

// heldUp reports whether an earlier message of the key is not done with, nor about to be dropped.
func (q *modelQueue) heldUp(value string, now time.Time) bool {
	m := q.live[value]
	for other, o := range q.live {
		if other != value && m.key != "" && o.key == m.key && o.id < m.id && !o.expired(now) {
			return true
		}
	}
	return false
}
