package aggregate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/stratalog/strata/log"
)

// ErrTruncated is matched by every *TruncatedError.
var ErrTruncated = errors.New("aggregate: stream is truncated")

// TruncatedError says that an aggregate cannot be loaded, because its events before version First were
// truncated and no snapshot stands for them.
type TruncatedError struct {
	Stream string
	First  uint64
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("aggregate: stream %q is truncated before version %d, and no snapshot stands for that", e.Stream, e.First)
}

// Is makes errors.Is(err, ErrTruncated) true.
func (e *TruncatedError) Is(target error) bool { return target == ErrTruncated }

// Repository loads and saves the aggregates of a type. Its methods may be called concurrently.
type Repository[A any] struct {
	s *Store
	t *Type[A]
}

// NewRepository returns the aggregates of type t in s, or all that is wrong with t.
func NewRepository[A any](s *Store, t *Type[A]) (*Repository[A], error) {
	errs := []error{t.types.Validate()}
	if t.category == "" || strings.Contains(t.category, Separator) {
		errs = append(errs, &InvalidError{What: fmt.Sprintf("category %q", t.category), Reason: "it is empty or has a " + Separator})
	}
	if err := checkStream(t.Stream("x")); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Repository[A]{s, t}, nil
}

// Store returns the store that the aggregates are in.
func (r *Repository[A]) Store() *Store { return r.s }

// Type returns the type of the aggregates.
func (r *Repository[A]) Type() *Type[A] { return r.t }

// Origin says where events come from. It is put into the fields of the same names of all events that are
// saved with it.
type Origin struct {
	// CommandID makes what is saved with it happen at most once: see Batch.CommandID.
	CommandID                  string
	CorrelationID, CausationID string
	Tenant                     string
	TraceParent, TraceState    string
	Metadata                   map[string]string
}

// SaveOptions configures Save and Handle. The zero value is ready for use.
type SaveOptions struct {
	Origin
	// With puts more into the commit, as Batch.With does.
	With func(c *log.Commit) error
	// Retries is how often Handle tries again after a conflict. 0 is 16, a negative number never.
	Retries int
}

const defaultRetries = 16

func only[T any](o []T) T {
	var zero T
	if len(o) == 0 {
		return zero
	}
	return o[0]
}

// AsOf bounds what an aggregate is made of. The zero value is all events.
type AsOf struct {
	Version  uint64    // the last event; 0 is no bound
	Time     time.Time // events up to the first that is later; the zero Time is no bound
	Position uint64    // events before this position of the log; 0 is no bound
}

// Load returns the aggregate with this id, made of all events that were acknowledged before the call, or of
// those that are asked for. One without any is a *StreamError, one that was ended a *TombstoneError. An
// event that does not decode or apply is an error.
func (r *Repository[A]) Load(ctx context.Context, id string, asOf ...AsOf) (*A, error) {
	a, err := r.load(ctx, id, only(asOf), false)
	if err != nil {
		return nil, err
	}
	if r.t.root(a).stored == 0 {
		return nil, &StreamError{Stream: r.t.Stream(id)}
	}
	return a, nil
}

// New returns a new aggregate, as before its first event. Nothing is looked up.
func (r *Repository[A]) New(id string) *A { return r.t.New(id) }

// load returns an aggregate, a new one when there are no events. It begins anew when the stream was truncated between its
// looks at the index.
func (r *Repository[A]) load(ctx context.Context, id string, asOf AsOf, unsynced bool) (*A, error) {
	stream := r.t.Stream(id)
	if err := checkStream(stream); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		h, at, err := r.s.headAndSnapshot(ctx, stream)
		if err != nil {
			return nil, err
		}
		a, err := r.loadAt(ctx, id, h, at, asOf, unsynced)
		if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrGap) || try == defaultRetries {
			return a, err
		}
		now, headErr := r.s.head(ctx, stream)
		if headErr != nil || now == h {
			return nil, errors.Join(err, headErr)
		}
	}
}

