package crashfs

import (
	"errors"
	iofs "io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Create makes a file. A file that had the name loses it first, as an operation of
// its own (OpRemove), and lives on for those who have it open.
func (fs *FS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	op := Op{Kind: OpCreate, Path: clean(name)}
	if err := fs.checkDescriptors(op); err != nil {
		return nil, err
	}
	for {
		if fs.isFile(op.Path) {
			err := fs.Remove(op.Path)
			if err != nil && !errors.Is(err, iofs.ErrNotExist) {
				return nil, err
			}
		}
		f, err := fs.create(op)
		if !errors.Is(err, iofs.ErrExist) || !fs.isFile(op.Path) {
			return f, err
		}
	}
}

// create makes a file of a name that must be free.
func (fs *FS) create(op Op) (vfs.File, error) {
	var h *handle
	err := fs.mutate(op, func(*Fault) error {
		at, err := fs.walkLocked(op, op.Path)
		if err != nil {
			return err
		}
		if at.node != noIno {
			if fs.inodes[at.node].dir {
				return pathError(op, syscall.EISDIR)
			}
			return pathError(op, iofs.ErrExist)
		}
		if err := fs.roomForNameLocked(op); err != nil {
			return err
		}
		d, err := fs.openLocked(op, noIno)
		if err != nil {
			return err
		}
		d.node = fs.addLocked(false)
		fs.opens[d.node]++
		fs.bindLocked(op, at, d.node)
		h = fs.newHandleLocked(d, true)
		return nil
	})
	return h.orClose(err)
}

func (fs *FS) isFile(p string) bool {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	at, err := fs.findLocked(Op{}, p)
	return err == nil && !fs.inodes[at.node].dir
}

// bindLocked gives an inode a free name.
func (fs *FS) bindLocked(op Op, at found, node ino) {
	fs.enterLocked(entryOp{kind: op.Kind, dir: at.dir, name: at.name, node: node, path: op.Path, to: op.To})
	fs.links[node]++
}

// enterLocked does an operation on names for lookups, and notes it as unsynced.
func (fs *FS) enterLocked(e entryOp) {
	fs.seq++
	e.seq = fs.seq
	e.apply(fs.setEntryLocked)
	fs.entryOps = append(fs.entryOps, e)
}

func (fs *FS) setEntryLocked(dir ino, name string, node ino) {
	d := fs.ownLocked(dir)
	d.setEntry(name, node)
	d.modTime = fs.now()
}

// Link gives a file a second name, which must be free.
func (fs *FS) Link(oldname, newname string) error {
	op := Op{Kind: OpLink, Path: clean(oldname), To: clean(newname)}
	return fs.mutate(op, func(*Fault) error {
		old, err := fs.findLocked(op, op.Path)
		if err != nil {
			return err
		}
		if fs.inodes[old.node].dir {
			return pathError(op, syscall.EPERM)
		}
		at, err := fs.walkLocked(op, op.To)
		if err != nil {
			return err
		}
		if at.node != noIno {
			return pathError(Op{Kind: OpLink, Path: op.To}, iofs.ErrExist)
		}
		fs.bindLocked(op, at, old.node)
		return nil
	})
}

// Remove takes away the name of a file or of an empty directory.
func (fs *FS) Remove(name string) error {
	op := Op{Kind: OpRemove, Path: clean(name)}
	return fs.mutate(op, func(*Fault) error {
		at, err := fs.findLocked(op, op.Path)
		if err != nil {
			return err
		}
		n := fs.inodes[at.node]
		switch {
		case at.node == rootIno:
			return pathError(op, syscall.EINVAL)
		case n.dir && len(n.entries) > 0:
			return pathError(op, syscall.ENOTEMPTY)
		}
		fs.enterLocked(entryOp{kind: OpRemove, dir: at.dir, name: at.name, node: at.node, path: op.Path})
		fs.removed = append(fs.removed, Removal{N: fs.n.Load(), Path: op.Path, Dir: n.dir, By: OpRemove})
		fs.dropLinkLocked(at.node)
		return nil
	})
}

// RemoveAll removes a file, or a directory with all in it, one name at a time and
// children first. It goes on after an error and returns the first. That there is
// nothing to remove is no error.
func (fs *FS) RemoveAll(name string) error {
	p := clean(name)
	var first error
	for _, child := range fs.childrenForRemoval(p) {
		if err := fs.RemoveAll(join(p, child)); err != nil && first == nil {
			first = err
		}
	}
	if p == "/" {
		return first
	}
	if _, err := fs.stat(p); errors.Is(err, iofs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return first
	}
	if err := fs.Remove(p); err != nil && first == nil && !errors.Is(err, iofs.ErrNotExist) {
		first = err
	}
	return first
}

func (fs *FS) childrenForRemoval(p string) []string {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	at, err := fs.findLocked(Op{}, p)
	if err != nil {
		return nil
	}
	return sortedNames(fs.inodes[at.node].entries)
}

// Rename moves a name, atomically, over another file or an empty directory if need be.
func (fs *FS) Rename(oldname, newname string) error {
	op := Op{Kind: OpRename, Path: clean(oldname), To: clean(newname)}
	return fs.mutate(op, func(*Fault) error {
		old, err := fs.findLocked(op, op.Path)
		if err != nil {
			return err
		}
		at, err := fs.walkLocked(op, op.To)
		if err != nil {
			return err
		}
		if old.node == at.node {
			return nil
		}
		if err := fs.mayReplaceLocked(op, old, at); err != nil {
			return err
		}
		fs.enterLocked(entryOp{
			kind: OpRename, dir: old.dir, name: old.name, node: old.node,
			toDir: at.dir, toName: at.name, path: op.Path, to: op.To,
		})
		if at.node != noIno {
			fs.removed = append(fs.removed,
				Removal{N: fs.n.Load(), Path: op.To, Dir: fs.inodes[at.node].dir, By: OpRename})
			fs.dropLinkLocked(at.node)
		}
		return nil
	})
}

// mayReplaceLocked checks what the two sides of a rename are.
func (fs *FS) mayReplaceLocked(op Op, old, at found) error {
	moved := fs.inodes[old.node]
	if moved.dir && (op.Path == "/" || strings.HasPrefix(op.To, op.Path+"/")) {
		return pathError(op, syscall.EINVAL)
	}
	if at.node == noIno {
		return nil
	}
	switch n := fs.inodes[at.node]; {
	case moved.dir && !n.dir:
		return pathError(op, syscall.ENOTDIR)
	case !moved.dir && n.dir:
		return pathError(op, syscall.EISDIR)
	case len(n.entries) > 0:
		return pathError(op, syscall.ENOTEMPTY)
	}
	return nil
}

// ReuseForWrite renames a file and opens it for writing from its beginning,
// keeping its bytes: two operations.
func (fs *FS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return fs.OpenReadWrite(newname, c)
}

// MkdirAll makes a directory and those above it, from the top, one operation each.
// Permissions are not kept.
func (fs *FS) MkdirAll(dir string, _ os.FileMode) error {
	p := clean(dir)
	for end := 1; end <= len(p); end++ {
		if p == "/" || end < len(p) && p[end] != '/' {
			continue
		}
		if err := fs.mkdir(p[:end]); err != nil {
			return err
		}
	}
	return nil
}

func (fs *FS) mkdir(p string) error {
	op := Op{Kind: OpMkdir, Path: p}
	fs.mu.RLock()
	at, err := fs.findLocked(op, p)
	isDir := err == nil && fs.inodes[at.node].dir
	dead := fs.dead
	fs.mu.RUnlock()
	if isDir && !dead {
		return nil
	}
	return fs.mutate(op, func(*Fault) error {
		at, err := fs.walkLocked(op, p)
		if err != nil {
			return err
		}
		if at.node != noIno {
			if fs.inodes[at.node].dir {
				return nil
			}
			return pathError(op, syscall.ENOTDIR)
		}
		if err := fs.roomForNameLocked(op); err != nil {
			return err
		}
		fs.bindLocked(op, at, fs.addLocked(true))
		return nil
	})
}

// List returns the names in a directory, in order.
func (fs *FS) List(dir string) ([]string, error) {
	op := Op{Kind: OpList, Path: clean(dir)}
	var names []string
	err := fs.inspect(op, func(*Fault) error {
		at, err := fs.findLocked(op, op.Path)
		if err != nil {
			return err
		}
		if !fs.inodes[at.node].dir {
			return pathError(op, syscall.ENOTDIR)
		}
		// A real listing opens the directory for a moment.
		if err := fs.descriptorsLocked(op); err != nil {
			return err
		}
		names = sortedNames(fs.inodes[at.node].entries)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

// Stat describes what a path leads to.
func (fs *FS) Stat(name string) (vfs.FileInfo, error) {
	op := Op{Kind: OpStat, Path: clean(name)}
	var info vfs.FileInfo
	err := fs.inspect(op, func(*Fault) error {
		at, err := fs.findLocked(op, op.Path)
		if err == nil {
			info = fs.infoLocked(op.Path, at.node)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

// stat is Stat without being counted or failing by injection.
func (fs *FS) stat(p string) (ino, error) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	at, err := fs.findLocked(Op{Kind: OpStat, Path: p}, p)
	return at.node, err
}

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}

func sortedNames(m map[string]ino) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
