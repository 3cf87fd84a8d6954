package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// Workload is what is run while everything goes wrong around it.
type Workload struct {
	// Name is for messages, and to choose the workload again.
	Name string
	// Options are those of the log. FS, Clock, Rand and Logger are set by the harness.
	Options log.Options
	// Steps runs the workload: one goroutine, and the same calls whenever it is run with the same seed.
	// It begins by Session.Open, and goes on when calls fail: the Session knows which failures are to
	// be expected.
	Steps func(*Session)
	// Opaque says that Steps appends by other ways than the Session's, as layers above the log do. Then
	// the harness does not know what must be there, and leaves that to Check.
	Opaque bool
	// Check looks at a log that was recovered, or nil. notes is what Steps had noted by the moment
	// of the crash.
	Check func(l *log.Log, notes []Note) error
}

// Session is how a workload uses a log: each call notes what was attempted and what was promised.
// Steps belongs to one goroutine, and so does its Session.
type Session struct {
	// Rand is what a workload draws from.
	Rand *rand.Rand

	w     *Workload
	fs    vfs.FS
	crash *crashfs.FS // fs, when it is one of these
	hook  func(crashfs.Op)
	clock *stepClock
	rand  io.Reader
	l     *log.Log
	// faulty says that calls may fail, since faults are injected.
	faulty bool
	// doubt says that the file system may lose what was synced, which is then no violation; forgetful
	// that it may lose what was written without any crash.
	doubt     bool
	forgetful bool
	failed    bool // the log has said so, or cannot be opened
	acks      []pendingAck
	ids       int

	mu         sync.Mutex
	view       View    // guarded by mu
	violations []error // guarded by mu
}

type pendingAck struct {
	a   *attempt
	d   log.Durability
	ack *log.Ack
}

// Put is what a commit appends to one partition.
type Put struct {
	Topic     string
	Partition int32
	Count     int // of records, 0 is 1
	Bytes     int // of each value, about
}

// dir is where the log is.
const dir = "data"

func newSession(w *Workload, fs vfs.FS, seed uint64, v View) *Session {
	s := &Session{w: w, fs: fs, view: v, clock: newClock(), Rand: rand.New(rand.NewPCG(seed, 1)), rand: &bytesOf{rand.NewPCG(seed, 2)}}
	s.crash, _ = fs.(*crashfs.FS)
	s.view.opaque = w.Opaque
	s.ids = v.lastID
	return s
}

// bytesOf is a source of ids that repeats itself.
type bytesOf struct{ src rand.Source }

func (b *bytesOf) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b.src.Uint64())
	}
	return len(p), nil
}

// options returns those of the log.
func (s *Session) options() log.Options { return s.w.options(s.fs, s.clock, s.rand) }

func (w *Workload) options(fs vfs.FS, clock log.Clock, rand io.Reader) log.Options {
	o := w.Options
	o.FS, o.Clock, o.Rand = fs, clock, rand
	o.Logger = slog.New(slog.DiscardHandler)
	return o
}

// View returns what is known now. It may be called by any goroutine.
func (s *Session) View() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view
}

func (s *Session) change(f func(v *View)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.view)
}

// Log returns the open log, or nil.
func (s *Session) Log() *log.Log { return s.l }

// Attempt notes something that is about to be tried.
func (s *Session) Attempt(value any) { s.note(Note{Value: value}) }

// Promise notes something that was acknowledged and must survive.
func (s *Session) Promise(value any) { s.note(Note{Acked: true, Value: value}) }

func (s *Session) note(n Note) {
	s.change(func(v *View) { v.notes = append(v.notes, n) })
}

// Violation reports that something is wrong.
func (s *Session) Violation(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, fmt.Errorf(format, args...))
}

func (s *Session) violated() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.violations...)
}

// injected are the errors that faults give.
var injected = []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE, syscall.EROFS, crashfs.ErrKilled}

