package crashfs

import (
	"cmp"
	"slices"
	"sync"
)

// Snapshot is a machine at one moment: what its cache shows, what its disk has, and
// what lies between. It never changes and may be used by several goroutines at once.
type Snapshot struct {
	// N is the number of the last mutating operation that had begun.
	N int64

	limits         Options
	seq            uint64
	inodes         []*inode
	entryOps       []entryOp
	namesForgotten bool

	planOnce sync.Once
	planned  plan
}

// Snapshot takes one, in time proportional to the number of files. It may be called
// from a hook.
func (fs *FS) Snapshot() *Snapshot {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.snapshotLocked()
}

func (fs *FS) snapshotLocked() *Snapshot {
	// From here on nothing that the snapshot refers to may change in place.
	fs.epoch = nextEpoch()
	limits := fs.limits
	limits.Now, limits.FullSyncTo = fs.now, fs.fullSyncTo
	return &Snapshot{
		N:              fs.n.Load(),
		limits:         limits,
		seq:            fs.seq,
		inodes:         slices.Clone(fs.inodes),
		entryOps:       slices.Clip(fs.entryOps),
		namesForgotten: fs.namesForgotten,
	}
}

// Kill ends the process that uses the file system, and returns what the next process
// finds: the cache is as it was, nothing became durable, limits stay, nothing is
// open or locked, and there are no faults and no hooks. Every later call on the old file
// system and its handles fails with ErrKilled. Kill may be called from a hook;
// from the first call of the two, the operation has no effect.
func (fs *FS) Kill() *FS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.dead = true
	return fs.snapshotLocked().Clone()
}

// Clone returns a running machine in the state of the snapshot, unsynced changes
// included, as Kill would have.
func (s *Snapshot) Clone() *FS {
	fs := newFS(s.limits, slices.Clone(s.inodes), s.entryOps)
	fs.seq, fs.namesForgotten = s.seq, s.namesForgotten
	return fs
}

// plan is what a power cut has to decide about.
type plan struct {
	ops  []unsynced // in order
	live []bool     // by inode: whether any image can reach it
}

// unsynced is one write, or one operation on names.
type unsynced struct {
	seq   uint64
	node  ino // of a write
	write int // index in writes, or -1
	entry int // index in entryOps, or -1
}

func (s *Snapshot) plan() *plan {
	s.planOnce.Do(func() {
		p := &s.planned
		p.live = reach([]ino{rootIno}, s.inodes, s.entryOps, false)
		for i, n := range s.inodes {
			if !p.live[i] {
				continue
			}
			for k, w := range n.writes {
				p.ops = append(p.ops, unsynced{w.seq, ino(i), k, -1})
			}
		}
		for k, op := range s.entryOps {
			if p.live[op.dir] {
				p.ops = append(p.ops, unsynced{op.seq, noIno, -1, k})
			}
		}
		slices.SortFunc(p.ops, func(a, b unsynced) int { return cmp.Compare(a.seq, b.seq) })
	})
	return &s.planned
}

// Unsynced returns what a power cut may take away, in the order in which it was done:
// writes and operations on names. Cut.Ops counts these. N and After are not set.
func (s *Snapshot) Unsynced() []Op {
	p := s.plan()
	ops := make([]Op, len(p.ops))
	for k, u := range p.ops {
		if u.write >= 0 {
			w := s.inodes[u.node].writes[u.write]
			ops[k] = Op{Kind: OpWrite, Path: w.path, Offset: w.off, Len: int64(len(w.data))}
			continue
		}
		e := s.entryOps[u.entry]
		ops[k] = Op{Kind: e.kind, Path: e.path, To: e.to}
	}
	return ops
}