// loadAt is load of a stream with this head, whose newest snapshot is at a place. Events that are missing in front of those that are there are a
// *GapError, which they are too when the stream was truncated meanwhile.
func (r *Repository[A]) loadAt(ctx context.Context, id string, h head, at place, asOf AsOf, unsynced bool) (*A, error) {
	stream := r.t.Stream(id)
	if h.tombstone {
		return nil, &TombstoneError{Stream: stream}
	}
	a := r.t.New(id)
	if h.version == 0 {
		return a, nil
	}
	o := LoadOptions{From: h.first, To: h.version, Until: asOf.Time, Before: asOf.Position, Unsynced: unsynced}
	if asOf.Version > 0 {
		o.To = min(o.To, asOf.Version)
	}
	if asOf.Time.IsZero() && asOf.Position == 0 && r.t.snapshots {
		sn, err := r.s.lastSnapshot(ctx, stream, h, at, r.t.snapshot, o.To)
		if err != nil {
			return nil, err
		}
		if sn != nil {
			if restored := r.t.restore(id, sn); restored != nil {
				a, o.From = restored, sn.version+1
			}
		}
	}
	root := r.t.root(a)
	if root.stored+1 < o.From {
		if !r.t.truncated || o.To+1 < o.From {
			return nil, &TruncatedError{Stream: stream, First: h.first}
		}
		root.stored = o.From - 1
	}
	for e, err := range r.s.Load(ctx, stream, o) {
		if err != nil {
			return nil, err
		}
		if e.Version != root.stored+1 {
			return nil, &GapError{Stream: stream, From: root.stored + 1, To: e.Version - 1}
		}
		if err := r.t.fold(a, &e); err != nil {
			return nil, err
		}
		root.stored = e.Version
	}
	if asOf.Time.IsZero() && asOf.Position == 0 && root.stored < o.To {
		return nil, &GapError{Stream: stream, From: root.stored + 1, To: o.To}
	}
	return a, nil
}