// expected reports whether a call may fail with err, and says so when it may not.
func (s *Session) expected(call string, err error) {
	if !s.faulty {
		s.Violation("%s: %w", call, err)
		return
	}
	if errors.Is(err, log.ErrCorrupt) && !s.doubt {
		s.Violation("%s: a failing file system was taken for a damaged one: %w", call, err)
		return
	}
	ok := errors.Is(err, log.ErrFailed) || errors.Is(err, log.ErrNoSpace) || errors.Is(err, io.ErrShortWrite) ||
		errors.Is(err, log.ErrMismatch) || errors.Is(err, log.ErrPartition) || errors.Is(err, log.ErrNoTopic) // an earlier change of topics failed
	for _, e := range injected {
		ok = ok || errors.Is(err, e)
	}
	if !ok && !s.doubt {
		s.Violation("%s: an error that hides its cause: %w", call, err)
	}
}

// Open opens the log, and compares its end with what is known.
func (s *Session) Open() {
	if s.l != nil {
		return
	}
	l, err := log.Open(dir, s.options())
	if err != nil {
		s.failed = true
		s.expected("open", err)
		return
	}
	s.l, s.failed = l, false
	s.acks = nil
	if s.w.Opaque {
		return
	}
	v := s.View()
	n := v.at(l.Position())
	must := v.written
	if s.forgetful {
		must = v.synced
	}
	switch {
	case n < 0:
		s.Violation("opened at position %d, which is within a commit", l.Position())
	case n < must && !s.doubt:
		s.Violation("opened with %d attempts, but %d were acknowledged: lost %s", n, must, v.attempts[n])
	}
	s.change(func(v *View) { *v = v.resolved(max(n, 0)) })
}

// Close closes the log. What was committed is then synced.
func (s *Session) Close() {
	if s.l == nil {
		return
	}
	s.waitAcks()
	err := s.l.Close()
	s.clock.forget()
	s.l = nil
	if err != nil {
		s.expected("close", err)
		return
	}
	if s.failed {
		return // it had told before
	}
	s.change(func(v *View) { v.synced, v.written = len(v.attempts), len(v.attempts) })
}

// Reopen is Close and Open.
func (s *Session) Reopen() {
	s.Close()
	s.Open()
}

// Crash cuts the power and opens the log again, on what the cut has left. On a file system that is
// not a *crashfs.FS it is Reopen.
func (s *Session) Crash(cut crashfs.Cut) {
	if s.crash == nil {
		s.Reopen()
		return
	}
	img := s.crash.Snapshot().Image(cut)
	s.die(img)
	s.change(func(v *View) { *v = v.afterPowerCut() })
	s.Open()
}

// Kill ends the process and opens the log again, on what the operating system has.
func (s *Session) Kill() {
	if s.crash == nil {
		s.Reopen()
		return
	}
	s.die(s.crash.Snapshot().Clone())
	s.Open()
}

// die leaves the log behind and goes on with next.
func (s *Session) die(next *crashfs.FS) {
	s.crash.SetHook(nil)
	s.crash.Kill()
	s.abandon()
	s.fs, s.crash = next, next
	next.SetHook(s.hook)
}

// abandon ends the goroutines of a log whose file system is gone.
func (s *Session) abandon() {
	if s.l != nil {
		_ = s.l.Close()
		s.clock.forget()
	}
	s.l, s.acks, s.failed = nil, nil, false
}

// Advance moves the clock, and waits until what the log does by the clock is done.
func (s *Session) Advance(d time.Duration) { s.clock.Advance(d) }

// CreateTopic creates a topic, unless there is one of that name.
func (s *Session) CreateTopic(name string, o log.TopicOptions) {
	if s.l == nil || s.HasTopic(name) {
		return // an earlier call has failed
	}
	a := &attempt{id: s.nextID(), create: name, parts: max(1, o.Partitions)}
	s.try(a)
	_, err := s.l.CreateTopic(context.Background(), name, o)
	s.decide("create topic", a, log.Synced, err)
}

// DeleteTopic deletes a topic.
func (s *Session) DeleteTopic(name string) {
	if s.l == nil || s.topic(name) == nil {
		return
	}
	a := &attempt{id: s.nextID(), remove: name}
	s.try(a)
	s.decide("delete topic", a, log.Synced, s.l.DeleteTopic(context.Background(), name))
}

