package crashfs

import (
	"path"
	"slices"
)

// Files returns the paths of all files that have one, in order. It is not counted as
// an operation and cannot fail, so that a checker does not disturb what it checks.
func (fs *FS) Files() []string {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	var files []string
	var visit func(p string, i ino)
	visit = func(p string, i ino) {
		if !fs.inodes[i].dir {
			files = append(files, p)
			return
		}
		for name, child := range fs.inodes[i].entries {
			visit(join(p, name), child)
		}
	}
	visit("/", rootIno)
	slices.Sort(files)
	return files
}

// ReadFile returns a copy of what reads of the file see. It is not counted as an
// operation, and fails only when there is no such file.
func (fs *FS) ReadFile(name string) ([]byte, error) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	op := Op{Kind: OpRead, Path: clean(name)}
	at, err := fs.findLocked(op, op.Path)
	if err != nil {
		return nil, err
	}
	return fs.inodes[at.node].cache.bytes(), nil
}

// WriteFile puts a new file with the given bytes in place of whatever has the name,
// with the directories above it, all durable at once. It is for preparing and
// damaging an image: it is not an operation, no limit or fault applies to it, and
// everything else that was unsynced becomes durable as well.
func (fs *FS) WriteFile(name string, data []byte) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	p := clean(name)
	dir := fs.plantDirLocked(path.Dir(p))
	i := fs.addLocked(false)
	n := fs.inodes[i]
	n.cache.writeAt(data, 0, fs.epoch)
	n.space = n.space.add(0, int64(len(data)))
	n.disk = n.cache
	fs.epoch = nextEpoch()
	fs.plantLocked(dir, path.Base(p), i)
	fs.syncAllLocked()
	fs.recountLocked()
}

// DeleteFile takes a name away, durably and with all below it, on the same terms as
// WriteFile. That there is no such name is no error.
func (fs *FS) DeleteFile(name string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	p := clean(name)
	at, err := fs.findLocked(Op{}, p)
	if err != nil || at.node == rootIno {
		return
	}
	fs.plantLocked(at.dir, at.name, noIno)
	fs.syncAllLocked()
	fs.recountLocked()
}

func (fs *FS) plantDirLocked(p string) ino {
	if p == "/" {
		return rootIno
	}
	parent, name := fs.plantDirLocked(path.Dir(p)), path.Base(p)
	if i, ok := fs.inodes[parent].entries[name]; ok && fs.inodes[i].dir {
		return i
	}
	i := fs.addLocked(true)
	fs.plantLocked(parent, name, i)
	return i
}

// plantLocked binds a name, to become durable with what was done to it before.
func (fs *FS) plantLocked(dir ino, name string, i ino) {
	kind, node := OpCreate, i
	if i == noIno {
		kind, node = OpRemove, fs.inodes[dir].entries[name]
	}
	fs.enterLocked(entryOp{kind: kind, dir: dir, name: name, node: node})
}
