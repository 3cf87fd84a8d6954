package crashfs

import (
	"errors"
	iofs "io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrKilled is what every operation returns, wrapped, after Kill. Only Close of a
// handle or a lock succeeds.
var ErrKilled = errors.New("crashfs: process was killed")

// Options configures New. The zero value is a disk without limits.
type Options struct {
	// Space is the number of bytes that files may take. Zero means no limit.
	Space int64
	// Descriptors is the number of files, directories and locks that may be open at
	// once. Zero means no limit.
	Descriptors int
	// ReadOnly refuses every change with EROFS.
	ReadOnly bool
	// FullSyncTo makes SyncTo a full sync, and say so. Otherwise it does nothing and
	// promises nothing, as it may on Linux.
	FullSyncTo bool
	// Now gives the time of modifications. Nil means time.Now.
	Now func() time.Time
}

// FS is a file system in memory, and the disk below it. It is safe for concurrent
// use. Paths are cleaned, and relative ones begin at the root.
type FS struct {
	now        func() time.Time // immutable
	fullSyncTo bool             // immutable

	hook   atomic.Pointer[func(Op)]
	gate   atomic.Pointer[func(Op)]
	faults faults
	n      atomic.Int64 // mutating operations so far; changes under opMu
	counts [opKinds]atomic.Int64

	// opMu is held over a mutating operation and both calls of the hook, so that what
	// the hook sees is what this one operation did. Lock order: opMu, then mu.
	opMu sync.Mutex

	// mu guards all below. It is not held when hooks, gates or predicates are called.
	mu sync.RWMutex
	// epoch marks what may be changed in place.
	epoch  uint64
	seq    uint64 // of the last write or entry operation
	inodes []*inode
	// entryOps are the unsynced operations on names of all directories, in order.
	entryOps []entryOp
	// namesForgotten is true when lookups may see names that are neither durable nor
	// among entryOps.
	namesForgotten bool
	links          []int // by inode: names that lookups see
	opens          []int // by inode: handles
	used           int64 // bytes taken
	sweepAt        int   // len(inodes) at which to look for garbage
	limits         Options
	dead           bool
	handles        map[*descriptor]struct{}
	locks          map[ino]*lock
	removed        []Removal
}

var _ vfs.FS = (*FS)(nil)

// New returns an empty file system.
func New(o Options) *FS {
	root := &inode{dir: true}
	fs := newFS(o, []*inode{root}, nil)
	root.modTime = fs.now()
	return fs
}

// newFS makes a file system of inodes that are shared with others, and of unsynced
// operations on them.
func newFS(o Options, inodes []*inode, ops []entryOp) *FS {
	fs := &FS{
		now:        o.Now,
		fullSyncTo: o.FullSyncTo,
		epoch:      nextEpoch(),
		inodes:     inodes,
		entryOps:   ops,
		sweepAt:    len(inodes) + sweepEvery,
		limits:     o,
		handles:    map[*descriptor]struct{}{},
		locks:      map[ino]*lock{},
	}
	if fs.now == nil {
		fs.now = time.Now
	}
	fs.recountLocked()
	return fs
}

// SetHook has f called before and after each mutating operation, in the
// goroutine of the operation. Meanwhile no other mutating operation runs, so a
// snapshot taken in f shows exactly the effect of this one. f may read the file
// system, and call Snapshot, Kill, Inject and the setters; it must not change
// files, and must not wait for a goroutine that does. Nil takes the hook away.
func (fs *FS) SetHook(f func(Op)) { storeFunc(&fs.hook, f) }

// SetGate has f called before each sync, in the goroutine of the sync, with
// nothing held: a sync hangs for as long as f does, and all else goes on. The Op
// has no number yet. Nil takes the gate away.
func (fs *FS) SetGate(f func(Op)) { storeFunc(&fs.gate, f) }

func storeFunc(p *atomic.Pointer[func(Op)], f func(Op)) {
	if f == nil {
		p.Store(nil)
		return
	}
	p.Store(&f)
}

// mutate runs one mutating operation: hook, fault or effect, hook. The effect runs
// under mu and is given the fault that it has to carry out itself, or nil.
func (fs *FS) mutate(op Op, effect func(*Fault) error) error {
	if gate := fs.gate.Load(); gate != nil && op.Kind.IsSync() {
		(*gate)(op)
	}
	fs.opMu.Lock()
	defer fs.opMu.Unlock()
	op.N = fs.n.Add(1)
	fs.callHook(op)
	err := fs.perform(op, fs.mu.Lock, fs.mu.Unlock, effect)
	op.After, op.Err = true, err
	fs.callHook(op)
	return err
}

// observe runs an operation that changes no files but may change handles.
func (fs *FS) observe(op Op, effect func(*Fault) error) error {
	return fs.perform(op, fs.mu.Lock, fs.mu.Unlock, effect)
}

// inspect runs an operation that changes nothing at all, beside others.
func (fs *FS) inspect(op Op, effect func(*Fault) error) error {
	return fs.perform(op, fs.mu.RLock, fs.mu.RUnlock, effect)
}

func (fs *FS) perform(op Op, lock, unlock func(), effect func(*Fault) error) error {
	fs.counts[op.Kind].Add(1)
	f := fs.faults.match(op)
	if f != nil && f.refuses(op) {
		return f.error(op)
	}
	lock()
	defer unlock()
	if fs.dead {
		return pathError(op, ErrKilled)
	}
	if fs.limits.ReadOnly && op.Kind.Mutates() && !op.Kind.IsSync() {
		return pathError(op, syscall.EROFS)
	}
	if err := effect(f); err != nil {
		return err
	}
	if f != nil && f.After {
		return f.error(op)
	}
	return nil
}

func (fs *FS) callHook(op Op) {
	if hook := fs.hook.Load(); hook != nil {
		(*hook)(op)
	}
}

func pathError(op Op, err error) error {
	return &iofs.PathError{Op: op.Kind.String(), Path: op.Path, Err: err}
}

// clean returns the one spelling of a path: absolute, with slashes.
func clean(name string) string { return path.Clean("/" + filepath.ToSlash(name)) }

// found is where a path leads. The root has itself as its directory, and no name.
type found struct {
	dir  ino
	name string
	node ino // noIno when the name is free
}

// walkLocked finds a clean path. All but its last element must exist.
func (fs *FS) walkLocked(op Op, p string) (found, error) {
	at := found{dir: rootIno, node: rootIno}
	for rest := p[1:]; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if at.node == noIno {
			return found{}, pathError(op, iofs.ErrNotExist)
		}
		n := fs.inodes[at.node]
		if !n.dir {
			return found{}, pathError(op, syscall.ENOTDIR)
		}
		at = found{dir: at.node, name: name, node: noIno}
		if i, ok := n.entries[name]; ok {
			at.node = i
		}
	}
	return at, nil
}