// HasTopic reports whether there is a topic of that name, as far as is known.
func (s *Session) HasTopic(name string) bool {
	v := s.View()
	return v.fold(len(v.attempts)).topics[name] != nil
}

// topic returns a topic that exists. After failures it may be missing.
func (s *Session) topic(name string) *log.Topic {
	t, err := s.l.Topic(name)
	if err != nil {
		if !s.faulty {
			s.Violation("topic %s: %w", name, err)
		}
		return nil
	}
	return t
}

func (s *Session) nextID() int {
	s.ids++
	s.change(func(v *View) { v.lastID = s.ids })
	return s.ids
}

// try notes that a is about to happen.
func (s *Session) try(a *attempt) {
	if s.failed || s.w.Opaque {
		return // it must be refused
	}
	s.change(func(v *View) { v.attempts = append(slices.Clip(v.attempts), a) })
}

// decide notes the outcome of a.
func (s *Session) decide(call string, a *attempt, d log.Durability, err error) {
	if s.w.Opaque {
		if err != nil {
			s.expected(call, err)
		}
		return
	}
	switch {
	case err == nil && s.failed:
		s.Violation("%s: %s was acknowledged by a log that had failed", call, a)
	case err == nil:
		s.change(func(v *View) {
			n := slices.Index(v.attempts, a) + 1
			if d == log.Synced {
				v.synced = max(v.synced, n)
			}
			if d != log.Buffered {
				v.written = max(v.written, n)
			}
		})
	case errors.Is(err, log.ErrUnknown):
		// It stays among what may be there.
	case errors.Is(err, log.ErrFailed):
		s.failed = true
		s.expected(call, err)
	default:
		s.expected(call, err)
		s.change(func(v *View) {
			v.attempts = slices.DeleteFunc(slices.Clone(v.attempts), func(other *attempt) bool { return other == a })
		})
	}
}

// Commit commits what puts say, and waits.
func (s *Session) Commit(d log.Durability, puts ...Put) {
	a, c := s.build(d, puts)
	if a == nil {
		return
	}
	r, err := c.Commit(context.Background())
	if err == nil {
		s.compare(a, &r)
	}
	s.decide("commit", a, d, err)
}

// CommitCanceled commits with a context that has ended.
func (s *Session) CommitCanceled(d log.Durability, puts ...Put) {
	a, c := s.build(d, puts)
	if a == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := c.Commit(ctx)
	if errors.Is(err, context.Canceled) && !errors.Is(err, log.ErrUnknown) {
		s.change(func(v *View) {
			v.attempts = slices.DeleteFunc(slices.Clone(v.attempts), func(other *attempt) bool { return other == a })
		})
		return
	}
	s.decide("commit", a, d, err)
}

// Async commits what puts say without waiting. Wait, Close and Reopen wait for all such commits.
func (s *Session) Async(d log.Durability, puts ...Put) {
	a, c := s.build(d, puts)
	if a == nil {
		return
	}
	s.acks = append(s.acks, pendingAck{a, d, c.CommitAsync(context.Background())})
}

// Wait waits for the commits of Async.
func (s *Session) Wait() { s.waitAcks() }

func (s *Session) waitAcks() {
	before, failed := s.failed, s.failed
	for _, p := range s.acks {
		r, err := p.ack.Wait(context.Background())
		if err == nil {
			s.compare(p.a, &r)
		}
		s.failed = before // what was sequenced before the failure was told may be there
		s.decide("commit", p.a, p.d, err)
		failed = failed || s.failed
	}
	s.failed = failed
	s.acks = nil
}

// Sync makes everything that was committed durable.
func (s *Session) Sync() {
	if s.l == nil {
		return
	}
	s.waitAcks()
	err := s.l.Sync(context.Background())
	switch {
	case err == nil && s.failed:
		s.Violation("sync succeeded on a log that had failed")
	case err == nil:
		s.change(func(v *View) { v.synced, v.written = len(v.attempts), len(v.attempts) })
	case errors.Is(err, log.ErrFailed):
		s.failed = true
		s.expected("sync", err)
	default:
		s.expected("sync", err)
	}
}

