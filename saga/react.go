package saga

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// Transition is what a saga does about an event or a timer: it changes *s and says by t what comes of it.
// The change, the records and timers, and the offset of the event are one commit. It may be called
// several times for an event of which only one call counts, so it must do nothing else. When it returns an
// error the instance is parked at the event.
type Transition[S any] func(s *S, t *Turn) error

// Turn is one call of a transition. It belongs to the transition, until it returns.
type Turn struct {
	Saga, ID string
	Event    string // or the name of the timer
	Value    []byte // of the event's record; must not be changed
	Now      time.Time

	task    Task
	timers  map[string]time.Time
	outcome *Event
}

// Emit adds records to the commit of the transition.
func (t *Turn) Emit(topic *log.Topic, records ...log.Record) { t.task.Emit(topic, records...) }

// With puts more into the commit of the transition, as Task.With does. It may be called several times, for
// commits of which only one happens.
func (t *Turn) With(f func(ctx context.Context, c *log.Commit) error) { t.task.With(f) }

// SetTimer makes the transition of OnTimer of that name be called after d, in place of a timer of that name
// that is set.
func (t *Turn) SetTimer(name string, d time.Duration) { t.setTimer(name, t.Now.Add(d)) }

// CancelTimer removes a timer that is set.
func (t *Turn) CancelTimer(name string) { t.setTimer(name, time.Time{}) }

func (t *Turn) setTimer(name string, due time.Time) {
	if t.timers == nil {
		t.timers = map[string]time.Time{}
	}
	t.timers[name] = due
}

// Complete ends the instance as completed.
func (t *Turn) Complete() { t.outcome = &Event{Type: EventCompleted} }

// Compensated ends the instance as compensated, for this cause.
func (t *Turn) Compensated(cause string) {
	t.outcome = &Event{Type: EventCompensated, Error: cause}
}

type erasedTransition func(state json.RawMessage, t *Turn) (json.RawMessage, error)

// reaction is what a saga does about the records of a topic.
type reaction struct {
	topic, event string
	correlate    func(log.Record) (string, bool)
	do           erasedTransition
	after        []string
	each         func(log.Record) string
}

// ReactionOption changes a reaction.
type ReactionOption func(*reaction)

// After makes the event wait until these have been handled: when it comes before them, it is kept in
// the instance. Events that are not ordered by this may come in any order, so the final state is the same for
// all orders if their transitions commute; saga/sagatest checks that.
func After(events ...string) ReactionOption {
	return func(r *reaction) { r.after = append(r.after, events...) }
}

// Each says what tells one event of this name from another: those that give the same text are one event,
// and handled once. Without Each an instance handles the event once, however often it comes.
func Each(identity func(log.Record) string) ReactionOption {
	return func(r *reaction) { r.each = identity }
}

// On makes the saga react to the records of a topic for which correlate returns an instance's id and true.
// The first event of an instance begins it, with the zero state. Such a saga has no steps.
//
// Records are read by the consumer group "saga.NAME". Within a partition they come in order; a repeated one,
// and one that comes again after a crash, changes nothing.
func (d *Definition[S]) On(topic, event string, correlate func(log.Record) (id string, ok bool), do Transition[S], options ...ReactionOption) *Definition[S] {
	r := &reaction{topic: topic, event: event, correlate: correlate, do: eraseTransition(do)}
	for _, o := range options {
		o(r)
	}
	d.c.reactions = append(d.c.reactions, r)
	return d
}

// OnTimer says what is done when the timer of that name is due, which a transition has set.
func (d *Definition[S]) OnTimer(name string, do Transition[S]) *Definition[S] {
	if d.c.onTimer == nil {
		d.c.onTimer = map[string]erasedTransition{}
	}
	d.c.onTimer[name] = eraseTransition(do)
	return d
}

func eraseTransition[S any](do Transition[S]) erasedTransition {
	if do == nil {
		return nil
	}
	return func(state json.RawMessage, t *Turn) (json.RawMessage, error) {
		s, err := decode[S](state)
		if err != nil {
			return nil, err
		}
		if err := do(s, t); err != nil {
			return nil, err
		}
		return json.Marshal(s)
	}
}

