package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// Checkpoint says how far a model has come in which log: Position is that of the first record that is not in
// it.
type Checkpoint = log.Checkpoint

// Poison says what becomes of an event that the handler does not take.
type Poison uint8

const (
	// PoisonStops makes Run return a *PoisonError. All commits before that of the event are in the model.
	PoisonStops Poison = iota
	// PoisonSkips passes over the event: the model goes on without it.
	PoisonSkips
	// PoisonParks passes over the event and sets it aside with the error: it is appended to the topic of
	// parked events, and listed by Parked until Retry has handled it.
	PoisonParks
)

func (p Poison) String() string {
	switch p {
	case PoisonStops:
		return "stop"
	case PoisonSkips:
		return "skip"
	case PoisonParks:
		return "park"
	}
	return "invalid"
}

// Options configures Define. The zero value handles the events of all event stores, and stops at an event
// that the handler does not take.
type Options struct {
	// Topics are those whose records are handled: of event stores, or any others. Empty is all event stores.
	Topics []string
	// Categories and Types narrow the events down. Empty is all. When one of them is set, records that are
	// no events are not handled.
	Categories, Types []string
	// Poison says what becomes of an event that the handler does not take.
	Poison Poison
	// Retry says how often an event is tried before that, and how long to wait between. Nil is once.
	Retry *timer.Retry
	// Parked is the topic to which parked events are appended, which is created when it is missing. Zero is
	// the name of the projection with ".parked" behind it.
	Parked string
	// BatchEvents is how many events a transaction has when there are many to catch up with: the commit of the
	// log with the last one is always whole in it. Zero is 4096.
	BatchEvents int
	// Parallel is how many goroutines call the handler at once while there is much to catch up with: events of
	// one stream, or records of one key, in order, and of others in any order. Two of them must not write the
	// same key of the model, nor read what another writes: writes to one key are an *OrderError. Zero or 1
	// is one after the other. Only stores whose transactions can be shared allow more: Pebble and memory.
	Parallel int
}

const defaultBatchEvents = 4096

// Definition is a projection as a program defines it. It never changes, and may be used for several logs
// and stores. T is the transaction that the handler is given, which the store decides: *Tx for Pebble and
// memory, *SQLTx for SQL.
type Definition[T any] struct {
	name    string
	version int
	o       Options
	handle  func(tx T, e *Event) error
	errs    error
}

// Define returns the projection called name, by the rules of topic names. version is that of what the handler
// makes of events, from 1: it is raised whenever a model is to be built anew by a changed handler or another
// filter. What is wrong with the arguments is returned by Open and New.
//
// The handler must depend on the model and the event alone, and must not keep either.
func Define[T any](name string, version int, o Options, handle func(tx T, e *Event) error) *Definition[T] {
	d := &Definition[T]{name: name, version: version, o: o, handle: handle}
	d.errs = d.validate()
	o.Topics, o.Categories, o.Types = slices.Clone(o.Topics), slices.Clone(o.Categories), slices.Clone(o.Types)
	if o.Parked == "" {
		o.Parked = name + ".parked"
	}
	if o.BatchEvents == 0 {
		o.BatchEvents = defaultBatchEvents
	}
	d.o = o
	return d
}

// Name returns the projection's name.
func (d *Definition[T]) Name() string { return d.name }

// Version returns the version of the definition.
func (d *Definition[T]) Version() int { return d.version }

func (d *Definition[T]) validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", ErrDefinition, fmt.Sprintf(format, args...)))
	}
	if err := log.CheckTopicName(d.name); err != nil {
		bad("%v", err)
	}
	if d.version < 1 || int64(d.version) > 1<<31-1 {
		bad("version %d", d.version)
	}
	if d.handle == nil {
		bad("there is no handler")
	}
	if d.o.Poison > PoisonParks || d.o.BatchEvents < 0 || d.o.Parallel < 0 || d.o.Parallel > maxParallel {
		bad("Poison %d, BatchEvents %d, Parallel %d", d.o.Poison, d.o.BatchEvents, d.o.Parallel)
	}
	for _, t := range d.o.Topics {
		if t == d.o.Parked || d.o.Parked == "" && t == d.name+".parked" {
			bad("topic %q is that of the parked events", t)
		}
	}
	if d.o.Retry != nil {
		errs = append(errs, d.o.Retry.Validate())
	}
	return errors.Join(errs...)
}

