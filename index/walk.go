package index

import (
	"encoding/binary"
	"math"
)

// walk goes over the entries of a File in order, from a place that it was brought to by seek or
// enter. It goes on to the next leaf by itself and never back, so it ends on any file.
//
// What the checks of blocks cannot catch, because it was written so, it refuses where it would lead
// to a wrong place or a wrong sum: entries out of range, or behind each other in the wrong order.
type walk struct {
	file  *File
	block *block // the leaf
	// own is what is read into where leaves are kept, and block may be a kept one; nil where they are not.
	own *block

	leaf  uint32 // its number, 0 before seek, above the number of leaves at the end
	row   int    // the group that next begins with when left is 0
	left  int    // entries of the current group that are still to come
	at    int    // where in the block the next delta begins
	entry Entry  // the last one
	sum   int64  // bytes of its run up to its end

	partition uint32 // of the current group
}

// seek goes to the last group that s covers: the entry it looks for is in it, or is the first
// of the partition behind it.
func (w *walk) seek(s before) error {
	f := w.file
	if f.head.leaves == 0 {
		w.leaf = 1
		return nil
	}
	number := f.head.nodes // the root
	for level := f.head.height - 1; level > 0; level-- {
		node := f.recall(number, level)
		if node == nil {
			if node = w.own; node == nil {
				node = w.block
			}
			if err := f.read(node, number, level); err != nil {
				return err
			}
		}
		i := lastCovered(node.rows(), s, func(i int) key { return node.child(i).key })
		// That the child is of the level beneath is seen when it is read.
		c := node.child(i).number
		if c < 1 || c >= number {
			return f.corrupt(number, rowsAt+i*childBytes+4, "child", uint64(number), uint64(c))
		}
		number = c
	}
	if err := w.enter(number); err != nil {
		return err
	}
	w.row = lastCovered(w.block.rows(), s, func(i int) key { return w.block.group(i).key() })
	return nil
}

// enter goes to the first entry of a leaf.
func (w *walk) enter(leaf uint32) error {
	w.leaf, w.row, w.left = leaf, 0, 0
	if w.own == nil {
		return w.file.read(w.block, leaf, 0)
	}
	if w.block = w.file.recallLeaf(leaf); w.block != nil {
		return nil
	}
	w.block = w.own
	if err := w.file.read(w.block, leaf, 0); err != nil {
		return err
	}
	w.file.keepLeaf(w.block, leaf)
	return nil
}

// next returns the next entry and its partition. It passes over groups of partitions below
// lowest without decoding them.
func (w *walk) next(lowest uint32) (partition uint32, e Entry, ok bool, err error) {
	if w.left > 0 {
		e, err = w.decode()
		return w.partition, e, err == nil, err
	}
	for w.leaf <= w.file.head.leaves {
		for w.row < w.block.rows() {
			g := w.block.group(w.row)
			w.row++
			if g.partition < lowest {
				continue
			}
			e, err = w.begin(g)
			return w.partition, e, err == nil, err
		}
		if w.leaf == w.file.head.leaves {
			w.leaf++
			break
		}
		if err := w.enter(w.leaf + 1); err != nil {
			return 0, Entry{}, false, err
		}
	}
	return 0, Entry{}, false, nil
}

// begin decodes the first entry of the group in the row before w.row.
func (w *walk) begin(g group) (Entry, error) {
	rowAt := rowsAt + (w.row-1)*groupBytes
	deltasAt := rowsAt + w.block.rows()*groupBytes
	if g.entries < 1 || g.entries > maxGroup || deltasAt+g.deltas >= checkAt {
		return Entry{}, w.file.corrupt(w.leaf, rowAt+4, "group", maxGroup, uint64(g.entries))
	}
	w.partition, w.left, w.at, w.sum = g.partition, g.entries-1, deltasAt+g.deltas, g.sum
	var fields [2]uint64
	if err := w.uvarints(fields[:]); err != nil {
		return Entry{}, err
	}
	return w.take(Entry{Offset: g.offset, Byte: g.byte, MaxTimestamp: g.max}, fields[0], fields[1], rowAt)
}

// passBelow moves over entries of the current group that end at offset or before. It stands before the first one
// that it does not know to be sound, too, whatever its offset: decode judges that.
func (w *walk) passBelow(offset int64) {
	b, at, e, sum := w.block, w.at, w.entry, w.sum
	end := w.file.head.segment.EndByte
	for w.left > 0 && at < checkAt-5*2 {
		var d [5]uint64
		next, short := at, true
		for i := range d {
			v := uint64(b[next])
			if next++; v >= 0x80 {
				v = v&0x7f | uint64(b[next])<<7
				short = short && b[next] < 0x80
				next++
			}
			d[i] = v
		}
		if !short || d[3] == 0 || d[3]+d[0] > uint64(math.MaxInt64-e.End()) {
			break
		}
		n := Entry{Offset: e.End() + int64(d[0]), Byte: e.Byte + int64(d[1]), MaxTimestamp: e.MaxTimestamp + int64(d[2]), Count: int32(d[3]), Bytes: int32(d[4])}
		if n.End() > offset || n.Byte >= end || n.MaxTimestamp < e.MaxTimestamp || !n.valid() {
			break
		}
		e, at, sum = n, next, sum+int64(n.Bytes)
		w.left--
	}
	w.at, w.entry, w.sum = at, e, sum
}

// decode decodes a further entry of the current group.
func (w *walk) decode() (Entry, error) {
	w.left--
	at := w.at
	var d [5]uint64
	if err := w.uvarints(d[:]); err != nil {
		return Entry{}, err
	}
	last := &w.entry
	// Of offset and byte position, which are never negative, the difference must not overflow;
	// that of timestamps may be any of 64 bits.
	if d[0] > uint64(math.MaxInt64-last.End()) || d[1] > uint64(math.MaxInt64-last.Byte) ||
		last.MaxTimestamp+int64(d[2]) < last.MaxTimestamp {
		return Entry{}, w.file.corrupt(w.leaf, at, "entry", 0, 0)
	}
	return w.take(Entry{
		Offset:       last.End() + int64(d[0]),
		Byte:         last.Byte + int64(d[1]),
		MaxTimestamp: last.MaxTimestamp + int64(d[2]),
	}, d[3], d[4], at)
}

// take completes e by its count and size, and makes it the last entry. Byte at of the leaf is
// where it is encoded.
func (w *walk) take(e Entry, count, bytes uint64, at int) (Entry, error) {
	if count > math.MaxInt32 || bytes > math.MaxInt32 {
		return Entry{}, w.file.corrupt(w.leaf, at, "entry", math.MaxInt32, max(count, bytes))
	}
	e.Count, e.Bytes = int32(count), int32(bytes)
	if end := w.file.head.segment.EndByte; !e.valid() || e.Byte >= end {
		return Entry{}, w.file.corrupt(w.leaf, at, "entry", uint64(end), uint64(e.Byte))
	}
	w.entry = e
	w.sum += int64(e.Bytes)
	return e, nil
}

// uvarints decodes the varints at w.at.
func (w *walk) uvarints(fields []uint64) error {
	for i := range fields {
		if w.at < checkAt && w.block[w.at] < 0x80 {
			fields[i] = uint64(w.block[w.at])
			w.at++
			continue
		}
		v, n := binary.Uvarint(w.block[w.at:checkAt])
		if n <= 0 {
			return w.file.corrupt(w.leaf, w.at, "varint", 1, 0)
		}
		fields[i] = v
		w.at += n
	}
	return nil
}