// fold applies a stored event.
func (t *Type[A]) fold(a *A, e *Event) error {
	v, err := t.types.Decode(*e)
	if t.types.Passes(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.apply(a, v); err != nil {
		return fmt.Errorf("aggregate: event %d of stream %q, type %q, does not apply: %w", e.Version, e.Stream, e.Type, err)
	}
	return nil
}

// Save appends the events that a has raised, at the version that it was loaded at, and a *VersionConflictError
// says that somebody else was faster; then a is as it was. Without any, it only expects that version. After
// an error that leaves the outcome open, drop a.
func (r *Repository[A]) Save(ctx context.Context, a *A, o ...SaveOptions) (Result, error) {
	options := only(o)
	b, err := r.batch(ctx, a, &options)
	if err != nil {
		return Result{}, err
	}
	if options.With == nil && options.CommandID == "" && len(b.Appends[0].Events) == 0 {
		return r.unchanged(ctx, a)
	}
	res, err := r.s.Commit(ctx, b)
	if err == nil && !res.Duplicate {
		root := r.t.root(a)
		root.stored, root.changes = root.Version(), nil
	}
	return res, err
}

// Append returns what saving a would append, to be part of a Batch. Once that has happened, a is to be
// loaded again.
func (r *Repository[A]) Append(a *A, origin ...Origin) (Append, error) {
	root := r.t.root(a)
	out := Append{Stream: r.t.Stream(root.id), Expected: At(root.stored)}
	from := only(origin)
	for _, c := range root.changes {
		e, err := r.t.types.Encode(c)
		if err != nil {
			return Append{}, err
		}
		e.CommandID, e.CorrelationID, e.CausationID, e.Tenant = from.CommandID, from.CorrelationID, from.CausationID, from.Tenant
		e.TraceParent, e.TraceState, e.Metadata = from.TraceParent, from.TraceState, maps.Clone(from.Metadata)
		out.Events = append(out.Events, e)
	}
	return out, nil
}

// batch returns what saving a does.
func (r *Repository[A]) batch(ctx context.Context, a *A, o *SaveOptions) (Batch, error) {
	ap, err := r.Append(a, o.Origin)
	if err != nil {
		return Batch{}, err
	}
	b := Batch{Appends: []Append{ap}, CommandID: o.CommandID, With: o.With}
	root := r.t.root(a)
	n := uint64(len(ap.Events))
	if r.t.every == 0 || n == 0 || (root.stored+n)/r.t.every == root.stored/r.t.every {
		return b, nil
	}
	last := &ap.Events[n-1]
	if last.ID, err = r.s.ids.next(r.s.l.Now()); err != nil {
		return Batch{}, err
	}
	sn, err := r.t.snapshotOf(a, root.Version(), last)
	if err != nil {
		return Batch{}, err
	}
	topic, err := r.s.snapshotTopic(ctx)
	if err != nil {
		return Batch{}, err
	}
	b.With = func(c *log.Commit) error {
		putSnapshot(c, topic, ap.Stream, sn)
		if o.With != nil {
			return o.With(c)
		}
		return nil
	}
	return b, nil
}

// Snapshot takes a snapshot of the aggregate with this id as it is, in a commit of its own. It is an
// *InvalidError where Type.Snapshots was not called, since loads would not look for one.
func (r *Repository[A]) Snapshot(ctx context.Context, id string) error {
	if !r.t.snapshots {
		return &InvalidError{What: "snapshot of " + strconv.Quote(r.t.Stream(id)), Reason: "the type says nothing of snapshots"}
	}
	a, err := r.Load(ctx, id)
	if err != nil {
		return err
	}
	version := r.t.root(a).stored
	var last Event
	for e, err := range r.s.Load(ctx, r.t.Stream(id), LoadOptions{From: version, To: version}) {
		if err != nil {
			return err
		}
		last = e.Clone()
	}
	if last.Version == 0 {
		return &TruncatedError{Stream: r.t.Stream(id), First: version + 1}
	}
	sn, err := r.t.snapshotOf(a, version, &last)
	if err != nil {
		return err
	}
	topic, err := r.s.snapshotTopic(ctx)
	if err != nil {
		return err
	}
	c := r.s.l.NewCommit()
	putSnapshot(c, topic, r.t.Stream(id), sn)
	c.Require(r.s.Expect(r.t.Stream(id), Exists))
	_, err = c.Commit(ctx)
	return err
}

// Handle loads the aggregate with this id, lets decide change it by raising events, and saves it. When
// somebody else was faster it does so again from the start, up to SaveOptions.Retries times. For an id
// without events decide is given a new aggregate. An error of decide is returned, and nothing happens.
//
// decide may be called several times, and so must have no effect but on the aggregate, which it must not keep; nor
// may it call Handle. Calls for one aggregate take turns in this process, so conflicts are only with those who
// append in other ways; each finds the aggregate as the one before has left it, and many share a sync.
//
// With a command id that was done before, decide is not called, and the result of the first time is
// returned.
func (r *Repository[A]) Handle(ctx context.Context, id string, decide func(*A) error, o ...SaveOptions) (Result, error) {
	options := only(o)
	retries := options.Retries
	if retries == 0 {
		retries = defaultRetries
	}
	for attempt := 0; ; attempt++ {
		res, err := r.try(ctx, id, decide, options)
		var conflict *VersionConflictError
		if !errors.As(err, &conflict) || conflict.Stream != r.t.Stream(id) {
			return res, err
		}
		if attempt >= retries {
			return Result{}, fmt.Errorf("aggregate: tried %d times: %w", attempt+1, err)
		}
	}
}

// try is one attempt of Handle.
func (r *Repository[A]) try(ctx context.Context, id string, decide func(*A) error, o SaveOptions) (Result, error) {
	staged, err := r.inTurn(ctx, id, decide, &o)
	if err != nil && ctx.Err() != nil {
		return Result{}, err
	}
	if err != nil || staged.ack == nil {
		// What this rests on may not be synced yet, unlike a commit, which is synced no sooner than that.
		if syncErr := r.synced(ctx); syncErr != nil {
			return Result{}, errors.Join(err, syncErr)
		}
		return staged.result, err
	}
	res, err := staged.ack.Wait(ctx)
	return r.s.result(ctx, &staged.batch, staged.result, res, err)
}

// handled is what an attempt of Handle has come to.
type handled struct {
	result Result
	batch  Batch
	ack    *log.Ack // nil when there is nothing to wait for
}

// held is an aggregate as the holder of a turn leaves it to the next: with the events of a commit that has its
// place in the log.
type held[A any] struct {
	t *Type[A]
	a *A
}

// inTurn waits for the turn of an aggregate, and does sequence.
func (r *Repository[A]) inTurn(ctx context.Context, id string, decide func(*A) error, o *SaveOptions) (handled, error) {
	g, err := r.s.handling.enter(ctx, r.t.Stream(id))
	if err != nil {
		return handled{}, err
	}
	defer r.s.handling.leave(g) // also when decide panics
	return r.sequence(ctx, g, id, decide, o)
}

// sequence decides, and gives the commit its place. The turn is g's.
func (r *Repository[A]) sequence(ctx context.Context, g *gate, id string, decide func(*A) error, o *SaveOptions) (handled, error) {
	left, _ := g.take().(held[A])
	if o.CommandID != "" {
		res, done, err := r.s.Done(ctx, o.CommandID)
		if err == nil && done {
			err = r.sameStream(&res, id, o.CommandID)
		}
		if done || err != nil {
			return handled{result: res}, err
		}
	}
	a := left.a
	if a == nil || left.t != r.t {
		var err error
		if a, err = r.load(ctx, id, AsOf{}, true); err != nil {
			return handled{}, err
		}
	}
	if err := decide(a); err != nil {
		return handled{}, err
	}
	root := r.t.root(a)
	b, err := r.batch(ctx, a, o)
	if err != nil {
		return handled{}, err
	}
	if o.With == nil && o.CommandID == "" && len(b.Appends[0].Events) == 0 {
		return handled{result: Result{Streams: []Appended{{Stream: g.name, Version: root.stored}}}}, nil
	}
	c := r.s.l.NewCommit()
	h := handled{batch: b}
	if _, err := b.check(); err != nil {
		return handled{}, err
	}
	if h.result, err = r.s.stage(c, &b, nil); err != nil {
		return handled{}, err
	}
	if h.ack = c.CommitAsync(ctx); h.ack.Sequenced() {
		root.stored, root.changes = root.Version(), nil
		g.left = held[A]{r.t, a}
	}
	return h, nil
}

// sameStream returns a *CommandError when a command did something, and not to the aggregate with this id.
func (r *Repository[A]) sameStream(res *Result, id, command string) error {
	if stream := r.t.Stream(id); len(res.Streams) > 0 && res.Version(stream) == 0 {
		return &CommandError{CommandID: command, Stream: stream}
	}
	return nil
}

// unchanged is the result of saving an aggregate that has not changed.
func (r *Repository[A]) unchanged(ctx context.Context, a *A) (Result, error) {
	root := r.t.root(a)
	stream := r.t.Stream(root.id)
	h, err := r.s.head(ctx, stream)
	if err != nil {
		return Result{}, err
	}
	if h.version != root.stored {
		return Result{}, &VersionConflictError{Stream: stream, Expected: At(root.stored), Actual: h.version}
	}
	return Result{Streams: []Appended{{Stream: stream, Version: root.stored}}}, r.synced(ctx)
}

// synced waits until what was loaded is as durable as commits are.
func (r *Repository[A]) synced(ctx context.Context) error {
	if o := r.s.l.Options(); o.Durability != log.Synced || o.ReadOnly {
		return nil
	}
	return r.s.l.Sync(ctx)
}
