package crashfs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// descriptor is what counts as open: a file, a directory or a lock.
type descriptor struct {
	path  string
	kind  OpKind
	node  ino
	stack [16]uintptr
	depth int
}

// openLocked takes a descriptor for an inode, or for one still to be made.
func (fs *FS) openLocked(op Op, node ino) (*descriptor, error) {
	if err := fs.descriptorsLocked(op); err != nil {
		return nil, err
	}
	d := &descriptor{path: op.Path, kind: op.Kind, node: node}
	d.depth = runtime.Callers(3, d.stack[:])
	fs.handles[d] = struct{}{}
	if node != noIno {
		fs.opens[node]++
	}
	return d, nil
}

// closeLocked gives a descriptor back, once.
func (fs *FS) closeLocked(d *descriptor) {
	if _, open := fs.handles[d]; !open {
		return
	}
	delete(fs.handles, d)
	fs.opens[d.node]--
	fs.reclaimLocked(d.node)
}

// handle is an open file or directory.
type handle struct {
	fs     *FS
	d      *descriptor // immutable
	dir    bool        // immutable
	writes bool        // immutable: opened for writing
	pos    int64       // guarded by fs.mu
	closed atomic.Bool
}

var _ vfs.File = (*handle)(nil)

func (fs *FS) newHandleLocked(d *descriptor, writes bool) *handle {
	return &handle{fs: fs, d: d, dir: fs.inodes[d.node].dir, writes: writes}
}

// orClose returns the handle, or closes it when the operation that opened it failed
// after the fact.
func (h *handle) orClose(err error) (vfs.File, error) {
	if err == nil {
		return h, nil
	}
	if h != nil {
		h.fs.mu.Lock()
		h.fs.closeLocked(h.d)
		h.fs.mu.Unlock()
	}
	return nil, err
}

// Open opens a file or a directory for reading.
func (fs *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return fs.open(Op{Kind: OpOpen, Path: clean(name)}, false, opts)
}

// OpenDir opens a directory, to be synced.
func (fs *FS) OpenDir(name string) (vfs.File, error) {
	return fs.open(Op{Kind: OpOpenDir, Path: clean(name)}, false, nil)
}

// OpenReadWrite opens a file for reading and writing, and makes it when there is none.
func (fs *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	p := clean(name)
	for {
		f, err := fs.open(Op{Kind: OpOpen, Path: p}, true, opts)
		if !errors.Is(err, errNoFile) {
			return f, err
		}
		f, err = fs.create(Op{Kind: OpCreate, Path: p})
		if errors.Is(err, iofs.ErrExist) {
			continue // somebody else made it meanwhile
		}
		if err == nil {
			for _, opt := range opts {
				opt.Apply(f)
			}
		}
		return f, err
	}
}

// errNoFile says that a file to be opened for writing has to be made.
var errNoFile = errors.New("crashfs: no such file yet")

func (fs *FS) open(op Op, writes bool, opts []vfs.OpenOption) (vfs.File, error) {
	var h *handle
	err := fs.observe(op, func(*Fault) error {
		at, err := fs.walkLocked(op, op.Path)
		switch {
		case err != nil:
			return err
		case at.node == noIno && writes:
			return errNoFile
		case at.node == noIno:
			return pathError(op, iofs.ErrNotExist)
		case writes && fs.inodes[at.node].dir:
			return pathError(op, syscall.EISDIR)
		case writes && fs.limits.ReadOnly:
			return pathError(op, syscall.EROFS)
		}
		d, err := fs.openLocked(op, at.node)
		if err != nil {
			return err
		}
		h = fs.newHandleLocked(d, writes)
		return nil
	})
	f, err := h.orClose(err)
	if err != nil {
		return nil, err
	}
	for _, opt := range opts {
		opt.Apply(f)
	}
	return f, nil
}

func (h *handle) op(kind OpKind, off, length int64) Op {
	return Op{Kind: kind, Path: h.d.path, Offset: off, Len: length}
}

// usable refuses what the handle can never do. Such calls reach no disk and are not
// counted. Like a real one, a handle that is closed says so.
func (h *handle) usable(op Op, toWrite bool) error {
	switch {
	case h.closed.Load():
		return pathError(op, iofs.ErrClosed)
	case toWrite && !h.writes:
		return pathError(op, syscall.EBADF)
	}
	return nil
}

// open wraps an effect on the handle's inode, which is there only as long as the handle
// is: a Close may have overtaken the operation.
func (h *handle) open(op Op, effect func(*Fault) error) func(*Fault) error {
	return func(f *Fault) error {
		if _, open := h.fs.handles[h.d]; !open {
			return pathError(op, iofs.ErrClosed)
		}
		return effect(f)
	}
}

// Close gives the descriptor back. It syncs nothing. A second Close is an error.
func (h *handle) Close() error {
	op := h.op(OpClose, 0, 0)
	if h.closed.Swap(true) {
		return pathError(op, iofs.ErrClosed)
	}
	h.fs.mu.Lock()
	h.fs.closeLocked(h.d)
	dead := h.fs.dead
	h.fs.mu.Unlock()
	if dead {
		return nil
	}
	return h.fs.inspect(op, func(*Fault) error { return nil })
}

// Read reads from the handle's place on.
func (h *handle) Read(p []byte) (int, error) {
	h.fs.mu.RLock()
	op := h.op(OpRead, h.pos, int64(len(p)))
	h.fs.mu.RUnlock()
	n, err := h.read(op, p, h.fs.observe, func(n int) { h.pos += int64(n) })
	if err == io.EOF && n > 0 {
		err = nil // the next call will find the end
	}
	return n, err
}

