package log

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/handles"
	"github.com/stratalog/strata/internal/osfs"
	"github.com/stratalog/strata/segment"
)

// store keeps what views hold beyond their memory layers: Pebble in DIR/state, without a log of its
// own, since ours is its log. After a crash it is at an earlier position, and the views catch up.
//
// # Keys
//
//	0x00 | view name                     the view's checkpoint
//	0x01 | u8 length | view name | key   a value of the view
type store struct {
	l *Log
	// fs and root are where it is. Of a log that was opened read-only that is a temporary directory, made
	// at the first use: until then root is "". Guarded by mu until db is set, immutable afterwards.
	fs   vfs.FS
	root string
	// mu guards the next three. It is held while Pebble is opened, and not while it is used.
	mu     sync.Mutex
	db     *pebble.DB // nil before its first use
	closed bool
	users  int // calls that are using db
	// idle is closed by the last user when close waits for that. Guarded by mu.
	idle chan struct{}
	// ending is closed when close begins: loops over the store then end.
	ending chan struct{}
	// troubled says that Pebble met an error in the background, after which it tries again without
	// pause; trouble wakes who waits for a flush.
	troubled atomic.Bool
	trouble  chan struct{}
	// fresh says that there was no state when it was looked for: until something is spilled there is
	// nothing to read, and nothing is opened.
	fresh atomic.Bool
	// dead is why the store cannot be used; deadC is closed then.
	dead     atomic.Pointer[error]
	deadOnce sync.Once
	deadC    chan struct{}
	// abandoned is closed when Pebble has met a fatal error, behind which it cannot be closed.
	abandoned   chan struct{}
	abandonOnce sync.Once
	// files are those that Pebble has open; set with db or before, under mu.
	files *handles.FS
	// released is closed when the gate may answer although the log failed.
	released chan struct{}
	// last is the checkpoint of the last spill; it belongs to the holder of applyMu.
	last checkpoint
	// unflushed is about how much Pebble holds in memory.
	unflushed atomic.Int64
}

const (
	checkpointKey = 0x00
	valueKey      = 0x01

	stateMemTableBytes = 16 << 20
	stateBlockBytes    = 16 << 20
	// Pebble takes its memory tables out of the cache that it is given: the one that is written, and the one
	// that is flushed. Without room for both there is none for blocks.
	stateCacheBytes = stateBlockBytes + 2*stateMemTableBytes
	stateOpenFiles  = 128
	// outOfReach is a limit at which Pebble would make the applier wait.
	outOfReach = 1 << 20
	// retryAfter is how long Pebble pauses after an error in the background.
	retryAfter = 100 * time.Millisecond
)

func newStore(l *Log) *store {
	s := &store{
		l: l, fs: l.fs, root: l.dir, deadC: make(chan struct{}), released: make(chan struct{}), ending: make(chan struct{}),
		trouble: make(chan struct{}, 1), abandoned: make(chan struct{}),
	}
	if l.o.ReadOnly {
		s.root = ""
		s.fresh.Store(true)
	}
	return s
}

// usable returns why the store cannot be used.
func (s *store) usable() error {
	if e := s.dead.Load(); e != nil {
		return *e
	}
	return nil
}

// fail makes the store unusable. What it holds in memory is given up; the next opening derives it
// again.
func (s *store) fail(cause error) {
	s.deadOnce.Do(func() {
		err := cause
		if !errors.Is(err, ErrState) {
			err = fmt.Errorf("%w: %w", ErrState, cause)
		}
		s.dead.Store(&err)
		close(s.deadC)
		s.l.o.Logger.Error("view state stopped, open the log again", "dir", s.l.dir, "error", cause.Error())
	})
}

// abandon gives Pebble up, unclosed.
func (s *store) abandon(cause error) {
	s.fail(fmt.Errorf("%w: %w", ErrState, cause))
	s.abandonOnce.Do(func() { close(s.abandoned) })
}

// isAbandoned reports whether Pebble was given up.
func (s *store) isAbandoned() bool {
	select {
	case <-s.abandoned:
		return true
	default:
		return false
	}
}

// call runs f in a goroutine of its own, since Pebble may end the one in which it meets a fatal error. When it ends
// another one, f may wait for that for ever: then it is left behind. So f must share nothing with its caller: what
// it finds it sends.
func (s *store) call(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := fmt.Errorf("%w: Pebble gave up", ErrState)
		defer func() { done <- err }()
		err = f()
	}()
	select {
	case err := <-done:
		if dead := s.usable(); dead != nil && err != nil {
			return dead
		}
		return err
	case <-s.abandoned:
		return s.usable()
	}
}