const maxParallel = 256

// Wants reports whether records of a topic may be handled.
func (d *Definition[T]) Wants(t *log.Topic) bool {
	if len(d.o.Topics) == 0 {
		return t.Kind() == aggregate.Kind
	}
	return slices.Contains(d.o.Topics, t.Name())
}

// Event is what a handler is given: an event of a stream, or, from a topic that is no event store, a record.
// It is valid during the call.
type Event struct {
	// Event is the event. Of a record that is none it has the topic, partition, offset, position, time and
	// data.
	aggregate.Event
	// Record is the record that the event is.
	Record *log.Record

	fx *effects
}

// effects are what the handlers of a transaction want to happen outside of the model.
type effects struct {
	list []effect
	// before is the position before which they are held back.
	before uint64
}

type effect struct {
	position uint64
	run      func(context.Context) error
}

// Effect has f called before the transaction that e is part of is committed, in order of the events: for mails, calls
// and appends to the log, which belong into no read model. An error of f is one of the handler. A crash before the
// commit has taken place, and been written to disk, repeats it: it happens at least once, so f should hand on
// what tells a repetition, such as the event's id, or log.Once. It is not called while a model is built anew,
// for events that the model which readers see has handled, nor by AsOf.
func (e *Event) Effect(f func(context.Context) error) {
	if !e.HeldBack() {
		e.fx.list = append(e.fx.list, effect{e.Position, f})
	}
}

// HeldBack reports whether effects of this event are held back. A handler must not write anything else to
// the model for it.
func (e *Event) HeldBack() bool { return e.fx == nil || e.Position < e.fx.before }

// matcher decides which records are handled, and decodes them. It belongs to one goroutine.
type matcher struct {
	o       *Options
	decoder aggregate.Decoder
}

// decode makes e what the handler is given of r; false when the filter leaves it out.
func (m *matcher) decode(r *log.Record, e *Event) (bool, error) {
	e.Record = r
	typ, ok := r.Header(aggregate.HeaderType)
	if !ok {
		if len(m.o.Types) > 0 || len(m.o.Categories) > 0 {
			return false, nil
		}
		e.Event = aggregate.Event{
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Position: r.Position, Time: r.Timestamp, Data: r.Value,
		}
		return true, nil
	}
	if len(m.o.Types) > 0 && !slices.ContainsFunc(m.o.Types, func(t string) bool { return t == string(typ) }) {
		return false, nil
	}
	if err := m.decoder.Decode(r, &e.Event); err != nil {
		e.Event = aggregate.Event{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Position: r.Position, Time: r.Timestamp}
		return true, err
	}
	if len(m.o.Categories) > 0 && !slices.Contains(m.o.Categories, aggregate.Category(e.Stream)) {
		return false, nil
	}
	return true, nil
}

// Replay calls the handler with records, in order, as Run does, but with effects held back. It returns the
// first error of the handler. Tests use it with NewTx, or a transaction of their own.
func (d *Definition[T]) Replay(tx T, records []log.Record) error {
	if d.errs != nil {
		return d.errs
	}
	m := matcher{o: &d.o}
	var e Event
	for i := range records {
		wanted, err := m.decode(&records[i], &e)
		if err == nil && wanted {
			err = d.handle(tx, &e)
		}
		if err != nil {
			return &PoisonError{
				Projection: d.name, Version: d.version, Topic: e.Topic, Partition: e.Partition, Offset: e.Offset, Position: e.Position,
				Attempts: 1, Cause: err,
			}
		}
	}
	return nil
}
