package crashfs

import (
	"maps"
	"slices"
	"time"
)

// ino numbers the inodes of a file system, dense from 0, the root directory.
type ino int

const (
	rootIno ino = 0
	noIno   ino = -1
)

// inode is a file or a directory, without its name. One that carries the file
// system's current epoch may be changed, under its lock; any other belongs to a
// snapshot as well and never changes again.
type inode struct {
	epoch   uint64
	dir     bool
	modTime time.Time

	// Of a file. Reads see cache; disk is what is durable. As long as nothing was
	// forgotten, cache is disk with writes applied.
	cache, disk content
	writes      []write // unsynced, in order
	forgotten   bool    // cache shows bytes that are neither in disk nor in writes
	space       extents // bytes for which space is taken

	// Of a directory. Lookups see entries; durable is what it says.
	entries, durable       map[string]ino
	ownEntries, ownDurable bool // the map is referred to from here only
}

// write is an unsynced write. Its bytes never change.
type write struct {
	seq  uint64
	path string
	off  int64
	data []byte
}

func (w write) end() int64 { return w.off + int64(len(w.data)) }

// clone returns a copy that may be changed in the given epoch.
func (n *inode) clone(epoch uint64) *inode {
	c := *n
	c.epoch = epoch
	// The array behind writes is shared with whoever else clones n.
	c.writes = slices.Clip(c.writes)
	c.ownEntries, c.ownDurable = false, false
	return &c
}

// setEntry binds a name in what lookups see, or unbinds it when i is noIno.
func (n *inode) setEntry(name string, i ino) {
	if !n.ownEntries {
		n.entries, n.ownEntries = cloneMap(n.entries), true
	}
	setOrDelete(n.entries, name, i)
}

// setDurable binds a name in what is durable, or unbinds it when i is noIno.
func (n *inode) setDurable(name string, i ino) {
	if !n.ownDurable {
		n.durable, n.ownDurable = cloneMap(n.durable), true
	}
	setOrDelete(n.durable, name, i)
}

func cloneMap(m map[string]ino) map[string]ino {
	if m == nil {
		return map[string]ino{}
	}
	return maps.Clone(m)
}

func setOrDelete(m map[string]ino, name string, i ino) {
	if i == noIno {
		delete(m, name)
		return
	}
	m[name] = i
}