// exists looks whether there is state on disk.
func (s *store) exists() (bool, error) {
	s.mu.Lock()
	open := s.db != nil
	s.mu.Unlock()
	if open {
		return true, nil
	}
	_, err := s.fs.Stat(s.path())
	if isNotExist(err) {
		s.fresh.Store(true)
		return false, nil
	}
	return err == nil, err
}

func (s *store) path() string { return s.fs.PathJoin(s.root, stateName) }

// acquire opens Pebble where that is not done yet, and keeps it from being closed until release.
func (s *store) acquire() error {
	if err := s.usable(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.db == nil {
		if err := s.openLocked(); err != nil {
			return err
		}
	}
	s.users++
	return nil
}

func (s *store) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// openLocked opens Pebble. State that cannot be read is moved aside.
func (s *store) openLocked() error {
	if s.root == "" {
		if err := s.makeTemporary(); err != nil {
			return err
		}
	}
	if _, err := s.fs.Stat(s.fs.PathJoin(s.path(), damagedName)); err == nil {
		if err := s.moveAside(errors.New("damage was met before")); err != nil {
			return err
		}
	} else if !isNotExist(err) {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	for try := 0; ; try++ {
		if err := makeDirs(s.fs, s.path()); err != nil {
			return err
		}
		s.files = handles.New(s.fs, s.abandon)
		opened := make(chan *pebble.DB, 1) // and not s.db, since the call may be left behind
		o, compactions := s.options(), handles.NewCompactions()
		o.Experimental.CompactionScheduler = compactions
		err := s.call(func() error {
			db, err := pebble.Open(s.path(), o)
			if err == nil {
				compactions.Opened()
				opened <- db
			}
			return err
		})
		if err == nil {
			s.db = <-opened
			return nil
		}
		s.files.CloseAll()
		if try > 0 || !unreadable(err) {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
		if err := s.moveAside(err); err != nil {
			return err
		}
	}
}

// makeTemporary makes the directory for the state of a log that was opened read-only: beside other
// temporary files, or in memory when the log is on a file system of its own.
func (s *store) makeTemporary() error {
	if s.l.fs != osfs.Default {
		s.fs, s.root = vfs.NewMem(), "views"
		return nil
	}
	root, err := os.MkdirTemp("", "strata-views-")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	s.root = root
	return nil
}

// discard removes the state of a log that was opened read-only.
func (s *store) discard() error {
	if s.root == "" {
		return nil
	}
	return s.fs.RemoveAll(s.root)
}

// unreadable tells damage from an error of reading or writing, which is never taken for damage.
func unreadable(err error) bool {
	if pebble.IsCorruptionError(err) || isNotExist(err) {
		return true
	}
	var path *fs.PathError
	var errno syscall.Errno
	return !errors.As(err, &path) && !errors.As(err, &errno) && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrState)
}

// moveAside renames state that cannot be used.
func (s *store) moveAside(cause error) error {
	for n := 1; ; n++ {
		aside := s.fs.PathJoin(s.root, stateName+".damaged-"+strconv.Itoa(n))
		if _, err := s.fs.Stat(aside); err == nil {
			continue
		} else if !isNotExist(err) {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
		if err := s.fs.Rename(s.path(), aside); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
		s.l.o.Logger.Warn("view state was unreadable, is moved aside and derived again", "moved to", s.fs.PathBase(aside), "error", cause.Error())
		return segment.SyncDir(s.fs, s.root)
	}
}

func (s *store) options() *pebble.Options {
	o := &pebble.Options{
		FS: &gate{FS: s.files, s: s}, DisableWAL: true, CacheSize: stateCacheBytes, MaxOpenFiles: stateOpenFiles,
		MemTableSize: stateMemTableBytes, MemTableStopWritesThreshold: outOfReach, L0StopWritesThreshold: outOfReach,
		FormatMajorVersion: pebble.FormatNewest, Logger: stateLogger{s},
		EventListener: &pebble.EventListener{
			BackgroundError: s.backgroundError,
			DataCorruption:  func(info pebble.DataCorruptionInfo) { s.damaged(info.Details) },
		},
	}
	if s.l.o.ReadOnly {
		o.FS = s.files // nothing is ahead of a log that is only read
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// backgroundError is told of an error after which Pebble tries again.
func (s *store) backgroundError(err error) {
	if !s.troubled.Swap(true) {
		s.l.o.Logger.Warn("view state: trying again", "error", err.Error())
	}
	select {
	case s.trouble <- struct{}{}:
	default:
	}
}

// pause waits a little when Pebble has met an error, or can meet nothing else since the store is dead, and so keeps it
// from trying again at once. It does not return when Pebble was given up: nobody ends that by closing it.
func (s *store) pause() {
	dead := s.deadC
	if s.usable() != nil {
		dead = nil // there is no more to wait for
	} else if !s.troubled.Swap(false) {
		return
	}
	timer := s.l.o.Clock.NewTimer(retryAfter)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-s.ending:
	case <-dead:
	case <-s.abandoned:
	}
	if s.isAbandoned() {
		select {}
	}
}

// damaged notes damage for the next opening of the store, which then moves it aside.
func (s *store) damaged(cause error) {
	if s.usable() != nil {
		return
	}
	file, err := s.fs.Create(s.fs.PathJoin(s.path(), damagedName), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(file.Sync(), file.Close(), segment.SyncDir(s.fs, s.path()))
	}
	s.fail(errors.Join(cause, err))
}

// stateLogger takes what Pebble logs.
type stateLogger struct{ s *store }

func (g stateLogger) Infof(string, ...any) {}
func (g stateLogger) Errorf(format string, args ...any) {
	g.s.l.o.Logger.Warn("view state", "error", fmt.Sprintf(format, args...))
}

// Fatalf is called when Pebble cannot go on. It must not return, and ends the goroutine, which is
// Pebble's own or that of call: the store is given up, unclosed.
func (g stateLogger) Fatalf(format string, args ...any) {
	g.s.abandon(fmt.Errorf(format, args...))
	runtime.Goexit()
}

// prefix returns what the keys of a view begin with.
func prefix(view string) []byte { return append([]byte{valueKey, byte(len(view))}, view...) }

// get returns the value of a view's key, or nil. It is the caller's.
func (s *store) get(view, key string) ([]byte, error) {
	if s.fresh.Load() {
		return nil, s.usable()
	}
	return s.read(append(prefix(view), key...))
}

func (s *store) read(key []byte) ([]byte, error) {
	if err := s.acquire(); err != nil {
		return nil, err
	}
	defer s.release()
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		if pebble.IsCorruptionError(err) {
			s.damaged(err)
		}
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	defer func() { _ = closer.Close() }()
	return append(make([]byte, 0, len(value)), value...), nil
}

// checkpointOf returns the checkpoint of a view; ok is false when it has none.
func (s *store) checkpointOf(view string) (c checkpoint, ok bool, err error) {
	b, err := s.read(append([]byte{checkpointKey}, view...))
	if err != nil || b == nil {
		return c, false, err
	}
	c, ok = decodeCheckpoint(b)
	if !ok {
		return c, false, fmt.Errorf("%w: checkpoint of view %q does not check", ErrState, view)
	}
	return c, true, nil
}

// forget removes what is there of a view without a checkpoint.
func (s *store) forget(view string) error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	p, db := prefix(view), s.db
	return s.call(func() error { return db.DeleteRange(p, after(p), pebble.NoSync) })
}

// after returns the first key behind all that begin with prefix, which is not all 0xff.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

// spill writes the layers of vs, all derived up to c, in one batch with that checkpoint.
func (s *store) spill(vs []*view, c checkpoint) error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	b, err := s.batch(vs, c.encode())
	if err != nil {
		return errors.Join(err, b.Close())
	}
	n := b.Len()
	if err := s.call(func() error { return errors.Join(b.Commit(pebble.NoSync), b.Close()) }); err != nil {
		return err
	}
	s.unflushed.Add(int64(n))
	s.fresh.Store(false)
	if c.position >= s.last.position {
		s.last = c
	}
	return nil
}

// batch collects the layers of vs and their checkpoint. The store is acquired.
func (s *store) batch(vs []*view, checkpoint []byte) (*pebble.Batch, error) {
	b := s.db.NewBatch()
	for _, v := range vs {
		if v.usable() != nil {
			continue
		}
		p := prefix(v.name)
		for key, c := range v.layer { // only who applies changes it, and that is the caller
			k := append(p[:len(p):len(p)], key...)
			var err error
			if c.value == nil {
				err = b.Delete(k, nil)
			} else {
				err = b.Set(k, c.value, nil)
			}
			if err != nil {
				return b, err
			}
		}
		if err := b.Set(append([]byte{checkpointKey}, v.name...), checkpoint, nil); err != nil {
			return b, err
		}
	}
	return b, nil
}

// flush has Pebble write what it holds in memory. The channel is closed when that is done, and nil
// when there is nothing to do; c is then what is on disk.
func (s *store) flush() (done <-chan struct{}, c checkpoint, err error) {
	s.mu.Lock()
	unused := s.db == nil
	s.mu.Unlock()
	if unused || s.last == (checkpoint{}) {
		return nil, c, s.usable()
	}
	if err := s.acquire(); err != nil {
		return nil, c, err
	}
	defer s.release()
	s.unflushed.Store(0)
	db := s.db
	begun := make(chan (<-chan struct{}), 1) // and not done, since the call may be left behind
	if err := s.call(func() error {
		done, err := db.AsyncFlush()
		begun <- done
		return err
	}); err != nil {
		return nil, c, err
	}
	return <-begun, s.last, nil
}

// awaitFlush waits for a flush, until it, the log or the store fails.
func (s *store) awaitFlush(done <-chan struct{}) error {
	for {
		moved := s.l.movedChannel()
		s.l.mu.Lock()
		failed := s.l.failed
		s.l.mu.Unlock()
		if failed != nil {
			return failed
		}
		select {
		case <-done:
			return nil
		case <-s.deadC:
			return s.usable()
		case <-s.trouble:
			return fmt.Errorf("%w: not flushed", ErrState)
		case <-moved:
		}
	}
}

// writeCheckpoint notes how far Pebble was flushed.
func (s *store) writeCheckpoint(c checkpoint) error {
	if err := s.usable(); err != nil {
		return err
	}
	leftover := s.fs.PathJoin(s.path(), checkpointName+segment.NewExt)
	if err := s.fs.Remove(leftover); err != nil && !isNotExist(err) {
		return err
	}
	return segment.WriteFile(s.fs, s.path(), checkpointName, c.encode())
}

// close ends the store. With flush set it writes all that it holds first.
func (s *store) close(flush bool) error {
	close(s.ending)
	var err error
	if flush {
		select {
		case <-s.trouble: // of an earlier attempt
		default:
		}
		done, to, flushErr := s.flush()
		if err = flushErr; done != nil {
			if err = s.awaitFlush(done); err == nil {
				err = s.writeCheckpoint(to)
			}
		}
	}
	s.mu.Lock()
	s.closed = true
	idle := make(chan struct{})
	if s.users > 0 {
		s.idle = idle
	} else {
		close(idle)
	}
	s.mu.Unlock()
	<-idle // from here on nobody takes db
	s.mu.Lock()
	db := s.db
	s.db = nil
	s.mu.Unlock()
	if db == nil || s.isAbandoned() {
		close(s.released)
		if s.files != nil {
			s.files.CloseAll()
		}
		return err
	}
	// On a failed log Pebble waits for a flush that the gate holds. It is told to end first, and does
	// not try again then.
	closed := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		err := fmt.Errorf("%w: Pebble gave up", ErrState)
		defer func() { closed <- err }()
		close(began)
		err = db.Close()
	}()
	<-began
	runtime.Gosched()
	close(s.released)
	var closeErr error
	select {
	case closeErr = <-closed:
	case <-s.abandoned:
		closeErr = s.usable()
	}
	s.files.CloseAll()
	if flush {
		err = errors.Join(err, closeErr)
	}
	return err
}

// snapshot is the store as of one moment.
type snapshot struct {
	s    *store
	snap *pebble.Snapshot
}

func (s *store) snapshot() (*snapshot, error) {
	if err := s.acquire(); err != nil {
		return nil, err
	}
	return &snapshot{s, s.db.NewSnapshot()}, nil // released by Close
}

// Close ends the use of sn.
func (sn *snapshot) Close() {
	_ = sn.snap.Close()
	sn.s.release()
}

// scan calls each with the keys of v in [from, to), until that returns false.
func (sn *snapshot) scan(v *view, from, to []byte, each func(KeyValue) bool) error {
	p := prefix(v.name)
	bounds := &pebble.IterOptions{LowerBound: append(p[:len(p):len(p)], from...), UpperBound: after(p)}
	if to != nil {
		bounds.UpperBound = append(p[:len(p):len(p)], to...)
	}
	it, err := sn.snap.NewIter(bounds)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			break // Close tells
		}
		select {
		case <-sn.s.ending:
			_ = it.Close()
			return ErrClosed
		default:
		}
		if !each(KeyValue{Key: it.Key()[len(p):], Value: value}) {
			break
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}
