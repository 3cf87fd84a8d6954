package queue_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
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

// moment is the model as it was when so much of the log was written.
type moment struct {
	position uint64
	m        model
	out      int
}

// world is a log with queues beside the model.
type world struct {
	t       testing.TB
	rng     *rand.Rand
	fs      *vfs.MemFS
	clk     *clock.Manual
	l       *log.Log
	m       model
	out     int // records of the topic that acknowledgements go along with
	moments []moment
	open    map[string]*queue.Delivery // by receipt
	stale   []*queue.Delivery
	next    int
}

var queueNames = []string{"a", "b"}

func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

// options draws those of a queue.
func (w *world) options() queue.Options {
	o := queue.Options{Lease: time.Minute, Retry: timer.Retry{Attempts: 1 + w.rng.IntN(4), First: 10 * time.Second, Even: true}}
	switch w.rng.IntN(3) {
	case 0:
		o.Ordered = true
	case 1:
		o.Dedup = []time.Duration{queue.ForEver, time.Minute}[w.rng.IntN(2)]
	}
	if w.chance(3) {
		o.MaxDepth = 6
	}
	if w.chance(4) {
		o.MaxBytes = 40
	}
	if w.chance(4) {
		o.TTL = 90 * time.Second
	}
	if w.chance(4) {
		o.Delay = 20 * time.Second
	}
	if w.chance(4) {
		o.MaxInFlight = 3
	}
	o.Discard = w.chance(4)
	return o
}

func (w *world) declare(name string, o queue.Options) {
	q, err := queue.Declare(ctx, w.l, name, o)
	require.NoError(w.t, err)
	w.m[name] = &modelQueue{o: q.Options(), live: map[string]modelMessage{}, sentIDs: map[string]modelSent{}}
	if !o.Discard {
		w.deadOf(w.m[name])
	}
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

func (w *world) openLog() {
	l, err := log.Open("data", log.Options{FS: w.fs, Clock: w.clk, SyncInterval: -1, SegmentBytes: 64 << 10})
	require.NoError(w.t, err)
	w.l = l
}

// begin has the queues opened, so that what they do by themselves begins.
func (w *world) begin() {
	w.open, w.stale = map[string]*queue.Delivery{}, nil
	for name := range w.m {
		w.queue(name)
	}
	_, err := w.l.CreateTopic(ctx, "out", log.TopicOptions{})
	require.NoError(w.t, err)
}

func (w *world) queue(name string) *queue.Queue {
	q, err := queue.Open(ctx, w.l, name)
	require.NoError(w.t, err)
	return q
}

// waitFor polls for something that happens in the background without a clock.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); runtime.Gosched() {
		require.True(t, time.Now().Before(end), "it does not happen")
	}
}

// settle waits until leases have ended whose time is over, and ends them in the model.
func (w *world) settle(held bool) {
	now := w.l.Now()
	ended := 0
	for _, name := range w.names() {
		q := w.m[name]
		for _, value := range slices.Sorted(maps.Keys(q.live)) {
			m := q.live[value]
			if !m.leased || m.until.After(now) || m.until.IsZero() && !held {
				continue
			}
			ended++
			w.unlease(&m)
			if most := q.most(&m); most > 0 && m.attempts >= most {
				w.bury(q, value, m)
				q.dead++
			} else {
				q.live[value] = m
			}
		}
	}
	for name := range w.m {
		leased := 0
		for _, m := range w.m[name].live {
			if m.leased {
				leased++
			}
		}
		waitFor(w.t, func() bool {
			s, err := w.queue(name).Stats(ctx)
			require.NoError(w.t, err)
			return s.Leased <= int64(leased)
		})
	}
	if ended > 0 {
		require.NoError(w.t, w.l.Sync(ctx))
	}
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.m)) }

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

func (w *world) pick() (string, *modelQueue) {
	names := w.names()
	if !w.chance(5) {
		names = queueNames
	}
	name := names[w.rng.IntN(len(names))]
	return name, w.m[name]
}

