package aggregate

// Root is what makes a struct an aggregate: it is embedded. Its methods belong to the goroutine that has
// the aggregate.
type Root struct {
	id      string
	stored  uint64 // version of the last event that is in the store, as far as is known
	changes []any
	fold    func(event any) error
}

// ID returns the aggregate's id within its category.
func (r *Root) ID() string { return r.id }

// Version returns the version of the last event that the state is made of, raised ones included; 0 for a
// new aggregate.
func (r *Root) Version() uint64 { return r.stored + uint64(len(r.changes)) }

// Changes returns the events that were raised and are not saved. The caller must not change them.
func (r *Root) Changes() []any { return r.changes }

// Raise applies events to the aggregate, and keeps them to be saved. An error is that of applying; the
// events before it stay raised, and the aggregate should be dropped.
func (r *Root) Raise(events ...any) error {
	if r.fold == nil {
		return &InvalidError{What: "aggregate", Reason: "it was made by neither a Type nor a Repository"}
	}
	for _, e := range events {
		if err := r.fold(e); err != nil {
			return err
		}
		r.changes = append(r.changes, e)
	}
	return nil
}

func (r *Root) root() *Root { return r }

// rooted is a pointer to a struct that embeds Root.
type rooted interface{ root() *Root }

// Type says what the aggregates of a category are: it is made by Define and its methods, which return it,
// and must not be changed once a Repository has it.
type Type[A any] struct {
	category  string
	types     *Types
	apply     func(*A, any) error
	root      func(*A) *Root
	snapshots bool   // Snapshots was called
	every     uint64 // 0 is only on demand
	snapshot  int
	truncated bool
}

// Define returns the type of the aggregates of a category: structs that embed Root, and are changed by
// apply alone, which is given an event as a value of the Go type that types say. It must depend on nothing
// but the state and the event.
//
//	type Account struct {
//		aggregate.Root
//		Balance int
//	}
//
//	func (a *Account) apply(event any) error { … }
//
//	accounts := aggregate.Define("account", events, (*Account).apply)
//
// The stream of an aggregate is the category, Separator and its id. What is wrong with the arguments is
// returned by NewRepository.
func Define[A any, P interface {
	*A
	rooted
}](category string, types *Types, apply func(P, any) error) *Type[A] {
	return &Type[A]{
		category: category, types: types,
		apply: func(a *A, event any) error { return apply(a, event) },
		root:  func(a *A) *Root { return P(a).root() },
	}
}

// Snapshots makes a snapshot be taken each time that so many events were appended, in the commit with the
// last of them; 0 is only on demand. version is that of what a snapshot looks like: one that was taken
// under another version is not used. A state is encoded by the codec of the events, or by its own
// methods when it is a Snapshotter: it must be one where the codec takes messages of its own kind alone, as
// protobuf does. A state that does not encode is an error of saving.
func (t *Type[A]) Snapshots(version int, every uint64) *Type[A] {
	t.snapshots, t.snapshot, t.every = true, version, every
	return t
}

// AllowTruncated makes what is left of a truncated stream be folded from its first event, as when that
// event tells how things stood. Otherwise loading such a stream without a snapshot from before is a
// *TruncatedError.
func (t *Type[A]) AllowTruncated() *Type[A] {
	t.truncated = true
	return t
}

// Stream returns the name of the stream of the aggregate with this id.
func (t *Type[A]) Stream(id string) string { return t.category + Separator + id }

// New returns a new aggregate, as before its first event. Tests of an aggregate need no more.
func (t *Type[A]) New(id string) *A {
	a := new(A)
	r := t.root(a)
	r.id = id
	r.fold = func(event any) error { return t.apply(a, event) }
	return a
}

// Snapshotter is an aggregate that encodes its state for snapshots itself.
type Snapshotter interface {
	Snapshot() ([]byte, error)
	// Restore is called on a new aggregate. It must not keep data.
	Restore(data []byte) error
}
