package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// Action does a step, or undoes one. It may change *s: the state is stored with the result when it
// returns nil, and is as before when it returns an error. What it does elsewhere it does under t.Key, by
// which the other side tells a repeated attempt from a new one. An error means that nothing was done
// elsewhere; one that leaves this open is to be told by t.Unsure. It must return soon after ctx ends.
// Actions of different instances, and of steps of one parallel group, run concurrently.
type Action[S any] func(ctx context.Context, s *S, t *Task) error

// Definition says what a saga does. It is made by Define and its methods, which return it, by one
// goroutine, and must not be changed once a runner has it.
type Definition[S any] struct{ c core }

// Def is any Definition.
type Def interface {
	core() *core
	// Validate returns all that is wrong with the definition, each a *DefinitionError.
	Validate() error
}

// core is a definition without its type.
type core struct {
	name      string
	version   int
	state     reflect.Type
	steps     []*step
	stages    [][]*step // filled in by validate: the steps that run at once
	reactions []*reaction
	onTimer   map[string]erasedTransition
}

// erased is an Action on the state's JSON.
type erased func(ctx context.Context, state json.RawMessage, t *Task) (json.RawMessage, error)

type step struct {
	name      string
	do, undo  erased
	retry     timer.Retry
	undoRetry timer.Retry
	timeout   time.Duration
	pivot     bool
	noUndo    bool
	group     string
	signal    string // what it awaits, or ""
	deadline  time.Duration
}

// Define begins the definition of a saga whose state is an S, which must survive JSON. The name
// identifies it for ever: 1 to 128 bytes of printable ASCII without spaces and slashes.
func Define[S any](name string) *Definition[S] {
	return &Definition[S]{core{name: name, version: 1, state: reflect.TypeFor[S]()}}
}

func (d *Definition[S]) core() *core { return &d.c }

// Version sets the definition's version, which is 1 otherwise. An instance ends under the version
// that it began with: a runner is given all versions that have instances, and begins new ones under the
// latest.
func (d *Definition[S]) Version(n int) *Definition[S] {
	d.c.version = n
	return d
}

// Step adds a step behind those that there are. A nil undo is for steps that need not be undone: the last
// one, the pivot, what is behind the pivot, and those with NoUndo.
func (d *Definition[S]) Step(name string, do, undo Action[S], options ...StepOption) *Definition[S] {
	s := &step{name: name, do: erase(do), undo: erase(undo), undoRetry: timer.Retry{Attempts: 10}}
	for _, o := range options {
		o(s)
	}
	d.c.steps = append(d.c.steps, s)
	return d
}

// Await adds a step that waits for a signal and then calls take, which finds it in t.Signal, as an action. A
// signal that comes before it is awaited is kept. Behind the Deadline the step has failed. A nil take
// is for signals that need no looking at.
func (d *Definition[S]) Await(name, signal string, take, undo Action[S], options ...StepOption) *Definition[S] {
	if take == nil {
		take = func(context.Context, *S, *Task) error { return nil }
	}
	if undo == nil {
		options = append(options, NoUndo())
	}
	return d.Step(name, take, undo, append(options, func(s *step) { s.signal = signal })...)
}

// StepOption changes a step.
type StepOption func(*step)

// Retry makes the step be tried up to attempts times in all, or for ever when it is negative, with the
// backoff of timer.Retry. It is 5 otherwise. Attempts that a crash has cut off count: when the last one is
// cut off, the step has failed, and whether it took effect is not known.
func Retry(attempts int) StepOption { return func(s *step) { s.retry.Attempts = attempts } }

// RetryPolicy says how the step is tried again. Waits are held by a durable timer.
func RetryPolicy(r timer.Retry) StepOption { return func(s *step) { s.retry = r } }

// UndoPolicy says how the compensation is tried again before the instance is parked. It is ten attempts
// with the backoff of timer.Retry otherwise.
func UndoPolicy(r timer.Retry) StepOption { return func(s *step) { s.undoRetry = r } }

// Timeout bounds each attempt, by the log's clock: the context of the action ends with ErrTimeout. An error
// that the action then returns leaves open whether it took effect.
func Timeout(d time.Duration) StepOption { return func(s *step) { s.timeout = d } }

