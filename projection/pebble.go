package projection

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/internal/handles"
	"github.com/stratalog/strata/internal/osfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/segment"
)

// PebbleStore is a Store in Pebble. It has no log of its own: after a crash it is as it was some transactions
// before, and Run carries it on. Close writes what is in memory.
type PebbleStore struct {
	fs     vfs.FS // immutable, like the next five
	guard  *guard // fs as Pebble has it
	dir    string
	kind   string
	clock  clock.Clock
	logger *slog.Logger

	// mu is held for reading while db is used, and for writing by what changes which builds there are, and
	// by Close. It guards the next three.
	mu     sync.RWMutex
	db     *pebble.DB
	closed bool
	names  map[string]*models

	// openMu guards open: iterators and snapshots, which Close closes. Taken under mu.
	openMu sync.Mutex
	open   map[released]struct{}

	// dead is why the store cannot be used, behind which Pebble cannot be closed; deadC is closed then.
	dead  atomic.Pointer[error]
	deadC chan struct{}
	// troubled is the first error that Pebble met in the background and that nobody was told of; trouble, which has
	// room for one, wakes who waits for a flush; met is the last error; restless says that Pebble is about to try again.
	// tellMu makes one step of what troubled and trouble say.
	tellMu   sync.Mutex
	troubled atomic.Pointer[error]
	met      atomic.Pointer[error]
	trouble  chan struct{}
	restless atomic.Bool
	// ending is closed when Close begins.
	ending chan struct{}
	end    sync.Once

	// flushMu guards the next two.
	flushMu sync.Mutex
	// flushing is closed when the flush that is under way is done; nil when none was begun.
	flushing <-chan struct{}
	// unflushed is about how many bytes Pebble has taken since.
	unflushed int
}

// models are the builds of one projection.
type models struct {
	active uint64 // guarded by PebbleStore.mu
	builds map[uint64]*build
	// watching are those to be told of commits to the active build.
	watching watchers
}

type build struct {
	Build // immutable, but for Checkpoint, which is not used
	// at is the checkpoint. It is stored behind a commit.
	at atomic.Pointer[Checkpoint]
}

const (
	memTableBytes = 16 << 20
	cacheBytes    = 16 << 20
	openFiles     = 64
	// flushBytes is after how many bytes Pebble is told to write what it has in memory. Twice as much is what it
	// holds at most, and what a crash may have Run repeat.
	flushBytes  = 32 << 20
	outOfReach  = 1 << 20 // a limit at which Pebble would wait where nobody can end that
	retryAfter  = 100 * time.Millisecond
	damagedName = "DAMAGED"
)

// PebbleOptions configures OpenPebble. The zero value is ready for use.
type PebbleOptions struct {
	// FS is the file system. Nil is the operating system's, with files that only their owner may read.
	FS vfs.FS
	// Clock is the source of time. Nil is the system's.
	Clock log.Clock
	// Logger takes warnings. Nil is slog.Default().
	Logger *slog.Logger
}

// OpenPebble opens the store in dir, or makes one. A store can be open once, in this process or another; a second
// opening is an error that matches ErrStore. One that is damaged is renamed, and a new one made.
func OpenPebble(dir string, o PebbleOptions) (*PebbleStore, error) {
	return openPebble(dir, o, "pebble")
}

// NewMemory returns a store in memory: its models are built anew each time.
func NewMemory() (*PebbleStore, error) {
	return openPebble("models", PebbleOptions{FS: vfs.NewMem()}, "memory")
}

