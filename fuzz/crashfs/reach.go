package crashfs

// recountLocked counts names and space anew from what lookups see. It is for when the
// tree changed otherwise than by operations.
func (fs *FS) recountLocked() {
	fs.links = make([]int, len(fs.inodes))
	if len(fs.opens) < len(fs.inodes) {
		fs.opens = append(fs.opens, make([]int, len(fs.inodes)-len(fs.opens))...)
	}
	fs.links[rootIno] = 1
	var visit func(i ino)
	visit = func(i ino) {
		for _, child := range fs.inodes[i].entries {
			fs.links[child]++
			if fs.links[child] == 1 && fs.inodes[child].dir {
				visit(child)
			}
		}
	}
	visit(rootIno)
	fs.used = 0
	for i, n := range fs.inodes {
		if n != nil && (fs.links[i] > 0 || fs.opens[i] > 0) {
			fs.used += n.space.total()
		}
	}
}

// reach marks what can be reached from the given inodes by names that are durable, by
// those that operations may yet make durable and, if visible is true, by those that
// lookups see.
func reach(from []ino, inodes []*inode, ops []entryOp, visible bool) []bool {
	pending := map[ino][]ino{}
	for k := range ops {
		op := &ops[k]
		pending[op.dir] = append(pending[op.dir], op.node)
		if op.kind == OpRename {
			// Both directories or neither: such an operation is one unit.
			pending[op.dir] = append(pending[op.dir], op.toDir)
			pending[op.toDir] = append(pending[op.toDir], op.node, op.dir)
		}
	}
	live := make([]bool, len(inodes))
	for todo := from; len(todo) > 0; {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if live[i] || inodes[i] == nil {
			continue
		}
		live[i] = true
		todo = append(todo, pending[i]...)
		for _, child := range inodes[i].durable {
			todo = append(todo, child)
		}
		if visible {
			for _, child := range inodes[i].entries {
				todo = append(todo, child)
			}
		}
	}
	return live
}

// sweepEvery is the least number of new inodes between two sweeps.
const sweepEvery = 1024

// sweepLocked forgets inodes that neither a lookup, a handle nor any image can reach.
// Numbers are not given out again.
func (fs *FS) sweepLocked() {
	from := []ino{rootIno}
	for i := range fs.inodes {
		if fs.opens[i] > 0 {
			from = append(from, ino(i))
		}
	}
	live := reach(from, fs.inodes, fs.entryOps, true)
	// An operation in a directory that is gone for good has nothing to act on.
	var ops []entryOp
	for _, op := range fs.entryOps {
		if live[op.dir] {
			ops = append(ops, op)
		}
	}
	fs.entryOps = ops
	count := 0
	for i := range fs.inodes {
		if live[i] {
			count++
		} else {
			fs.inodes[i] = nil
		}
	}
	fs.sweepAt = len(fs.inodes) + count + sweepEvery
}

// dropLinkLocked takes one name from an inode, and its space back with the last one
// unless it is still open.
func (fs *FS) dropLinkLocked(i ino) {
	fs.links[i]--
	fs.reclaimLocked(i)
}

func (fs *FS) reclaimLocked(i ino) {
	if fs.links[i] <= 0 && fs.opens[i] <= 0 {
		fs.used -= fs.inodes[i].space.total()
	}
}
