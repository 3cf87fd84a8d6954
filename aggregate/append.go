package aggregate

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/stratalog/strata/log"
)

// Append is what a Batch does to one stream.
type Append struct {
	Stream   string
	Expected Expected
	// Events are appended in order. Without any, the stream is only expected to be as Expected says.
	Events []Event
}

// Batch is what Commit does, all of it or nothing.
type Batch struct {
	Appends []Append
	// CommandID makes the batch happen at most once, also in another process and after a crash: the first
	// Commit with it happens, and every later one changes nothing and returns the Result of the first. It
	// stands for the whole batch within the store; of the content only the streams are compared. Ids are
	// kept for ever. "" is none.
	CommandID string
	// With puts more into the commit: records, conditions, a durability. It is called each time the
	// commit is made anew, which happens when a stream that is expected to be Any or Exists has moved
	// meanwhile. An error of it is returned, and nothing happens. It must not call the store but for Stage, and
	// methods that return conditions, which are answered behind the appends. Nil is nothing more.
	With func(c *log.Commit) error
}

// Appended is what became of one stream.
type Appended struct {
	Stream string
	// First and Version are those of the first and last event that was appended. Without events, First is
	// 0, and Version that of the stream where that was expected or looked up.
	First, Version uint64
}

// Result tells what a commit did.
type Result struct {
	// Streams are those of the batch, in its order.
	Streams []Appended
	// Position is that behind the last event: what is derived from the log up to there has seen it. It is 0
	// when there was nothing to append.
	Position uint64
	// Duplicate says that the command was done before, and that the rest tells of that.
	Duplicate bool
}

// Version returns the version that a stream of the batch has got, or 0.
func (r *Result) Version(stream string) uint64 {
	for i := len(r.Streams) - 1; i >= 0; i-- {
		if r.Streams[i].Stream == stream {
			return r.Streams[i].Version
		}
	}
	return 0
}

// Append appends events to a stream, all of them or none, with the log's default durability. A stream
// that is not as expected is a *VersionConflictError, one that was ended a *TombstoneError. Any and Exists
// meet no conflict.
func (s *Store) Append(ctx context.Context, stream string, expected Expected, events ...Event) (Result, error) {
	return s.Commit(ctx, Batch{Appends: []Append{{stream, expected, events}}})
}

// Commit does what b says, all of it or nothing. What Append says holds. A command id that was used for
// other streams is a *CommandError. When ctx ends, or the log fails, while it is not known whether the
// commit happened, the error matches log.ErrUnknown or log.ErrFailed; with a command id the caller repeats
// the batch to find out.
func (s *Store) Commit(ctx context.Context, b Batch) (Result, error) {
	loose, err := b.check()
	if err != nil {
		return Result{}, err
	}
	if len(loose) > 0 {
		return s.commitLoose(ctx, &b, loose)
	}
	c := s.l.NewCommit()
	r, err := s.stage(c, &b, nil)
	if err != nil {
		return Result{}, err
	}
	res, err := c.Commit(ctx)
	return s.result(ctx, &b, r, res, err)
}

// commitLoose commits a batch of which some streams are expected at no definite version: for those it
// guesses the version, and tries again when it was wrong. Who appends so takes turns with others of this
// process, and leaves the version to the next one, so that guesses are right and many such commits share
// a sync.
func (s *Store) commitLoose(ctx context.Context, b *Batch, loose []string) (Result, error) {
	var before map[string]uint64 // what was guessed the last time
	for {
		r, guesses, ack, err := s.commitInTurn(ctx, b, loose)
		if err != nil {
			return s.refused(ctx, b, err)
		}
		res, err := ack.Wait(ctx)
		var conflict *VersionConflictError
		if !errors.As(err, &conflict) || !slices.Contains(loose, conflict.Stream) {
			return s.result(ctx, b, r, res, err)
		}
		if was, again := before[conflict.Stream]; again && was == guesses[conflict.Stream] {
			return Result{}, err // the stream has not moved: it is With that asks for another version
		}
		before = guesses
		if e, ok := b.expected(conflict.Stream); ok && !e.holds(conflict.Actual) {
			return Result{}, &VersionConflictError{Stream: conflict.Stream, Expected: e, Actual: conflict.Actual}
		}
	}
}

// refused returns the result of the first commit with the command id of b, if there was one, and err, for
// which b was refused before it was tried, otherwise.
func (s *Store) refused(ctx context.Context, b *Batch, err error) (Result, error) {
	if b.CommandID == "" || !errors.Is(err, ErrVersionConflict) && !errors.Is(err, ErrTombstone) {
		return Result{}, err
	}
	res, done, findErr := s.l.Committed(ctx, s.onceKey(b.CommandID))
	if findErr != nil || !done {
		return Result{}, errors.Join(err, findErr)
	}
	return s.first(ctx, b, &res)
}