func (c *core) validateReactions(bad func(step, format string, args ...any)) {
	names := map[string]bool{}
	for _, r := range c.reactions {
		if names[r.event] {
			bad(r.event, "there are two events of this name")
		}
		names[r.event] = true
		if r.event == "" || r.topic == "" || r.correlate == nil || r.do == nil {
			bad(r.event, "an event needs a name, a topic, a correlation and a transition")
		}
	}
	for _, r := range c.reactions {
		for _, before := range r.after {
			if !names[before] || before == r.event {
				bad(r.event, "comes after %q, which is no other event of the saga", before)
			}
		}
	}
	for name, do := range c.onTimer {
		if do == nil || name == "" {
			bad(name, "a timer needs a name and a transition")
		}
		if names[name] {
			bad(name, "a timer and an event have this name")
		}
	}
	if len(c.reactions) > 0 && len(c.steps) > 0 {
		bad("", "it has steps and reacts to events; it can do one of the two")
	}
	if c.cyclic() {
		bad("", "its events wait for each other")
	}
}

// cyclic reports whether some events can never be handled.
func (c *core) cyclic() bool {
	done := map[string]bool{}
	for range c.reactions {
		for _, r := range c.reactions {
			if !slices.ContainsFunc(r.after, func(b string) bool { return !done[b] }) {
				done[r.event] = true
			}
		}
	}
	return len(c.reactions) > 0 && slices.ContainsFunc(c.reactions, func(r *reaction) bool { return !done[r.event] })
}

func (c *core) reaction(event string) *reaction {
	for _, r := range c.reactions {
		if r.event == event {
			return r
		}
	}
	return nil
}

// turning collects what becomes of an instance in one commit.
type turning struct {
	c   *core
	in  *Instance // the turning's own
	was *Instance // what it was; not changed
	now time.Time
	// refused is why a commit with what the transitions emit cannot be: they are not called, and the instance
	// is parked instead.
	refused error
	events  []Event
	tasks   []Task
}

func (b *turning) add(e Event) error {
	e.Seen = b.in.Told
	b.events = append(b.events, e)
	return b.in.apply(&b.events[len(b.events)-1], b.now)
}

// event takes in an event of another topic.
func (b *turning) event(name, key string, value []byte) error {
	r := b.c.reaction(name)
	if r == nil || b.in.Status.Final() || b.in.Handled[key] {
		return nil
	}
	if b.in.Status == Parked || !b.may(r) {
		return b.add(Event{Type: EventKept, Name: name, Key: key, Payload: value})
	}
	if err := b.turn(Event{Type: EventReceived, Name: name, Key: key, Payload: value}, r.do); err != nil {
		return err
	}
	return b.kept()
}

// may reports whether all that r comes after was handled.
func (b *turning) may(r *reaction) bool {
	for _, before := range r.after {
		if !b.in.Handled[handledEvent(before)] {
			return false
		}
	}
	return true
}

// kept takes in what was kept and can be handled now.
func (b *turning) kept() error {
	for again := true; again && b.in.Status == Running; {
		again = false
		for _, k := range slices.Clone(b.in.Kept) {
			r := b.c.reaction(k.Event)
			if r == nil || !b.may(r) || b.in.Status != Running {
				continue
			}
			if err := b.turn(Event{Type: EventReceived, Name: k.Event, Key: k.Key, Payload: k.Value}, r.do); err != nil {
				return err
			}
			again = true
		}
	}
	return nil
}

// due calls what belongs to the timers that are due, in the order in which they are.
func (b *turning) due() error {
	type set struct {
		name string
		at   time.Time
	}
	var list []set
	for name, at := range b.in.Timers {
		if !at.After(b.now) {
			list = append(list, set{name, at})
		}
	}
	slices.SortFunc(list, func(x, y set) int {
		return cmp.Or(x.at.Compare(y.at), cmp.Compare(x.name, y.name))
	})
	for _, s := range list {
		if at, ok := b.in.Timers[s.name]; b.in.Status != Running || !ok || !at.Equal(s.at) {
			continue // ended, cancelled or set anew by one before it
		}
		do := b.c.onTimer[s.name]
		if do == nil {
			do = func(state json.RawMessage, _ *Turn) (json.RawMessage, error) { return state, nil }
		}
		if err := b.turn(Event{Type: EventTimedOut, Name: s.name}, do); err != nil {
			return err
		}
	}
	return b.kept()
}

