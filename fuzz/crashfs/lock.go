package crashfs

import (
	"io"
	"sync"
	"syscall"
)

// lock is a held lock.
type lock struct {
	fs   *FS
	d    *descriptor
	once sync.Once
}

// Lock makes the file if need be and holds it until the result is closed. While it is
// held, Lock of the same file fails with EAGAIN, by whatever path. A file that is not
// empty is replaced by an empty one. Handles on the file do not matter to the lock.
func (fs *FS) Lock(name string) (io.Closer, error) {
	op := Op{Kind: OpLock, Path: clean(name)}
	for {
		if fs.needsLockFile(op.Path) {
			f, err := fs.Create(op.Path, "")
			if err != nil {
				return nil, err
			}
			if err := f.Close(); err != nil {
				return nil, err
			}
		}
		l, err := fs.lock(op)
		if err != nil {
			return nil, err
		}
		if l != nil {
			return l, nil
		}
	}
}

// needsLockFile reports whether the file of a lock has to be made, or made anew because
// it is not empty. The file of a lock that is held stays as it is.
func (fs *FS) needsLockFile(p string) bool {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	at, err := fs.findLocked(Op{}, p)
	if err != nil {
		return true
	}
	n := fs.inodes[at.node]
	return !n.dir && n.cache.size > 0 && fs.locks[at.node] == nil
}

// lock takes the lock. It returns nil when somebody removed the file meanwhile.
func (fs *FS) lock(op Op) (*lock, error) {
	var l *lock
	err := fs.observe(op, func(*Fault) error {
		at, err := fs.walkLocked(op, op.Path)
		switch {
		case err != nil:
			return err
		case fs.limits.ReadOnly:
			return pathError(op, syscall.EROFS)
		case at.node == noIno:
			return nil
		case fs.inodes[at.node].dir:
			return pathError(op, syscall.EISDIR)
		case fs.locks[at.node] != nil:
			return pathError(op, syscall.EAGAIN)
		}
		d, err := fs.openLocked(op, at.node)
		if err != nil {
			return err
		}
		l = &lock{fs: fs, d: d}
		fs.locks[at.node] = l
		return nil
	})
	if err != nil && l != nil {
		l.release()
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (l *lock) release() (dead bool) {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.fs.locks[l.d.node] == l {
		delete(l.fs.locks, l.d.node)
	}
	l.fs.closeLocked(l.d)
	return l.fs.dead
}

// Close releases the lock. The file stays. Further calls do nothing.
func (l *lock) Close() error {
	var err error
	l.once.Do(func() {
		if dead := l.release(); dead {
			return
		}
		err = l.fs.inspect(Op{Kind: OpUnlock, Path: l.d.path}, func(*Fault) error { return nil })
	})
	return err
}
