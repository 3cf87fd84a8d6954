package crashfs

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// Fault says which operation goes wrong, and how. The zero value fails the next
// operation, whatever it is, with EIO and without effect.
type Fault struct {
	// Match chooses the operations that count; it must not use the file system. Nil
	// means all but closing and unlocking, only the writes if Short is set, or only
	// the syncs if Sync is.
	Match func(Op) bool
	// At is the number, from 1, of the matching operation that fails, counted from
	// Inject on. Zero means 1.
	At int
	// Sticky makes all later matching operations fail as well.
	Sticky bool
	// After lets the operation have its effect first. A handle or a lock that it
	// opened is closed again. A write reports that it wrote nothing.
	After bool
	// Err is the error, which the caller gets within an *fs.PathError. Nil means EIO,
	// or no error at all if Short is set or Sync is Lie.
	Err error
	// Short makes a write or read do only the first Bytes bytes, and report that.
	Short bool
	Bytes int
	// Sync is what a sync does instead of its work.
	Sync SyncMode
}

func (f *Fault) matches(op Op) bool {
	switch {
	case f.Match != nil:
		return f.Match(op)
	case f.Sync != Honest:
		return op.Kind.IsSync()
	case f.Short:
		return op.Kind == OpWrite
	}
	return op.Kind != OpClose && op.Kind != OpUnlock
}

// refuses reports whether the operation fails without being tried, because the fault
// asks for no effect that the operation could carry out itself.
func (f *Fault) refuses(op Op) bool {
	switch {
	case f.After:
		return false
	case f.Sync != Honest && op.Kind.IsSync():
		return false
	case f.Short && (op.Kind == OpWrite || op.Kind == OpRead):
		return false
	}
	return true
}

func (f *Fault) error(op Op) error {
	if f.Err == nil {
		return pathError(op, syscall.EIO)
	}
	return pathError(op, f.Err)
}

// Injection is a fault that was given to a file system.
type Injection struct {
	fault   Fault // immutable
	owner   *faults
	matched atomic.Int64
	fired   atomic.Int64
}

// Matched returns how many operations matched so far. A run in which it stays below
// Fault.At was not disturbed.
func (i *Injection) Matched() int { return int(i.matched.Load()) }

// Fired returns how many operations failed by it.
func (i *Injection) Fired() int { return int(i.fired.Load()) }

// Remove takes the fault away. It may be called twice.
func (i *Injection) Remove() {
	i.owner.mu.Lock()
	defer i.owner.mu.Unlock()
	i.owner.list = slices.DeleteFunc(slices.Clone(i.owner.list), func(other *Injection) bool { return other == i })
	i.owner.active.Store(int64(len(i.owner.list)))
}

// faults are what is injected, oldest first.
type faults struct {
	active atomic.Int64 // len(list)
	mu     sync.Mutex
	list   []*Injection // guarded by mu; an array is never changed
}

// match counts an operation and returns the fault that it meets, or nil. Of several
// the oldest wins, and all count.
func (fs *faults) match(op Op) *Fault {
	if fs.active.Load() == 0 {
		return nil
	}
	fs.mu.Lock()
	list := fs.list
	fs.mu.Unlock()
	var hit *Injection
	for _, i := range list {
		if !i.fault.matches(op) {
			continue
		}
		n, at := i.matched.Add(1), int64(max(i.fault.At, 1))
		if hit == nil && (n == at || n > at && i.fault.Sticky) {
			hit = i
		}
	}
	if hit == nil {
		return nil
	}
	hit.fired.Add(1)
	return &hit.fault
}

// Inject adds a fault. Several may be active at once.
func (fs *FS) Inject(f Fault) *Injection {
	i := &Injection{fault: f, owner: &fs.faults}
	fs.faults.mu.Lock()
	defer fs.faults.mu.Unlock()
	fs.faults.list = append(slices.Clone(fs.faults.list), i)
	fs.faults.active.Store(int64(len(fs.faults.list)))
	return i
}

// Heal takes all faults away.
func (fs *FS) Heal() {
	fs.faults.mu.Lock()
	defer fs.faults.mu.Unlock()
	fs.faults.list = nil
	fs.faults.active.Store(0)
}
