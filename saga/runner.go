package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/stratalog/strata/log"
)

// Runner carries out the instances of some sagas. Its methods may be called concurrently. It ends with
// the log.
type Runner struct {
	*Store
	defs   map[string]map[int]*core // by name and version; immutable
	latest map[string]*core         // immutable

	mu     sync.Mutex
	told   []string         // keys of instances that were told something; guarded by mu
	warned map[missing]bool // what was told of; guarded by mu
	wake   chan struct{}    // has something when there may be something in told
	look   chan struct{}    // has something when the view may know of others
}

// NewRunner returns a runner of the sagas that are defined. All that is wrong with the definitions is
// returned. Several versions of one saga may be given.
func NewRunner(l *log.Log, definitions ...Def) (*Runner, error) {
	r := &Runner{
		defs: map[string]map[int]*core{}, latest: map[string]*core{}, warned: map[missing]bool{},
		wake: make(chan struct{}, 1), look: make(chan struct{}, 1),
	}
	var errs []error
	for _, d := range definitions {
		c := d.core()
		errs = append(errs, d.Validate())
		if r.defs[c.name] == nil {
			r.defs[c.name] = map[int]*core{}
		}
		if r.defs[c.name][c.version] != nil {
			errs = append(errs, &DefinitionError{c.name, "", fmt.Sprintf("version %d is defined twice", c.version)})
		}
		r.defs[c.name][c.version] = c
		if old := r.latest[c.name]; old == nil || old.version < c.version {
			r.latest[c.name] = c
		}
	}
	if len(definitions) == 0 {
		errs = append(errs, &DefinitionError{"", "", "a runner needs one"})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s, err := Open(context.Background(), l)
	if err != nil {
		return nil, err
	}
	r.Store = s
	return r, nil
}

// Start begins an instance of the saga whose state is of state's type. One that there is already is left
// as it is, so that Start may be repeated. The instance is durable when Start returns; it goes on when a
// runner runs.
func (r *Runner) Start(ctx context.Context, id string, state any) error {
	cond, err := r.Starting(id, state)
	if err != nil {
		return err
	}
	c := r.e.l.NewCommit()
	c.Require(cond)
	if _, err = c.Commit(ctx); errors.Is(err, ErrFenced) {
		return r.e.l.Sync(ctx) // what it was fenced by may be written only
	}
	return err
}

// Starting returns the condition by which a commit begins an instance, beside whatever else belongs to it.
// When there is one of that id already, which may not be synced yet, the commit gets a *FencedError.
func (r *Runner) Starting(id string, state any) (log.Condition, error) {
	c, err := r.ofState(state)
	if err != nil {
		return log.Condition{}, err
	}
	if err := check(c.name, id); err != nil {
		return log.Condition{}, err
	}
	text, err := json.Marshal(state)
	if err != nil {
		return log.Condition{}, fmt.Errorf("saga: state: %w", err)
	}
	return at(instanceKey(c.name, id), 0, Event{Type: EventStarted, Definition: c.version, State: text, Waits: len(c.steps) == 0})
}

// ofState returns the definition whose state is of state's type.
func (r *Runner) ofState(state any) (found *core, err error) {
	t := reflect.TypeOf(state)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for _, c := range r.latest {
		if c.state != t {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: %q and %q both have a state of type %v", ErrUnknown, found.name, c.name, t)
		}
		found = c
	}
	if found == nil {
		return nil, fmt.Errorf("%w with a state of type %v", ErrUnknown, t)
	}
	return found, nil
}

// RunOption changes how Run works.
type RunOption func(*runOptions)

type runOptions struct {
	workers int
	grace   time.Duration
	observe func(Instance, []Event)
}

// Workers is how many instances are at work at once. It is 64 otherwise. Those that wait for a retry, a
// timer or a signal are not in memory and do not count.
func Workers(n int) RunOption { return func(o *runOptions) { o.workers = n } }

// Grace is how long actions under way may take once Run is to end, before their contexts end. It is ten
// seconds otherwise.
func Grace(d time.Duration) RunOption { return func(o *runOptions) { o.grace = d } }

// Observe makes Run call f behind each of its commits, with the instance as it then is and the events of
// the commit. It is called concurrently, and holds up the instance.
func Observe(f func(Instance, []Event)) RunOption { return func(o *runOptions) { o.observe = f } }

// Run carries out what there is to do until ctx ends, which is no error: it then begins nothing new, waits
// for actions under way, records their results and returns. It also returns when the log is closed or has
// failed; instances go on where they are when Run is called again, in this process or another.
func (r *Runner) Run(ctx context.Context, options ...RunOption) error {
	o := runOptions{workers: 64, grace: 10 * time.Second}
	for _, set := range options {
		set(&o)
	}
	if o.workers < 1 || o.grace < 0 {
		return fmt.Errorf("%w: %d workers, grace %v", ErrDefinition, o.workers, o.grace)
	}
	until := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := r.e.join(r, func() { stop(log.ErrClosed) }); err != nil {
		return err
	}
	defer r.e.leave(r)
	x := &running{
		r: r, o: o, ctx: ctx, stop: stop, slots: make(chan struct{}, o.workers),
		found: make(chan *job, min(maxPiece, 2*o.workers)),
	}
	x.acting, x.hard = context.WithCancel(context.WithoutCancel(ctx))
	defer x.hard()
	notify(r.look)
	x.wg.Go(x.find)
	for _, c := range r.latest {
		if len(c.reactions) > 0 {
			x.react(c)
		}
	}
	x.dispatch()
	x.end()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Cause(until)) {
		return cause
	}
	return nil
}

// missing is a version without a definition.
type missing struct {
	saga    string
	version int
}

// definition returns the one that an instance began with, or nil.
func (r *Runner) definition(in *Instance) *core {
	if c := r.defs[in.Saga][in.Definition]; c != nil {
		return c
	}
	m := missing{in.Saga, in.Definition}
	r.mu.Lock()
	first := !r.warned[m]
	r.warned[m] = true
	r.mu.Unlock()
	if first {
		r.e.l.Options().Logger.Warn("instances wait for a definition of their version", "saga", in.Saga, "definition", in.Definition, "id", in.ID)
	}
	return nil
}
