package saga

import (
	"errors"
	"fmt"
	"time"

	"github.com/stratalog/strata/log"
)

// ErrReplay is matched by every *ReplayError.
var ErrReplay = errors.New("saga: history does not follow the definition")

// ReplayError says where a history leaves what a definition would do.
type ReplayError struct {
	Saga string
	// Event is the first one that the definition would not have come to, Would what it would have.
	Event Event
	Would []string
}

func (e *ReplayError) Error() string {
	return fmt.Sprintf("saga: history of %q: event %d is %s, and the definition comes to %q",
		e.Saga, e.Event.Version, describe(&e.Event), e.Would)
}

// Is makes errors.Is(err, ErrReplay) true.
func (e *ReplayError) Is(target error) bool { return target == ErrReplay }

func describe(e *Event) string {
	if step := e.Step; step != "" {
		return string(e.Type) + " " + step
	}
	return string(e.Type)
}

// Replay says what would break if an instance with this history went on under d: it walks through the
// history and compares, before each move, what d would do. It calls no action. A definition that all
// unfinished instances can be replayed with may take the version number of the one that it replaces.
func Replay(d Def, history []Event) error {
	if err := d.Validate(); err != nil {
		return err
	}
	c := d.core()
	in := &Instance{Saga: c.name, ID: "replay"}
	for i := range history {
		e := &history[i]
		switch e.Type {
		case EventIntended, EventAwaiting, EventUndoing, EventCompensating, EventCompleted, EventCompensated, EventParked:
			if len(c.steps) == 0 {
				break // a transition has said so
			}
			// Whatever is waited for has come.
			p := &planner{c: c, in: in.clone(), now: time.Unix(1<<40, 0)}
			if err := p.plan(); err != nil {
				return err
			}
			// A signal can come between the plan to wait for it and the commit of that.
			came := e.Type == EventAwaiting && contains(p.events, &Event{Type: EventIntended, Step: e.Step})
			if !came && !contains(p.events, e) {
				r := &ReplayError{Saga: c.name, Event: *e}
				for j := range p.events {
					r.Would = append(r.Would, describe(&p.events[j]))
				}
				return r
			}
		case EventReceived, EventKept:
			if c.reaction(e.Name) == nil {
				return &ReplayError{Saga: c.name, Event: *e}
			}
		}
		if err := in.apply(e, e.Time); err != nil {
			return err
		}
	}
	return nil
}

func contains(events []Event, e *Event) bool {
	for i := range events {
		if events[i].Type == e.Type && events[i].Step == e.Step {
			return true
		}
	}
	return false
}

// Fold returns what becomes of an instance of an event-driven saga by these records, in this order, with
// the records that its transitions emit, without a log. Topic, Key and Value of the records count.
func Fold(d Def, id string, now time.Time, records ...log.Record) (Instance, []log.Record, error) {
	if err := d.Validate(); err != nil {
		return Instance{}, nil, err
	}
	c := d.core()
	in := &Instance{Saga: c.name, ID: id}
	b := &turning{c: c, in: in, was: in.clone(), now: now}
	if err := b.add(Event{Type: EventStarted, Definition: c.version, Waits: true}); err != nil {
		return Instance{}, nil, err
	}
	for _, rec := range records {
		for _, r := range c.reactions {
			got, ok := r.correlate(rec)
			if r.topic != rec.Topic || !ok || got != id {
				continue
			}
			if err := b.event(r.event, r.key(rec), rec.Value); err != nil {
				return Instance{}, nil, err
			}
		}
	}
	var emitted []log.Record
	for i := range b.tasks {
		for _, e := range b.tasks[i].emits {
			emitted = append(emitted, e.records...)
		}
	}
	return *b.in, emitted, nil
}