func openPebble(dir string, o PebbleOptions, kind string) (*PebbleStore, error) {
	if o.FS == nil {
		o.FS = osfs.Default
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &PebbleStore{
		fs: o.FS, dir: dir, kind: kind, clock: o.Clock, logger: o.Logger,
		names: map[string]*models{}, open: map[released]struct{}{},
		deadC: make(chan struct{}), trouble: make(chan struct{}, 1), ending: make(chan struct{}),
	}
	for try := 0; ; try++ {
		s.guard = &guard{FS: handles.New(s.fs, s.giveUp), s: s}
		err := s.openOnce()
		if err == nil {
			return s, nil
		}
		s.guard.CloseAll()
		if try > 0 || s.dead.Load() != nil || !damage(err) {
			return nil, fmt.Errorf("%w: %w", ErrStore, err)
		}
		if err := s.moveAside(err); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
}

// errMarked says that damage was met before.
var errMarked = errors.New("damage was met before")

// damage tells damage from an error of reading or writing, which is never taken for it. A file that a power cut
// has left out is damage, too.
func damage(err error) bool {
	if errors.Is(err, fs.ErrNotExist) || pebble.IsCorruptionError(err) {
		return true
	}
	var path *fs.PathError
	var errno syscall.Errno
	return !errors.As(err, &path) && !errors.As(err, &errno) && !errors.Is(err, errGivenUp) && !errors.Is(err, errLocked)
}

// errLocked says that the store is open already.
var errLocked = errors.New("store is open elsewhere")

// errGivenUp says that Pebble met a fatal error.
var errGivenUp = errors.New("gave up")

func (s *PebbleStore) openOnce() error {
	if err := s.fs.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if _, err := s.fs.Stat(s.fs.PathJoin(s.dir, damagedName)); err == nil {
		return errMarked
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	o := &pebble.Options{
		FS: s.guard, DisableWAL: true, MemTableSize: memTableBytes, CacheSize: cacheBytes, MaxOpenFiles: openFiles,
		MemTableStopWritesThreshold: outOfReach, L0StopWritesThreshold: outOfReach,
		FormatMajorVersion: pebble.FormatNewest, Logger: pebbleLogger{s},
		EventListener: &pebble.EventListener{
			BackgroundError: s.backgroundError,
			DataCorruption:  func(i pebble.DataCorruptionInfo) { s.damaged(i.Details) },
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	compactions := handles.NewCompactions()
	o.Experimental.CompactionScheduler = compactions
	opened := make(chan *pebble.DB, 1) // and not s.db, since the call may be left behind
	err := s.call(func() error {
		db, err := pebble.Open(s.dir, o)
		if err == nil {
			compactions.Opened()
			opened <- db
		}
		return err
	})
	if err != nil {
		return err
	}
	db := <-opened
	names, err := readNames(db)
	if err != nil {
		return errors.Join(err, s.call(db.Close))
	}
	s.db, s.names = db, names
	return nil
}

// moveAside renames a store that cannot be used.
func (s *PebbleStore) moveAside(cause error) error {
	for n := 1; ; n++ {
		aside := s.dir + ".damaged-" + strconv.Itoa(n)
		if _, err := s.fs.Stat(aside); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.logger.Warn("projections: store is damaged, is moved aside, and models are built anew", "moved to", s.fs.PathBase(aside), "error", cause.Error())
		if err := s.fs.Rename(s.dir, aside); err != nil {
			return err
		}
		return segment.SyncDir(s.fs, s.fs.PathDir(s.dir))
	}
}

// damaged notes damage for the next opening, which moves the store aside.
func (s *PebbleStore) damaged(cause error) {
	file, err := s.fs.Create(s.fs.PathJoin(s.dir, damagedName), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(file.Sync(), file.Close(), segment.SyncDir(s.fs, s.dir))
	}
	s.logger.Error("projections: store is damaged, open the log again", "error", errors.Join(cause, err).Error())
}

// pebbleLogger takes what Pebble logs.
type pebbleLogger struct{ s *PebbleStore }

func (pebbleLogger) Infof(string, ...any) {}
func (g pebbleLogger) Errorf(format string, args ...any) {
	g.s.logger.Warn("projections", "error", fmt.Sprintf(format, args...))
}

// Fatalf is called when Pebble cannot go on. It must not return, and ends the goroutine, which is Pebble's own
// or that of call: the store is given up, unclosed.
func (g pebbleLogger) Fatalf(format string, args ...any) {
	g.s.giveUp(fmt.Errorf(format, args...))
	runtime.Goexit()
}

// giveUp makes the store unusable.
func (s *PebbleStore) giveUp(cause error) {
	err := fmt.Errorf("%w: %w: %w", ErrStore, errGivenUp, cause)
	if s.dead.CompareAndSwap(nil, &err) {
		close(s.deadC)
		s.logger.Error("projections: store stopped, open the log again", "error", cause.Error())
	}
}

// call runs f in a goroutine of its own, since Pebble may end the one in which it meets a fatal error. When it ends
// another one, f may wait for that for ever: then it is left behind. So f must share nothing with its caller: what it
// finds it sends.
func (s *PebbleStore) call(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := fmt.Errorf("%w: %w", ErrStore, errGivenUp)
		defer func() { done <- err }()
		err = f()
	}()
	select {
	case err := <-done:
		if dead := s.dead.Load(); dead != nil && err != nil {
			return *dead
		}
		return err
	case <-s.deadC:
		return *s.dead.Load()
	}
}

// usableLocked returns why db cannot be used.
func (s *PebbleStore) usableLocked() error {
	if dead := s.dead.Load(); dead != nil {
		return *dead
	}
	if s.closed {
		return ErrClosed
	}
	return nil
}

// readNames reads which builds there are, by projection.
func readNames(db *pebble.DB) (map[string]*models, error) {
	each := func(kind byte, f func(key, value []byte) error) error {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
		if err != nil {
			return err
		}
		for it.First(); it.Valid() && err == nil; it.Next() {
			err = f(it.Key()[1:], it.Value())
		}
		return errors.Join(err, it.Close())
	}
	names := map[string]*models{}
	byNumber := map[uint64]*build{}
	err := each(buildKey, func(key, value []byte) error {
		name, b, err := decodeBuild(value)
		if err == nil {
			b.Number = binary.BigEndian.Uint64(key)
			byNumber[b.Number] = addBuild(names, name, b)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(checkpointKey, func(key, value []byte) error {
		c, err := decodeCheckpoint(value)
		if b := byNumber[binary.BigEndian.Uint64(key)]; b != nil {
			b.at.Store(&c)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(nameKey, func(key, value []byte) error {
		modelsOf(names, string(key)).active = binary.BigEndian.Uint64(value)
		return nil
	})
	return names, err
}

func modelsOf(names map[string]*models, name string) *models {
	m := names[name]
	if m == nil {
		m = &models{builds: map[uint64]*build{}}
		names[name] = m
	}
	return m
}

func addBuild(names map[string]*models, name string, b Build) *build {
	added := &build{Build: b}
	added.at.Store(&b.Checkpoint)
	modelsOf(names, name).builds[b.Number] = added
	return added
}

// Kind returns "pebble", or "memory".
func (s *PebbleStore) Kind() string { return s.kind }

// Names lists the projections that there is something of, by name.
func (s *PebbleStore) Names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.names))
}

// Load implements Store.
func (s *PebbleStore) Load(_ context.Context, name string) (State, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usableLocked(); err != nil {
		return State{}, err
	}
	m := s.names[name]
	if m == nil {
		return State{}, nil
	}
	state := State{Active: m.active}
	for _, n := range slices.Sorted(maps.Keys(m.builds)) {
		b := m.builds[n].Build
		b.Checkpoint = *m.builds[n].at.Load()
		state.Builds = append(state.Builds, b)
	}
	return state, nil
}

// change commits a batch that change fills, under mu.
func (s *PebbleStore) change(change func(*pebble.Batch) error) error {
	if err := s.usableLocked(); err != nil {
		return err
	}
	b := s.db.NewBatch()
	if err := change(b); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, errors.Join(err, b.Close()))
	}
	if err := s.commit(b); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return nil
}

// commit commits a batch, and closes it.
func (s *PebbleStore) commit(b *pebble.Batch) error {
	return s.call(func() error { return errors.Join(b.Commit(pebble.NoSync), b.Close()) })
}

// Create implements Store.
func (s *PebbleStore) Create(_ context.Context, name string, version int, reset string, at Checkpoint) (Build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := Build{Version: version, Reset: reset, Checkpoint: at}
	err := s.change(func(batch *pebble.Batch) error {
		b.Number = 1
		last, closer, err := s.db.Get([]byte{lastBuildKey})
		switch {
		case err == nil:
			b.Number = binary.BigEndian.Uint64(last) + 1
			_ = closer.Close()
		case !errors.Is(err, pebble.ErrNotFound):
			return err
		}
		return errors.Join(
			batch.Set([]byte{lastBuildKey}, binary.BigEndian.AppendUint64(nil, b.Number), nil),
			batch.Set(numbered(buildKey, b.Number), encodeBuild(name, b), nil),
			batch.Set(numbered(checkpointKey, b.Number), encodeCheckpoint(at), nil),
		)
	})
	if err == nil {
		addBuild(s.names, name, b)
	}
	return b, err
}

// Switch implements Store.
func (s *PebbleStore) Switch(_ context.Context, name string, b Build) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.change(func(batch *pebble.Batch) error {
		return batch.Set(append([]byte{nameKey}, name...), binary.BigEndian.AppendUint64(nil, b.Number), nil)
	})
	if err != nil {
		return err
	}
	m := modelsOf(s.names, name)
	m.active = b.Number
	m.watching.all()
	return nil
}

// Drop implements Store. Snapshots and loops that see the build go on seeing it.
func (s *PebbleStore) Drop(_ context.Context, name string, b Build) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.change(func(batch *pebble.Batch) error {
		var errs []error
		for _, kind := range []byte{dataKey, parkedKey} {
			p := numbered(kind, b.Number)
			errs = append(errs, batch.DeleteRange(p, behind(p), nil))
		}
		return errors.Join(append(errs, batch.Delete(numbered(buildKey, b.Number), nil), batch.Delete(numbered(checkpointKey, b.Number), nil))...)
	})
	if err == nil {
		delete(modelsOf(s.names, name).builds, b.Number)
	}
	return err
}

// Parked implements Store.
func (s *PebbleStore) Parked(_ context.Context, _ string, number uint64) ([]Parked, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usableLocked(); err != nil {
		return nil, err
	}
	p := numbered(parkedKey, number)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: p, UpperBound: behind(p)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	var list []Parked
	for it.First(); it.Valid() && err == nil; it.Next() {
		var one Parked
		err = json.Unmarshal(it.Value(), &one)
		list = append(list, one)
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return list, nil
}

// Close writes what is in memory, and closes the store: loops over it end. It waits for transactions that
// are being committed, and may be called twice.
func (s *PebbleStore) Close() error {
	s.end.Do(func() { close(s.ending) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, m := range s.names {
		m.watching.all()
	}
	s.openMu.Lock()
	defer s.openMu.Unlock()
	for c := range s.open {
		_ = c.release() // what it has met is told to who uses it
	}
	clear(s.open)
	defer s.guard.CloseAll()
	if s.dead.Load() != nil {
		return nil
	}
	err := s.flush()
	if s.dead.Load() != nil {
		return err // Pebble cannot be closed any more
	}
	return errors.Join(err, s.call(s.db.Close))
}
