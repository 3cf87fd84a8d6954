package crashfs

import "syscall"

// SyncMode is what a sync does instead of its work.
type SyncMode uint8

const (
	// Honest makes durable what it should.
	Honest SyncMode = iota
	// Drop fails and forgets: nothing became durable, the cache still shows it, and it
	// counts as clean, so that later syncs succeed without it. It is what common
	// kernels do. For a directory the same holds of its names.
	Drop
	// Revert fails, forgets, and the cache shows again what is durable.
	Revert
	// Lie succeeds without doing anything. All stays unsynced, and an honest sync
	// makes it durable later.
	Lie
)

// String returns the mode's name in lower case.
func (m SyncMode) String() string {
	return [...]string{"honest", "drop", "revert", "lie"}[m&3]
}

// Sync makes the bytes and the size of a file durable, or the names in a directory.
func (h *handle) Sync() error { return h.sync(OpSync) }

// SyncData is Sync: the size of a file is needed to find its bytes.
func (h *handle) SyncData() error { return h.sync(OpSyncData) }

// SyncTo does nothing and promises nothing, unless Options.FullSyncTo is set. On a
// directory it never does anything.
func (h *handle) SyncTo(length int64) (fullSync bool, err error) {
	op := h.op(OpSyncTo, 0, length)
	if err := h.usable(op, false); err != nil || h.dir {
		return false, err
	}
	err = h.fs.mutate(op, h.open(op, func(f *Fault) error {
		if !h.fs.fullSyncTo {
			return nil
		}
		return h.fs.syncLocked(op, h.d.node, f)
	}))
	return err == nil && h.fs.fullSyncTo, err
}

func (h *handle) sync(kind OpKind) error {
	if h.dir {
		kind = OpSyncDir
	}
	op := h.op(kind, 0, 0)
	if err := h.usable(op, false); err != nil {
		return err
	}
	return h.fs.mutate(op, h.open(op, func(f *Fault) error {
		return h.fs.syncLocked(op, h.d.node, f)
	}))
}

func (fs *FS) syncLocked(op Op, i ino, f *Fault) error {
	mode := Honest
	if f != nil {
		mode = f.Sync
	}
	if fs.limits.ReadOnly && fs.dirtyLocked(i) {
		return pathError(op, syscall.EROFS)
	}
	if mode != Lie {
		if fs.inodes[i].dir {
			fs.syncDirLocked(i, mode)
		} else {
			fs.syncFileLocked(i, mode)
		}
	}
	if mode == Drop || mode == Revert {
		return f.error(op)
	}
	return nil
}

func (fs *FS) dirtyLocked(i ino) bool {
	if !fs.inodes[i].dir {
		return len(fs.inodes[i].writes) > 0
	}
	for k := range fs.entryOps {
		if fs.entryOps[k].touches(i) {
			return true
		}
	}
	return false
}

func (fs *FS) syncFileLocked(i ino, mode SyncMode) {
	if len(fs.inodes[i].writes) == 0 && mode != Revert {
		return
	}
	n := fs.ownLocked(i)
	switch {
	case mode == Drop:
		n.forgotten = true
	case mode == Revert:
		n.cache, n.forgotten = n.disk, false
	case n.forgotten:
		// The cache has more than may become durable.
		for _, w := range n.writes {
			n.disk.writeAt(w.data, w.off, fs.epoch)
		}
	default:
		n.disk = n.cache
	}
	n.writes = nil
	// Disk and cache may share bytes from here on, so neither may change them in place.
	fs.epoch = nextEpoch()
}

func (fs *FS) syncDirLocked(i ino, mode SyncMode) {
	synced, rest := splitEntryOps(fs.entryOps, i)
	if len(synced) > 0 {
		fs.entryOps = rest
	}
	switch mode {
	case Drop:
		fs.namesForgotten = fs.namesForgotten || len(synced) > 0
	case Revert:
		fs.namesForgotten = true
		fs.evictNamesLocked()
	default:
		for k := range synced {
			synced[k].apply(fs.setDurableLocked)
		}
	}
}

func (fs *FS) setDurableLocked(dir ino, name string, node ino) {
	fs.ownLocked(dir).setDurable(name, node)
}

// SyncAll makes everything durable, honestly: no fault applies, no hook is called and
// nothing is counted. What a failed sync forgot stays forgotten.
func (fs *FS) SyncAll() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.syncAllLocked()
}

func (fs *FS) syncAllLocked() {
	for i, n := range fs.inodes {
		if n != nil && !n.dir {
			fs.syncFileLocked(ino(i), Honest)
		}
	}
	for k := range fs.entryOps {
		fs.entryOps[k].apply(fs.setDurableLocked)
	}
	fs.entryOps = nil
}

// Evict empties the cache of all that is clean. After a sync that failed and forgot,
// reads see from here on what the disk has. Unsynced writes stay.
func (fs *FS) Evict() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i, n := range fs.inodes {
		if n == nil || !n.forgotten {
			continue
		}
		n = fs.ownLocked(ino(i))
		n.forgotten = false
		n.cache = n.disk
		// Their bytes are shared now, and whichever changes next must copy them.
		fs.epoch = nextEpoch()
		n = fs.ownLocked(ino(i))
		for _, w := range n.writes {
			n.cache.writeAt(w.data, w.off, fs.epoch)
		}
	}
	fs.evictNamesLocked()
}

// evictNamesLocked makes lookups see what is durable with the unsynced operations on it.
func (fs *FS) evictNamesLocked() {
	if !fs.namesForgotten {
		return
	}
	fs.namesForgotten = false
	for i, n := range fs.inodes {
		if n != nil && n.dir {
			n = fs.ownLocked(ino(i))
			n.entries, n.ownEntries = cloneMap(n.durable), true
		}
	}
	for k := range fs.entryOps {
		fs.entryOps[k].apply(fs.setEntryLocked)
	}
	fs.recountLocked()
}