// turn makes one transition. When it fails the instance is parked at it.
func (b *turning) turn(e Event, do erasedTransition) error {
	t := &Turn{Saga: b.in.Saga, ID: b.in.ID, Event: e.Name, Value: e.Payload, Now: b.now}
	state, err := json.RawMessage(nil), b.refused
	if err == nil {
		state, err = protectTransition(do, b.in.State, t)
	}
	if err != nil {
		if e.Type == EventReceived && !b.in.Handled[e.Key] {
			if err := b.add(Event{Type: EventKept, Name: e.Name, Key: e.Key, Payload: e.Payload}); err != nil {
				return err
			}
		}
		return b.add(Event{Type: EventParked, Step: e.Name, Error: e.Name + ": " + err.Error()})
	}
	e.State, e.Timers, e.Payload = state, t.timers, nil
	b.tasks = append(b.tasks, t.task)
	if err := b.add(e); err != nil || t.outcome == nil {
		return err
	}
	return b.add(*t.outcome)
}

// protectTransition calls do, and makes an error of a panic.
func protectTransition(do erasedTransition, state json.RawMessage, t *Turn) (_ json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	return do(state, t)
}

// commit fills c with what the turning has come to.
func (b *turning) commit(ctx context.Context, c *log.Commit) error {
	next := time.Time{}
	for _, at := range b.in.Timers {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if b.in.Status != Running {
		next = time.Time{}
	}
	last := &b.events[len(b.events)-1]
	if last.Waits = b.in.Status == Running; last.Waits {
		last.Next = next
	}
	key := instanceKey(b.in.Saga, b.in.ID)
	cond, err := at(key, b.was.Version, b.events...)
	if err != nil {
		return err
	}
	for i := range b.tasks {
		if err := b.tasks[i].addTo(ctx, c); err != nil {
			return err
		}
	}
	c.Require(cond)
	if !next.IsZero() {
		c.Require(timer.Set(timerOwner, timerID(b.in.Saga, b.in.ID), next, nil))
	} else if len(b.was.Timers) > 0 {
		c.Require(timer.Cancel(timerOwner, timerID(b.in.Saga, b.in.ID)))
	}
	return nil
}

// catchUp takes in what is due or kept in an instance that reacts to events.
func (x *running) catchUp(c *core, in *Instance) error {
	var refused error
	for in.ready() {
		b := &turning{c: c, in: in.clone(), was: in, now: x.r.e.l.Now(), refused: refused}
		if in.Abort {
			if err := b.add(Event{Type: EventAborted, Error: "aborted by hand"}); err != nil {
				return err
			}
		}
		if err := errors.Join(b.kept(), b.due()); err != nil {
			return err
		}
		if len(b.events) == 0 {
			if err := b.add(Event{Type: EventWaiting}); err != nil {
				return err
			}
		}
		commit := x.r.e.l.NewCommit()
		err := b.commit(x.acting, commit)
		if err == nil {
			_, err = commit.Commit(context.Background())
		}
		if err == nil {
			x.observed(in.Saga, in.ID, b.events)
			return nil
		}
		if !fencedBy(err, in.Saga, in.ID) {
			if len(b.tasks) == 0 || refused != nil || !refusal(err) {
				return err
			}
			refused = err
			continue
		}
		// An event came meanwhile.
		if in, err = x.r.e.load(x.acting, instanceKey(in.Saga, in.ID)); err != nil {
			return err
		}
	}
	return nil
}

// refusal reports whether err is about a commit with what transitions emit, as a record that is too large.
func refusal(err error) bool {
	return err != nil && !ofLog(err) && !errors.Is(err, consumer.ErrFenced)
}

func (x *running) observed(saga, id string, events []Event) {
	if x.o.observe == nil {
		return
	}
	if in, err := x.r.e.load(x.acting, instanceKey(saga, id)); err == nil {
		x.o.observe(*in, events)
	}
}

// maxMembers bounds how many goroutines read the topics of a saga.
const maxMembers = 16

// react reads the topics of a saga until ctx ends: as many goroutines as the topics have partitions, since
// each waits for its commits.
func (x *running) react(c *core) {
	var topics []string
	members := 1
	for _, r := range c.reactions {
		if slices.Contains(topics, r.topic) {
			continue
		}
		topics = append(topics, r.topic)
		if t, err := x.r.e.l.Topic(r.topic); err == nil {
			members = max(members, min(t.Partitions(), maxMembers, x.o.workers))
		}
	}
	for range members {
		x.wg.Go(func() { x.follow(c, topics) })
	}
}

// follow is one of them, a member of the saga's group.
func (x *running) follow(c *core, topics []string) {
	m, err := consumer.Join(context.WithoutCancel(x.ctx), x.r.e.l, "saga."+c.name, consumer.Options{
		Topics: topics, Committing: consumer.CommitExplicit, Assignor: consumer.CooperativeSticky,
	})
	if err != nil {
		x.stop(err)
		return
	}
	defer func() { _ = m.Close() }()
	for rec, err := range m.Records(x.ctx) {
		if errors.Is(err, log.ErrLost) || errors.Is(err, log.ErrCorrupt) {
			x.r.e.l.Options().Logger.Warn("events passed over", "saga", c.name, "error", err.Error())
			continue
		}
		if err == nil {
			err = x.received(m, c, rec)
		}
		if errors.Is(err, consumer.ErrFenced) {
			continue // its partition is another member's now, who gets it again
		}
		if err != nil {
			if x.ctx.Err() == nil {
				x.stop(err)
			}
			return
		}
	}
}

// received takes in one record: what it means for instances, and its offset, are one commit.
func (x *running) received(m *consumer.Member, c *core, rec log.Record) error {
	var refused error
	for {
		commit := x.r.e.l.NewCommit()
		commit.Require(m.Done(rec))
		turns := map[string]*turning{}
		emits := false
		for _, r := range c.reactions {
			if r.topic != rec.Topic {
				continue
			}
			if id, ok := r.correlate(rec); ok {
				if err := x.turnTo(turns, c, r, id, rec, refused); err != nil {
					return err
				}
			}
		}
		var err error
		for _, b := range turns {
			if len(b.events) > 0 && err == nil {
				emits = emits || len(b.tasks) > 0
				err = b.commit(x.acting, commit)
			}
		}
		if err == nil {
			_, err = commit.Commit(context.Background())
		}
		if stale(err, turns) {
			continue // a timer, another partition's event, or somebody by hand, was faster
		}
		if emits && refused == nil && refusal(err) {
			refused = err
			continue
		}
		if err == nil {
			for id, b := range turns {
				x.observed(c.name, id, b.events)
			}
		}
		return err
	}
}

// stale reports whether err says that an instance has changed since its turn was made.
func stale(err error, turns map[string]*turning) bool {
	for _, b := range turns {
		if fencedBy(err, b.in.Saga, b.in.ID) {
			return true
		}
	}
	return false
}

// turnTo makes the turn of the instance with this id.
func (x *running) turnTo(turns map[string]*turning, latest *core, r *reaction, id string, rec log.Record, refused error) error {
	if err := check(latest.name, id); err != nil {
		x.r.e.l.Options().Logger.Warn("event passed over", "saga", latest.name, "topic", rec.Topic, "offset", rec.Offset, "error", err.Error())
		return nil
	}
	b := turns[id]
	if b == nil {
		in, err := x.instance(latest, id)
		if err != nil {
			return err
		}
		b = &turning{c: latest, in: in.clone(), was: in, now: x.r.e.l.Now(), refused: refused}
		if in.Version > 0 {
			if b.c = x.r.definition(in); b.c == nil {
				return &DefinitionError{latest.name, "", "an event is for an instance of a version that is not there"}
			}
		} else if err := b.add(Event{Type: EventStarted, Definition: latest.version, Waits: true}); err != nil {
			return err
		}
		turns[id] = b
	}
	return b.event(r.event, r.key(rec), slices.Clone(rec.Value))
}

// key returns what tells the event from others of the instance.
func (r *reaction) key(rec log.Record) string {
	if r.each == nil {
		return r.event
	}
	return r.event + "/" + r.each(rec)
}

// instance returns an instance as it is, or what one is before it begins.
func (x *running) instance(c *core, id string) (*Instance, error) {
	in, err := x.r.e.load(x.acting, instanceKey(c.name, id))
	if errors.Is(err, ErrInstance) {
		return &Instance{Saga: c.name, ID: id}, nil
	}
	return in, err
}