// findLocked is walkLocked for a path that must exist.
func (fs *FS) findLocked(op Op, p string) (found, error) {
	at, err := fs.walkLocked(op, p)
	if err == nil && at.node == noIno {
		err = pathError(op, iofs.ErrNotExist)
	}
	return at, err
}

// ownLocked returns an inode to be changed.
func (fs *FS) ownLocked(i ino) *inode {
	n := fs.inodes[i]
	if n.epoch != fs.epoch {
		n = n.clone(fs.epoch)
		fs.inodes[i] = n
	}
	return n
}

// addLocked makes an inode without a name.
func (fs *FS) addLocked(dir bool) ino {
	if len(fs.inodes) >= fs.sweepAt {
		fs.sweepLocked()
	}
	fs.inodes = append(fs.inodes, &inode{epoch: fs.epoch, dir: dir, modTime: fs.now()})
	fs.links = append(fs.links, 0)
	fs.opens = append(fs.opens, 0)
	return ino(len(fs.inodes) - 1)
}

// PathBase returns the last element of a path.
func (*FS) PathBase(p string) string { return path.Base(p) }

// PathJoin joins elements by slashes and cleans the result.
func (*FS) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir returns all but the last element of a path.
func (*FS) PathDir(p string) string { return path.Dir(p) }

// Unwrap returns nil: there is nothing below.
func (*FS) Unwrap() vfs.FS { return nil }