// ReadAt reads from off on. Less than len(p) bytes come with io.EOF.
func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	op := h.op(OpRead, off, int64(len(p)))
	if off < 0 {
		return 0, pathError(op, syscall.EINVAL)
	}
	n, err := h.read(op, p, h.fs.inspect, func(int) {})
	return n, err
}

func (h *handle) read(
	op Op, p []byte, run func(Op, func(*Fault) error) error, advance func(int),
) (int, error) {
	if err := h.usable(op, false); err != nil {
		return 0, err
	}
	n := 0
	err := run(op, h.open(op, func(f *Fault) error {
		if h.dir {
			return pathError(op, syscall.EISDIR)
		}
		short := f != nil && f.Short
		if short {
			p = p[:min(len(p), max(f.Bytes, 0))]
		}
		n = h.fs.inodes[h.d.node].cache.readAt(p, op.Offset)
		advance(n)
		if short && f.Err != nil {
			return f.error(op)
		}
		if n < len(p) {
			return io.EOF
		}
		return nil
	}))
	return n, err
}

// Write writes at the handle's place. In builds with the race detector it scrambles p
// afterwards, as the contract of vfs.File allows.
func (h *handle) Write(p []byte) (int, error) {
	h.fs.mu.RLock()
	op := h.op(OpWrite, h.pos, int64(len(p)))
	h.fs.mu.RUnlock()
	n, err := h.write(op, p, func(n int) { h.pos += int64(n) })
	if raceEnabled {
		for i := range p {
			p[i] ^= 0xff //lint:ignore SA1023 vfs.File lets Write change p, and callers must be ready for that
		}
	}
	return n, err
}

// WriteAt writes at off and leaves p as it was. It works on every handle that writes,
// and is refused on those of Open.
func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	op := h.op(OpWrite, off, int64(len(p)))
	if off < 0 {
		return 0, pathError(op, syscall.EINVAL)
	}
	return h.write(op, p, func(int) {})
}

func (h *handle) write(op Op, p []byte, advance func(int)) (int, error) {
	if err := h.usable(op, true); err != nil {
		return 0, err
	}
	n := 0
	err := h.fs.mutate(op, h.open(op, func(f *Fault) error {
		short := f != nil && f.Short
		if short {
			p = p[:min(len(p), max(f.Bytes, 0))]
		}
		fits := h.fs.takeSpaceLocked(h.d.node, op.Offset, int64(len(p)))
		h.fs.writeLocked(h.d.node, op, p[:fits])
		advance(int(fits))
		if f == nil || !f.After {
			n = int(fits)
		}
		switch {
		case fits < int64(len(p)):
			return pathError(op, syscall.ENOSPC)
		case short && f.Err != nil:
			return f.error(op)
		}
		return nil
	}))
	return n, err
}

// writeLocked changes the cache and notes the write as unsynced.
func (fs *FS) writeLocked(i ino, op Op, p []byte) {
	n := fs.ownLocked(i)
	n.modTime = fs.now()
	if len(p) == 0 {
		return
	}
	n.cache.writeAt(p, op.Offset, fs.epoch)
	fs.seq++
	n.writes = append(n.writes, write{fs.seq, op.Path, op.Offset, append([]byte(nil), p...)})
}

// Preallocate takes space for [offset, offset+length) and leaves the size as it is.
func (h *handle) Preallocate(offset, length int64) error {
	op := h.op(OpPreallocate, offset, length)
	if err := h.usable(op, true); err != nil {
		return err
	}
	if offset < 0 || length <= 0 {
		return pathError(op, syscall.EINVAL)
	}
	return h.fs.mutate(op, h.open(op, func(*Fault) error {
		return h.fs.reserveLocked(op, h.d.node)
	}))
}

// Stat describes the file, under the name that it was opened by.
func (h *handle) Stat() (vfs.FileInfo, error) {
	op := h.op(OpStat, 0, 0)
	if err := h.usable(op, false); err != nil {
		return nil, err
	}
	var info vfs.FileInfo
	err := h.fs.inspect(op, h.open(op, func(*Fault) error {
		info = h.fs.infoLocked(op.Path, h.d.node)
		return nil
	}))
	if err != nil {
		return nil, err
	}
	return info, nil
}

// Prefetch does nothing: all is in the cache.
func (h *handle) Prefetch(offset, length int64) error {
	return h.usable(h.op(OpRead, offset, length), false)
}

// Fd returns vfs.InvalidFd.
func (h *handle) Fd() uintptr { return vfs.InvalidFd }

// info describes an inode at one moment.
type info struct {
	name    string
	size    int64
	modTime time.Time
	dir     bool
}

var _ vfs.FileInfo = info{}

func (fs *FS) infoLocked(p string, i ino) vfs.FileInfo {
	n := fs.inodes[i]
	return info{name: path.Base(p), size: n.cache.size, modTime: n.modTime, dir: n.dir}
}

func (i info) Name() string           { return i.name }
func (i info) Size() int64            { return i.size }
func (i info) ModTime() time.Time     { return i.modTime }
func (i info) IsDir() bool            { return i.dir }
func (i info) Sys() any               { return nil }
func (i info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
func (i info) Mode() os.FileMode {
	if i.dir {
		return os.ModeDir | 0o755
	}
	return 0o644
}