// commitInTurn waits for the turns of the loose streams, and does commitHeld.
func (s *Store) commitInTurn(ctx context.Context, b *Batch, loose []string) (Result, map[string]uint64, *log.Ack, error) {
	var held []*gate
	defer func() { // also when With panics
		for _, g := range held {
			s.appending.leave(g)
		}
	}()
	for _, name := range loose { // sorted, so that no two callers wait for each other
		g, err := s.appending.enter(ctx, name)
		if err != nil {
			return Result{}, nil, nil, err
		}
		held = append(held, g)
	}
	return s.commitHeld(ctx, b, held)
}

// commitHeld sequences a batch whose loose streams are held, and returns at which versions it takes them to be.
func (s *Store) commitHeld(ctx context.Context, b *Batch, held []*gate) (Result, map[string]uint64, *log.Ack, error) {
	versions := make(map[string]uint64, len(held))
	for _, g := range held {
		if v, ok := g.take().(uint64); ok {
			versions[g.name] = v
			continue
		}
		h, err := s.head(ctx, g.name)
		if err == nil && h.tombstone {
			err = &TombstoneError{Stream: g.name}
		}
		if err != nil {
			return Result{}, nil, nil, err
		}
		versions[g.name] = h.version
	}
	guesses := maps.Clone(versions)
	c := s.l.NewCommit()
	r, err := s.stage(c, b, versions)
	if err != nil {
		return Result{}, nil, nil, err
	}
	ack := c.CommitAsync(ctx)
	if ack.Sequenced() {
		for _, g := range held {
			g.left = versions[g.name]
		}
	}
	return r, guesses, ack, nil
}

// check looks for what cannot be committed, and returns the streams that are expected at no definite
// version, sorted.
func (b *Batch) check() (loose []string, err error) {
	if len(b.CommandID) > MaxTextBytes {
		return nil, &InvalidError{What: "command id", Reason: "it is longer than 1024 bytes"}
	}
	for i := range b.Appends {
		a := &b.Appends[i]
		if err := checkStream(a.Stream); err != nil {
			return nil, err
		}
		if a.Expected < Exists {
			return nil, &InvalidError{What: "stream " + strconv.Quote(a.Stream), Reason: "expected is " + a.Expected.String()}
		}
		for j := range a.Events {
			if err := a.Events[j].check(); err != nil {
				return nil, err
			}
		}
		if !a.Expected.definite() && len(a.Events) > 0 {
			loose = append(loose, a.Stream)
		}
	}
	slices.Sort(loose)
	return slices.Compact(loose), nil
}

// expected returns what the batch expects of a stream at first.
func (b *Batch) expected(stream string) (Expected, bool) {
	for i := range b.Appends {
		if b.Appends[i].Stream == stream {
			return b.Appends[i].Expected, true
		}
	}
	return 0, false
}

// stage puts b into c. versions are those of the loose streams, and become those behind b.
func (s *Store) stage(c *log.Commit, b *Batch, versions map[string]uint64) (Result, error) {
	r := Result{Streams: make([]Appended, 0, len(b.Appends))}
	for i := range b.Appends {
		a := &b.Appends[i]
		expected := a.Expected
		if v, ok := versions[a.Stream]; ok {
			if !expected.holds(v) {
				return Result{}, &VersionConflictError{Stream: a.Stream, Expected: expected, Actual: v}
			}
			expected = At(v)
		}
		done, err := s.put(c, a.Stream, expected, a.Events, b.CommandID)
		if err != nil {
			return Result{}, err
		}
		if _, ok := versions[a.Stream]; ok {
			versions[a.Stream] = done.Version
		}
		r.Streams = append(r.Streams, done)
	}
	if b.CommandID != "" {
		c.Require(log.Once(s.onceKey(b.CommandID)))
	}
	if b.With != nil {
		if err := b.With(c); err != nil {
			return Result{}, err
		}
	}
	return r, nil
}

// put puts checked events into c.
func (s *Store) put(c *log.Commit, stream string, expected Expected, events []Event, command string) (Appended, error) {
	if len(events) == 0 {
		c.Require(s.view.condition(kindExpect, stream, expected))
		return Appended{Stream: stream, Version: uint64(max(expected, 0))}, nil
	}
	if uint64(len(events)) > 1<<31 {
		return Appended{}, &InvalidError{What: "stream " + strconv.Quote(stream), Reason: "too many events"}
	}
	p := s.t.Place([]byte(stream))
	n := s.encoders.Get().(*encoder)
	defer s.encoders.Put(n)
	now := s.l.Now()
	version := uint64(expected)
	for i := range events {
		e := &events[i]
		id := e.ID
		if id == "" {
			var err error
			if id, err = s.ids.next(now); err != nil {
				return Appended{}, err
			}
		}
		version++
		c.AppendAs(Kind, p, n.record(stream, version, id, e, command))
	}
	count := binary.BigEndian.AppendUint32(nil, uint32(len(events)))
	c.Require(s.view.condition(kindAppend, stream, expected, count...))
	return Appended{Stream: stream, First: uint64(expected) + 1, Version: version}, nil
}