// Read reads the log as its users do, and compares. What they have seen must survive, too.
func (s *Session) Read() {
	if s.l == nil || s.w.Opaque {
		return
	}
	least := s.l.Position()
	v := s.View()
	c := v.fold(len(v.attempts))
	// A change of topics that failed may show or not.
	gone := func(t *topicContent) bool { return t.deleted }
	i := 0
	for r, err := range s.l.Read(log.Oldest, log.ReadOptions{System: true}) {
		if err != nil {
			s.expected("read", err)
			return
		}
		for i < len(c.records) && uint64(i) != r.Position && gone(c.records[i].topic) {
			i++
		}
		if what := c.differs(uint64(i), &r); what != "" {
			s.Violation("read at position %d: %s", i, what)
			return
		}
		i++
	}
	for i < len(c.records) && uint64(i) < least && gone(c.records[i].topic) {
		i++
	}
	n := v.at(uint64(i))
	for n < 0 && i < len(c.records) && gone(c.records[i].topic) {
		i++
		n = v.at(uint64(i))
	}
	if n < 0 || uint64(i) < least {
		s.Violation("readers see up to position %d of %d", i, least)
		return
	}
	s.change(func(v *View) { v.synced, v.written = max(v.synced, n), max(v.written, n) })
}

// build makes a commit of records whose bytes nobody else has.
func (s *Session) build(d log.Durability, puts []Put) (*attempt, *log.Commit) {
	if s.l == nil || len(puts) == 0 {
		return nil, nil
	}
	a := &attempt{id: s.nextID()}
	c := s.l.NewCommit()
	c.Durability(d)
	for _, p := range puts {
		t := s.topic(p.Topic)
		if t == nil {
			return nil, nil
		}
		for range max(p.Count, 1) {
			r := s.record(a.id, len(a.places), p.Bytes)
			a.places = append(a.places, placed{p.Topic, p.Partition, r})
			// What the caller does to its bytes afterwards must not matter.
			mine := r.Clone()
			c.AppendTo(t.Partition(p.Partition), mine)
			clear(mine.Value)
			clear(mine.Key)
		}
	}
	s.try(a)
	return a, c
}

func (s *Session) record(id, i, size int) log.Record {
	value := fmt.Appendf(nil, "%d/%d ", id, i)
	if s.Rand.IntN(3) == 0 {
		value = append(value, strings.Repeat("x", size)...)
	}
	for len(value) < size {
		value = binary.LittleEndian.AppendUint64(value, s.Rand.Uint64())
	}
	r := log.Record{Value: value}
	switch s.Rand.IntN(4) {
	case 0:
		r.Key = fmt.Appendf(nil, "key-%d", id%5)
	case 1:
		r.Key = []byte{}
		r.Headers = []log.Header{{Key: "h", Value: fmt.Append(nil, id)}, {Key: "null"}}
	case 2:
		r.Timestamp = s.clock.Now().Add(-time.Duration(id) * time.Second).Truncate(time.Millisecond)
	}
	return r
}

// compare checks that an acknowledgement names the places that the model names.
func (s *Session) compare(a *attempt, r *log.Result) {
	if s.w.Opaque {
		return
	}
	v := s.View()
	n := slices.Index(v.attempts, a)
	if n < 0 {
		return
	}
	c := v.fold(n + 1)
	for i := range a.places {
		partition, offset, position := r.Record(i)
		for at := range c.records {
			if c.records[at].record != &a.places[i].record {
				continue
			}
			want := &c.records[at]
			if partition != want.partition || offset != want.offset || position != uint64(at) {
				s.Violation("%s record %d: acknowledged at partition %d offset %d position %d, should be %d, %d, %d", a, i, partition, offset, position, want.partition, want.offset, at)
			}
		}
	}
}