// Pivot makes the step the one behind which there is no way back: what comes after it is tried until it
// succeeds, or is parked.
func Pivot() StepOption { return func(s *step) { s.pivot = true } }

// NoUndo says that there is nothing to undo, as of a step that only looks.
func NoUndo() StepOption { return func(s *step) { s.noUndo = true } }

// Parallel makes the step run at once with those before and behind it that have the same group. Each gets
// the state as it was when it began; the fields of the state that it has changed, as JSON has them, are
// put into the state when it is done, and of a field that two of them change the later one's stays.
func Parallel(group string) StepOption { return func(s *step) { s.group = group } }

// Deadline is how long an Await waits, from when it is reached.
func Deadline(d time.Duration) StepOption { return func(s *step) { s.deadline = d } }

// erase hides the type of an action.
func erase[S any](a Action[S]) erased {
	if a == nil {
		return nil
	}
	return func(ctx context.Context, state json.RawMessage, t *Task) (json.RawMessage, error) {
		s, err := decode[S](state)
		if err != nil {
			return nil, Final(err)
		}
		if err := a(ctx, s, t); err != nil {
			return nil, err
		}
		return json.Marshal(s)
	}
}

func decode[S any](state json.RawMessage) (*S, error) {
	s := new(S)
	if len(state) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(state, s); err != nil {
		return nil, fmt.Errorf("saga: state: %w", err)
	}
	return s, nil
}

// State returns the state of an instance.
func State[S any](in *Instance) (S, error) {
	s, err := decode[S](in.State)
	if err != nil {
		return *new(S), err
	}
	return *s, nil
}

// Validate returns all that is wrong with the definition, each a *DefinitionError.
func (d *Definition[S]) Validate() error { return d.c.validate() }

func (c *core) validate() error {
	var errs []error
	bad := func(step, format string, args ...any) {
		errs = append(errs, &DefinitionError{c.name, step, fmt.Sprintf(format, args...)})
	}
	if err := checkName(c.name); err != nil {
		bad("", "%v", err)
	}
	if c.version < 1 {
		bad("", "version %d is below 1", c.version)
	}
	if len(c.steps) == 0 && len(c.reactions) == 0 {
		bad("", "it has no steps, and reacts to nothing")
	}
	seen := map[string]bool{}
	pivot := -1
	for i, s := range c.steps {
		c.validateStep(s, seen, bad)
		if s.pivot && pivot >= 0 {
			bad(s.name, "is a second pivot, behind %q", c.steps[pivot].name)
		} else if s.pivot {
			pivot = i
		}
	}
	c.group(bad)
	for i, stage := range c.stages {
		for _, s := range stage {
			if s.pivot && len(stage) > 1 {
				bad(s.name, "a pivot cannot be in a parallel group")
			}
			// What fails behind it, or beside it, would leave it done.
			follows := i < len(c.stages)-1 || len(stage) > 1
			if pivot >= 0 {
				follows = c.stageOf(c.steps[pivot]) > i
			}
			if s.undo == nil && !s.noUndo && follows {
				bad(s.name, "has no compensation, and what comes after it can fail; NoUndo says that it needs none")
			}
		}
	}
	c.validateReactions(bad)
	return errors.Join(errs...)
}

func (c *core) validateStep(s *step, seen map[string]bool, bad func(step, format string, args ...any)) {
	switch {
	case s.name == "" || !utf8.ValidString(s.name):
		bad(s.name, "a step needs a name")
	case seen[s.name]:
		bad(s.name, "there are two of this name")
	}
	seen[s.name] = true
	if s.do == nil {
		bad(s.name, "has no action")
	}
	if s.timeout < 0 || s.deadline < 0 {
		bad(s.name, "timeout %v, deadline %v", s.timeout, s.deadline)
	}
	if s.deadline > 0 && s.signal == "" {
		bad(s.name, "has a deadline and awaits nothing")
	}
	if s.noUndo && s.undo != nil {
		bad(s.name, "has a compensation, and is said to need none")
	}
	if err := errors.Join(s.retry.Validate(), s.undoRetry.Validate()); err != nil {
		bad(s.name, "%v", err)
	}
}