// step does something at random.
func (w *world) step() {
	switch w.rng.IntN(26) {
	default:
		w.send()
	case 0, 1, 2, 3, 4:
		w.receive()
	case 5, 6, 7, 8, 9, 10, 11:
		w.conclude()
	case 12:
		w.concludeStale()
	case 13, 14, 15:
		w.clk.Advance(time.Duration(w.rng.IntN(40_000)) * time.Millisecond)
		w.settle(false)
	case 16:
		w.reopen()
	case 17:
		w.cancel()
	case 18:
		w.redrive()
	case 19:
		if w.chance(3) {
			w.purge()
		}
	case 20:
		if w.chance(4) {
			w.replace()
		}
	case 21:
		w.releaseOwner()
	}
	w.check()
	w.moments = append(w.moments, moment{w.l.Metrics().Written, w.m.clone(), w.out})
}

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
	ids, err := w.queue(name).Send(ctx, ms...)
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
	leased, plain := 0, true
	for _, m := range q.live {
		if m.leased {
			leased++
		}
		plain = plain && m.priority == 0 && m.expires.IsZero()
	}
	most := o.Max
	if q.o.MaxInFlight > 0 {
		most = max(0, min(most, q.o.MaxInFlight-leased))
	}
	ms, err := w.queue(name).Receive(ctx, o)
	require.NoError(w.t, err)
	require.Len(w.t, ms, min(most, len(want)), "%s of %v", name, want)
	if plain && !q.o.Ordered {
		require.Equal(w.t, want[:len(ms)], append([]string{}, values(ms)...))
	}
	if most > 0 {
		w.dropExpired(name, q)
	}
	for _, d := range ms {
		value := string(d.Value)
		require.Contains(w.t, want, value)
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
	switch w.rng.IntN(9) {
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
}

// reopen ends the log by Close or by a crash, and opens it again, perhaps without its views.
func (w *world) reopen() {
	fs := w.fs
	crash := w.rng.IntN(3)
	if crash > 0 {
		for _, q := range w.m {
			if q.o.Dedup > 0 { // forgetting is a commit of its own, whenever it comes
				require.NoError(w.t, w.l.Sync(ctx))
			}
		}
		synced := w.l.Position()
		unsynced := 100 // the process dies
		if crash == 2 {
			unsynced = w.rng.IntN(101)
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: w.rng})
		defer func() { require.GreaterOrEqual(w.t, w.l.Metrics().Written, synced) }()
	}
	require.NoError(w.t, w.l.Close())
	w.fs = fs
	if w.chance(3) {
		require.NoError(w.t, fs.RemoveAll("data/state"))
	}
	w.openLog()
	at := w.l.Metrics().Written
	for i := range slices.Backward(w.moments) {
		if w.moments[i].position <= at {
			w.m, w.out = w.moments[i].m.clone(), w.moments[i].out
			break
		}
	}
	w.begin()
	w.settle(true)
	require.NoError(w.t, w.l.Sync(ctx))
	w.moments = w.moments[:0]
}

// TestModel compares queues with the model, under calls, clocks and crashes at random: every message is in
// exactly one place, none is lost, none comes before its time or more often than it may, those of a key
// come in order, all counts are exact, and the view is byte for byte what the log says.
func TestModel(t *testing.T) {
	seeds, steps := 60, 120
	if testing.Short() {
		seeds = 16
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			w := &world{
				t: t, rng: rand.New(rand.NewPCG(seed, 50)), fs: vfs.NewCrashableMem(), clk: clock.NewManual(time.Unix(1e9, 0)), m: model{},
			}
			w.openLog()
			defer func() { _ = w.l.Close() }()
			w.begin()
			for _, name := range queueNames {
				w.declare(name, w.options())
			}
			w.moments = append(w.moments, moment{w.l.Metrics().Written, w.m.clone(), 0})
			for range steps {
				w.step()
			}
			view := queue.Dump(t, w.l)
			require.NoError(t, w.l.Close())
			require.NoError(t, w.fs.RemoveAll("data/state"))
			w.openLog()
			require.Equal(t, view, queue.Dump(t, w.l))
			require.NoError(t, w.l.Close())
		})
	}
}