// Stage puts an append into a commit that the caller makes, and returns the versions that the events get
// when it happens. With Any and Exists the version is looked up now, and the commit is refused with a
// *VersionConflictError when the stream has moved before it happens: Commit tries again by itself. What c has of the
// stream already is not seen: staged twice with Any, one stream always conflicts. The second call has to expect
// At(appended.Version) of what the first one returned.
func (s *Store) Stage(ctx context.Context, c *log.Commit, stream string, expected Expected, events ...Event) (Appended, error) {
	b := Batch{Appends: []Append{{stream, expected, events}}}
	loose, err := b.check()
	if err != nil {
		return Appended{}, err
	}
	if len(loose) > 0 {
		h, err := s.head(ctx, stream)
		if err == nil && h.tombstone {
			err = &TombstoneError{Stream: stream}
		}
		if err != nil {
			return Appended{}, err
		}
		if !expected.holds(h.version) {
			return Appended{}, &VersionConflictError{Stream: stream, Expected: expected, Actual: h.version}
		}
		expected = At(h.version)
	}
	return s.put(c, stream, expected, events, "")
}

func (s *Store) onceKey(command string) string {
	return "strata.command\x00" + s.Topic() + "\x00" + command
}

// result completes r, which is what the batch does, by what the log says of it.
func (s *Store) result(ctx context.Context, b *Batch, r Result, res log.Result, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	if res.Duplicate {
		return s.first(ctx, b, &res)
	}
	r.Position = s.position(&res)
	return r, nil
}

// position returns the position behind the last event of a commit.
func (s *Store) position(res *log.Result) uint64 {
	end := uint64(0)
	for _, a := range res.Batches() {
		if a.Topic.Name() == s.Topic() {
			end = max(end, a.Position+uint64(a.Count))
		}
	}
	return end
}

// first returns the result of the first commit with the command id of b.
func (s *Store) first(ctx context.Context, b *Batch, res *log.Result) (Result, error) {
	streams, err := s.appended(ctx, res)
	if err != nil {
		return Result{}, err
	}
	r := Result{Position: s.position(res), Duplicate: true}
	for i := range b.Appends {
		a := &b.Appends[i]
		at := slices.IndexFunc(streams, func(d Appended) bool { return d.Stream == a.Stream })
		switch {
		case at >= 0 && r.Version(a.Stream) == 0:
			r.Streams = append(r.Streams, streams[at])
		case at >= 0:
		case len(a.Events) > 0:
			return Result{}, &CommandError{CommandID: b.CommandID, Stream: a.Stream}
		default:
			r.Streams = append(r.Streams, Appended{Stream: a.Stream})
		}
	}
	return r, nil
}

// appended reads which events a commit has.
func (s *Store) appended(ctx context.Context, res *log.Result) ([]Appended, error) {
	var list []Appended
	for _, a := range res.Batches() {
		if a.Topic.Name() != s.Topic() {
			continue
		}
		err := s.read(ctx, a.Topic.Partition(a.Partition), a.Offset, a.Count, true, func(e *Event) bool {
			at := slices.IndexFunc(list, func(d Appended) bool { return d.Stream == e.Stream })
			if at < 0 {
				list = append(list, Appended{e.Stream, e.Version, e.Version})
			} else {
				list[at].Version = e.Version
			}
			return true
		})
		if err != nil {
			return nil, fmt.Errorf("aggregate: events of a command: %w", err)
		}
	}
	slices.SortFunc(list, func(a, b Appended) int { return cmp.Compare(a.Stream, b.Stream) })
	return list, nil
}

// Done returns what the command with this id did, in order of streams, or false when it was not done yet.
func (s *Store) Done(ctx context.Context, commandID string) (Result, bool, error) {
	res, ok, err := s.l.Committed(ctx, s.onceKey(commandID))
	if err != nil || !ok {
		return Result{}, false, err
	}
	list, err := s.appended(ctx, &res)
	return Result{Streams: list, Position: s.position(&res), Duplicate: true}, err == nil, err
}

// Expect is a condition on a stream, for any commit: that it is as expected.
func (s *Store) Expect(stream string, expected Expected) log.Condition {
	return s.view.condition(kindExpect, stream, expected)
}