// group fills in the stages.
func (c *core) group(bad func(step, format string, args ...any)) {
	c.stages = nil
	used := map[string]bool{}
	for _, s := range c.steps {
		if n := len(c.stages); n > 0 && s.group != "" && c.stages[n-1][0].group == s.group {
			c.stages[n-1] = append(c.stages[n-1], s)
			continue
		}
		if s.group != "" && used[s.group] {
			bad(s.name, "parallel group %q is not in one piece", s.group)
		}
		used[s.group] = true
		c.stages = append(c.stages, []*step{s})
	}
}

func (c *core) step(name string) *step {
	for _, s := range c.steps {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (c *core) stageOf(s *step) int {
	for i, stage := range c.stages {
		for _, other := range stage {
			if other == s {
				return i
			}
		}
	}
	return -1
}

// pastPivot reports whether there is no way back any more.
func (c *core) pastPivot(in *Instance) bool {
	for _, s := range c.steps {
		if st := in.StepState(s.name); s.pivot && st != nil && st.Phase == Done {
			return true
		}
	}
	return false
}

const (
	maxNameBytes = 128
	maxIDBytes   = 512
)

func checkName(name string) error {
	if name == "" || len(name) > maxNameBytes {
		return fmt.Errorf("%w: a saga's name has 1 to %d bytes", ErrName, maxNameBytes)
	}
	for _, b := range []byte(name) {
		if b < '!' || b > '~' || b == '/' {
			return fmt.Errorf("%w: %q: printable ASCII only, without spaces and slashes", ErrName, name)
		}
	}
	return nil
}

func check(name, id string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if id == "" || len(id) > maxIDBytes || !utf8.ValidString(id) {
		return fmt.Errorf("%w: an id is 1 to %d bytes of UTF-8", ErrName, maxIDBytes)
	}
	for _, b := range []byte(id) {
		if b == 0 {
			return fmt.Errorf("%w: an id has no zero bytes", ErrName)
		}
	}
	return nil
}

// Task is one attempt, as its action sees it. It belongs to the action, until it returns.
type Task struct {
	Saga, ID, Step string
	// Attempt is 1 for the first one. Those that a crash has cut off count.
	Attempt int
	// Key is the idempotency key: the same for all attempts at this step of this instance, and another one
	// for its compensation.
	Key string
	// Uncertain says, in a compensation, that the action may or may not have taken effect.
	Uncertain bool
	// Signal is what an Await has waited for.
	Signal Signal
	// Now is the log's time.
	Now time.Time

	emits      []emit
	conditions []log.Condition
	with       []func(context.Context, *log.Commit) error
	unsure     bool
}

type emit struct {
	topic   *log.Topic
	records []log.Record
}

// Emit adds records to the commit of the attempt's result: they are there exactly when the attempt is
// recorded as done. When it fails they are not. The bytes must not change any more.
func (t *Task) Emit(topic *log.Topic, records ...log.Record) {
	t.emits = append(t.emits, emit{topic, records})
}

// Require adds conditions to the commit of the attempt's result, as timer.Set or one of an aggregate. When
// one does not hold, the attempt has failed with its error.
func (t *Task) Require(conditions ...log.Condition) {
	t.conditions = append(t.conditions, conditions...)
}

// With puts more into the commit of the attempt's result: f is called with that commit once the action has
// returned nil, to stage the events of an aggregate or the messages of a queue in it. The action's own context
// has ended by then. When f returns an error, or the commit is refused for what f has put into it, the attempt
// has failed.
func (t *Task) With(f func(ctx context.Context, c *log.Commit) error) { t.with = append(t.with, f) }

// Unsure says that nobody knows whether the attempt took effect, if it fails.
func (t *Task) Unsure() { t.unsure = true }

func (t *Task) addTo(ctx context.Context, c *log.Commit) error {
	for _, e := range t.emits {
		c.Append(e.topic, e.records...)
	}
	c.Require(t.conditions...)
	for _, f := range t.with {
		if err := f(ctx, c); err != nil {
			if ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
				err = fmt.Errorf("saga: With under a context that has ended: %v", err) // is not the log's
			}
			return err
		}
	}
	return nil
}
