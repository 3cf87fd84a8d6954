package crashfs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// Image returns the file system that a power cut at the moment of the snapshot leaves,
// as the cut chooses. All in it is durable, nothing is open or locked, and it has
// no limits, faults or hooks. What it shares with the snapshot and with other images
// is copied before it changes.
func (s *Snapshot) Image(c Cut) *FS {
	b := &builder{s: s, cut: c, plan: s.plan(), rng: rand.New(rand.NewPCG(c.Seed, 0)), epoch: nextEpoch()}
	b.choose()
	inodes := make([]*inode, len(s.inodes))
	for i, n := range s.inodes {
		if !b.plan.live[i] {
			continue
		}
		switch {
		case n.dir:
			inodes[i] = &inode{dir: true, modTime: n.modTime, durable: n.durable}
		case len(n.writes) == 0 && !n.forgotten:
			inodes[i] = n
		default:
			inodes[i] = b.file(n)
		}
	}
	b.names(inodes)
	for _, n := range inodes {
		if n != nil && n.dir {
			n.entries = n.durable // shared: whoever changes the inode clones it first
		}
	}
	return newFS(Options{FullSyncTo: s.limits.FullSyncTo, Now: s.limits.Now}, inodes, nil)
}

// builder makes one image.
type builder struct {
	s     *Snapshot
	cut   Cut
	plan  *plan
	rng   *rand.Rand
	epoch uint64

	limit uint64 // operations up to this one are left, by policies that keep an order
	last  uint64 // the write that Torn and Mask take apart, or 0
}

// choose finds the end of the prefix.
func (b *builder) choose() {
	ops := b.plan.ops
	switch b.cut.Policy {
	case None:
		return
	case Prefix, Torn, Mask:
		ops = ops[:min(max(b.cut.Ops, 0), len(ops))]
	}
	if len(ops) > 0 {
		b.limit = ops[len(ops)-1].seq
	}
	if b.cut.Policy != Torn && b.cut.Policy != Mask {
		return
	}
	for _, u := range ops {
		if u.write >= 0 {
			b.last = u.seq
		}
	}
}

// sectorBytes is what a disk writes whole or not at all.
const sectorBytes = 512

// piece is a part of a write that arrived or did not, as a whole.
type piece struct {
	off  int64
	data []byte
	kept bool
	// part says that it is the end of a sector whose beginning arrived.
	part bool
}

// file returns a file as the power cut left it.
func (b *builder) file(n *inode) *inode {
	c := n.disk
	pieces := b.pieces(n)
	// Where a write arrived, whatever was lost before it does not show.
	fill := b.cut.Missing
	if fill == Mixed {
		fill = Fill(b.rng.IntN(3))
	}
	for _, p := range pieces {
		switch {
		case p.kept:
		case p.part && fill != Old:
			b.miss(&c, p, Zeros, n.disk.size)
		default:
			b.miss(&c, p, fill, n.disk.size)
		}
	}
	for _, p := range pieces {
		if p.kept {
			c.writeAt(p.data, p.off, b.epoch)
		}
	}
	// No epoch owns it from here on, so that cache and disk may share it.
	return &inode{modTime: n.modTime, cache: c, disk: c, space: extents(nil).add(0, c.size)}
}

// miss puts the fill in the place of a piece that did not arrive. Durable bytes, those
// below the durable size, are harmed only if the cut says so and they would have changed.
func (b *builder) miss(c *content, p piece, fill Fill, durable int64) {
	if fill == Old {
		return
	}
	if from := max(durable-p.off, 0); from > 0 {
		harmed := p.data[:min(from, int64(len(p.data)))]
		was := make([]byte, len(harmed))
		c.readAt(was, p.off)
		if b.cut.Overwrites && !bytes.Equal(was, harmed) {
			from = 0
		}
		if from >= int64(len(p.data)) {
			return
		}
		p.off, p.data = p.off+from, p.data[from:]
	}
	filled := make([]byte, len(p.data))
	switch fill {
	case Garbage:
		for i := 0; i < len(filled); i += 8 {
			var word [8]byte
			binary.LittleEndian.PutUint64(word[:], b.rng.Uint64())
			copy(filled[i:], word[:])
		}
	case Stale:
		if p.off < int64(len(b.cut.Stale)) {
			copy(filled, b.cut.Stale[p.off:])
		}
	}
	c.writeAt(filled, p.off, b.epoch)
}

