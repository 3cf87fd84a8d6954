package queue

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/stratalog/strata/log"
)

// State says where a message is.
type State uint8

const (
	// Ready messages can be received now.
	Ready State = iota
	// Delayed messages can be received later.
	Delayed
	// Blocked messages wait for an earlier one of their key, on an ordered queue.
	Blocked
	// Leased messages are with a receiver.
	Leased
)

func (s State) String() string {
	switch s {
	case Delayed:
		return "delayed"
	case Blocked:
		return "blocked"
	case Leased:
		return "leased"
	}
	return "ready"
}

// Info is a message as Messages shows it.
type Info struct {
	ID       int64
	State    State
	Attempts int       // made so far, one that is under way included
	Due      time.Time // of a delayed message
	Owner    string    // of a leased message, "" when it did not say
	Until    time.Time // when its lease ends, as far as that is recorded; zero when it is held
	History  []Attempt // that failed, the earliest first
	Record   log.Record
}

// Messages yields the messages of the queue: what is leased, what can be received, by priority, what is
// delayed, by when it is due, what is blocked, and the rest of the backlog. Each part is as of one moment.
// What a message holds is the caller's. An error is the last pair.
func (q *Queue) Messages(ctx context.Context) iter.Seq2[*Info, error] {
	return func(yield func(*Info, error) bool) {
		for info, err := range q.Leases(ctx) {
			if !yield(info, err) || err != nil {
				return
			}
		}
		d := q.d
		s, err := d.state(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, p := range []byte{prefixReady, prefixDelayed, prefixWaiting} {
			if !d.listKeys(ctx, keyOf(p, d.id), yield) {
				return
			}
		}
		d.listBacklog(ctx, &s, yield)
	}
}

func (d *dispatcher) listKeys(ctx context.Context, prefix []byte, yield func(*Info, error) bool) bool {
	now := d.now()
	for kv, err := range d.dir.view.Scan(ctx, prefix, after(prefix)) {
		if err != nil {
			yield(nil, err)
			return false
		}
		it, ok := parseItem(kv.Key, kv.Value)
		if !ok {
			yield(nil, ErrCorrupt)
			return false
		}
		info := &Info{ID: it.offset, Attempts: int(it.attempts)}
		switch {
		case it.in == inWaiting:
			info.State = Blocked
		case it.in == inDelayed && it.due > now:
			info.State, info.Due = Delayed, timeOf(it.due)
		}
		if !d.show(ctx, info, yield) {
			return false
		}
	}
	return true
}

// show completes info and yields it. A record that damage has taken is left out.
func (d *dispatcher) show(ctx context.Context, info *Info, yield func(*Info, error) bool) bool {
	r, err := d.read(info.ID)
	if errors.Is(err, log.ErrLost) {
		return true
	}
	if err != nil {
		yield(nil, err)
		return false
	}
	info.Record = r
	if info.Attempts > 0 {
		if info.History, err = d.history(ctx, info.ID); err != nil {
			yield(nil, err)
			return false
		}
	}
	return yield(info, nil)
}

func (d *dispatcher) listBacklog(ctx context.Context, s *state, yield func(*Info, error) bool) {
	if s.backlog == 0 {
		return
	}
	gone := map[int64]bool{}
	prefix := keyOf(prefixGone, d.id)
	for kv, err := range d.dir.view.Scan(ctx, prefix, after(prefix)) {
		if err != nil {
			yield(nil, err)
			return
		}
		gone[int64(be.Uint64(kv.Key[len(prefix):]))] = true
	}
	for r, err := range d.p.Read(log.AtOffset(s.head), log.ReadOptions{Unsynced: true}) {
		if errors.Is(err, log.ErrLost) {
			continue
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(nil, err)
			return
		}
		if r.Offset >= s.end {
			return
		}
		if t := readTraits(r.Headers); gone[r.Offset] || t.due > 0 || t.level > 0 {
			continue
		}
		if !yield(&Info{ID: r.Offset, Record: r.Clone()}, nil) {
			return
		}
	}
}

// Leases yields the messages that are leased, by whom and until when. An error is the last pair.
func (q *Queue) Leases(ctx context.Context) iter.Seq2[*Info, error] {
	return func(yield func(*Info, error) bool) {
		d := q.d
		prefix := keyOf(prefixLease, d.id)
		for kv, err := range d.dir.view.Scan(ctx, prefix, after(prefix)) {
			if err != nil {
				yield(nil, err)
				return
			}
			owner, entries, ok := splitLease(kv.Value)
			if !ok {
				yield(nil, ErrCorrupt)
				return
			}
			for ; len(entries) > 0; entries = entries[entryBytes:] {
				e := decodeEntry(entries)
				info := &Info{ID: e.offset, State: Leased, Attempts: int(e.attempts), Owner: owner, Until: timeOf(e.deadline)}
				if !d.show(ctx, info, yield) {
					return
				}
			}
		}
	}
}

// Stats are counts of a queue. Ready, Delayed, Blocked and Leased together are its depth; they are exact,
// and of one moment but for what becomes due in that moment.
type Stats struct {
	Ready   int64 // can be received now; a message that has expired counts until it is met
	Delayed int64
	// Blocked messages have been met and wait behind their key; they count until they are handed out. Those
	// of an ordered queue that were not met yet count as ready.
	Blocked int64
	Leased  int64
	Bytes   int64 // of keys and values of all of these
	// DeadLetters is the depth of the queue to which this one's dead letters go, also those of others.
	DeadLetters int64
	// Ever, since the queue was declared: Sent messages, and of those Done, Dead (moved to the dead letters
	// or discarded, but for expired ones) and Dropped (expired, cancelled, purged, redriven).
	Sent, Done, Dead, Dropped int64
	// Oldest is how long ago the message was sent that is received next but for priorities, 0 when there
	// is none.
	Oldest time.Duration
}

// Depth returns how many messages the queue holds.
func (s Stats) Depth() int64 { return s.Ready + s.Delayed + s.Blocked + s.Leased }

// Stats returns the counts of the queue. It looks at some thousand keys at most, however many messages there are, but
// for those that have become due within the last second; the first call also reads what lies before the backlog's
// first message.
func (q *Queue) Stats(ctx context.Context) (Stats, error) {
	d := q.d
	s, err := d.state(ctx)
	if err != nil {
		return Stats{}, err
	}
	out := Stats{
		Ready: s.backlog + s.ready, Delayed: s.delayed, Blocked: s.waiting, Leased: s.leased, Bytes: s.bytes,
		Sent: s.sent, Done: s.done, Dead: s.dead, Dropped: s.dropped,
	}
	if s.delayed > 0 {
		due, err := s.dueBy(d.id, d.now(), func(from, to []byte) iter.Seq2[log.KeyValue, error] { return d.dir.view.Scan(ctx, from, to) })
		if err != nil {
			return out, err
		}
		due = min(due, s.delayed) // the looks are not of one moment
		out.Ready, out.Delayed = out.Ready+due, out.Delayed-due
	}
	if !d.o.Discard {
		dead, ok, err := d.dir.lookUp(ctx, d.o.DeadLetter)
		if err != nil {
			return out, err
		}
		if ok {
			b, _, err := d.dir.view.Get(ctx, keyOf(prefixState, dead.id))
			if err != nil {
				return out, err
			}
			of, err := decodeState(b)
			if err != nil {
				return out, err
			}
			out.DeadLetters = of.depth()
		}
	}
	out.Oldest, err = d.oldest(ctx, &s)
	return out, err
}

// oldest returns how long ago the first message was sent that can be received.
func (d *dispatcher) oldest(ctx context.Context, s *state) (time.Duration, error) {
	first := int64(-1)
	note := func(offset int64) {
		if first < 0 || offset < first {
			first = offset
		}
	}
	for level := range MaxPriority + 1 {
		from := append(keyOf(prefixReady, d.id), MaxPriority-byte(level))
		if s.ready == 0 {
			break
		}
		for kv, err := range d.dir.view.Scan(ctx, from, after(from)) {
			if err != nil {
				return 0, err
			}
			if it, ok := parseItem(kv.Key, kv.Value); ok {
				note(it.offset)
			}
			break
		}
	}
	if s.delayed > 0 {
		for kv, err := range d.dir.view.Scan(ctx, keyOf(prefixDelayed, d.id), keyOf(prefixDelayed, d.id, uint64(d.now()+1))) {
			if err != nil {
				return 0, err
			}
			if it, ok := parseItem(kv.Key, kv.Value); ok {
				note(it.offset)
			}
			break
		}
	}
	if s.backlog > 0 {
		offset, err := d.firstOfBacklog(ctx, s)
		if err != nil {
			return 0, err
		}
		if offset >= 0 {
			note(offset)
		}
	}
	if first < 0 {
		return 0, nil
	}
	r, err := d.read(first)
	if errors.Is(err, log.ErrLost) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return max(0, d.dir.l.Now().Sub(r.Timestamp)), nil
}

// firstOfBacklog returns the offset of the first message of the backlog, -1 when there is none. What it passes over
// never belongs to the backlog again, so it is passed over once.
func (d *dispatcher) firstOfBacklog(ctx context.Context, s *state) (int64, error) {
	for r, err := range d.p.Read(log.AtOffset(max(s.head, d.skimmed.Load())), log.ReadOptions{Unsynced: true}) {
		if errors.Is(err, log.ErrLost) {
			continue
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return -1, err
		}
		if r.Offset >= s.end {
			break
		}
		gone := false
		t := readTraits(r.Headers)
		if t.due <= 0 && t.level == 0 {
			if _, gone, err = d.dir.view.Get(ctx, keyOf(prefixGone, d.id, uint64(r.Offset))); err != nil {
				return -1, err
			}
			if !gone {
				return r.Offset, nil
			}
		}
		d.skimmed.Store(r.Offset + 1)
	}
	return -1, nil
}
