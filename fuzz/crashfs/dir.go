package crashfs

// entryOp is an unsynced operation on names. It is one of
//
//	bind    dir/name is node            OpCreate, OpMkdir, OpLink
//	unbind  dir/name, which was node    OpRemove
//	move    dir/name to toDir/toName    OpRename
type entryOp struct {
	seq      uint64
	kind     OpKind
	dir      ino
	name     string
	node     ino
	toDir    ino    // OpRename only
	toName   string // OpRename only
	path, to string // for people
}

// place is a name in a directory.
type place struct {
	dir  ino
	name string
}

func (e *entryOp) from() place { return place{e.dir, e.name} }
func (e *entryOp) dest() place { return place{e.toDir, e.toName} }

// touches reports whether the operation changes any name of the directory.
func (e *entryOp) touches(dir ino) bool {
	return e.dir == dir || e.kind == OpRename && e.toDir == dir
}

// in reports whether the operation changes one of these names.
func (e *entryOp) in(names map[place]bool) bool {
	return names[e.from()] || e.kind == OpRename && names[e.dest()]
}

// mark adds the names that the operation changes.
func (e *entryOp) mark(names map[place]bool) {
	names[e.from()] = true
	if e.kind == OpRename {
		names[e.dest()] = true
	}
}

// apply does the operation through set, which binds a name, or unbinds it when
// given noIno.
func (e *entryOp) apply(set func(dir ino, name string, node ino)) {
	switch e.kind {
	case OpRemove:
		set(e.dir, e.name, noIno)
	case OpRename:
		set(e.dir, e.name, noIno)
		set(e.toDir, e.toName, e.node)
	default:
		set(e.dir, e.name, e.node)
	}
}

// splitEntryOps divides operations into those that a sync of dir makes durable
// and the rest, both in order. A rename is atomic, so one that leads into or out
// of dir takes with it all that was done before to its name on the other side.
func splitEntryOps(ops []entryOp, dir ino) (synced, rest []entryOp) {
	take := make([]bool, len(ops))
	needed := map[place]bool{}
	for i := len(ops) - 1; i >= 0; i-- {
		if op := &ops[i]; op.touches(dir) || op.in(needed) {
			take[i] = true
			op.mark(needed)
		}
	}
	for i, op := range ops {
		if take[i] {
			synced = append(synced, op)
		} else {
			rest = append(rest, op)
		}
	}
	return synced, rest
}