// pieces takes the writes of a file apart and says of each part whether it arrived.
// The order is that of the writes, as far as parts overlap.
func (b *builder) pieces(n *inode) []piece {
	switch b.cut.Policy {
	case Subset, SubsetWrites:
		return b.drawBlocks(n)
	}
	pieces := make([]piece, 0, len(n.writes)+1)
	for _, w := range n.writes {
		switch {
		case w.seq != b.last:
			pieces = append(pieces, piece{off: w.off, data: w.data, kept: w.seq <= b.limit})
		case b.cut.Policy == Torn:
			at := min(max(b.cut.Bytes, 0), int64(len(w.data)))
			end := at
			if at > 0 {
				end = min((w.off+at+sectorBytes-1)/sectorBytes*sectorBytes-w.off, int64(len(w.data)))
			}
			pieces = append(pieces,
				piece{off: w.off, data: w.data[:at], kept: true},
				piece{off: w.off + at, data: w.data[at:end], part: true},
				piece{off: w.off + end, data: w.data[end:]})
		default:
			first := w.off / b.cut.block()
			for p := range w.blocks(b.cut.block()) {
				bit := min(p.off/b.cut.block()-first, 63)
				p.kept = b.cut.Mask>>bit&1 == 1
				pieces = append(pieces, p)
			}
		}
	}
	return pieces
}

// blocks yields the parts of a write, by blocks of the file.
func (w write) blocks(size int64) func(func(piece) bool) {
	return func(yield func(piece) bool) {
		for off := w.off; off < w.end(); {
			next := min((off/size+1)*size, w.end())
			if !yield(piece{off: off, data: w.data[off-w.off : next-w.off]}) {
				return
			}
			off = next
		}
	}
}

// drawBlocks draws for each block how many of the writes that touch it arrived.
func (b *builder) drawBlocks(n *inode) []piece {
	size := b.cut.block()
	var pieces []piece
	for _, w := range n.writes {
		for p := range w.blocks(size) {
			pieces = append(pieces, p)
		}
	}
	// Parts of different blocks do not overlap, so only the order within one matters.
	slices.SortStableFunc(pieces, func(x, y piece) int { return cmp.Compare(x.off/size, y.off/size) })
	for from := 0; from < len(pieces); {
		to := from + 1
		for to < len(pieces) && pieces[to].off/size == pieces[from].off/size {
			to++
		}
		arrived := to - from
		if b.rng.Float64() >= b.cut.keep() {
			arrived = b.rng.IntN(arrived)
		}
		for k := range arrived {
			pieces[from+k].kept = true
		}
		from = to
	}
	return pieces
}

// names does to the durable directories of the image what arrived of the operations on
// them.
func (b *builder) names(inodes []*inode) {
	set := func(dir ino, name string, node ino) { inodes[dir].setDurable(name, node) }
	// An operation needs the one before it on each of its names.
	lost := map[place]bool{}
	for _, u := range b.plan.ops {
		if u.entry < 0 {
			continue
		}
		op := &b.s.entryOps[u.entry]
		switch {
		case !op.in(lost) && b.arrives(op):
			op.apply(set)
		case b.cut.EarlyUnlinks && op.kind == OpRemove && b.rng.Float64() < b.cut.keep() && b.bound(inodes, op):
			op.apply(set)
		default:
			op.mark(lost)
		}
	}
}

// arrives decides about an operation all of whose predecessors arrived.
func (b *builder) arrives(op *entryOp) bool {
	switch b.cut.Policy {
	case Subset, SubsetEntries:
		return b.rng.Float64() < b.cut.keep()
	}
	return op.seq <= b.limit
}

// bound reports whether the name that op removes leads in the image to the same inode
// as when it was removed.
func (b *builder) bound(inodes []*inode, op *entryOp) bool {
	node, ok := inodes[op.dir].durable[op.name]
	return ok && node == op.node
}
