package index

// Verify reads the whole file and checks everything the package doc says of it: the check of
// each block, that rows and entries are sorted and in range, that inner nodes say of their
// children what is so, that sums and numbers agree, and that unused bytes are zero. The error is
// a *CorruptError for the first thing that does not hold, or one of reading.
//
// It does not compare the index with its segment. It holds 24 bytes a leaf.
func (f *File) Verify() error {
	f.forget() // what is on disk now is judged
	b := new(block)
	if err := f.verifyHead(b); err != nil {
		return err
	}
	keys, err := f.verifyLeaves(b)
	if err != nil {
		return err
	}
	first := uint32(1) // number of the first block of the level beneath
	for level := uint8(1); level < f.head.height; level++ {
		next := first + uint32(len(keys))
		if keys, err = f.verifyInner(b, level, first, keys); err != nil {
			return err
		}
		first = next
	}
	return f.verifyTopics(b)
}

func (f *File) verifyHead(b *block) error {
	if err := f.readAt(b, 0); err != nil {
		return err
	}
	if _, err := decodeHead(f.name, b); err != nil {
		return err
	}
	want := f.head.encode()
	for i := range b {
		if b[i] != want[i] {
			// The decoder has looked at all but the bytes behind the name, unless the file
			// was changed since it was opened.
			return f.corrupt(0, i, "zero", uint64(want[i]), uint64(b[i]))
		}
	}
	return nil
}

// verifyLeaves returns the key of the first entry of each leaf.
func (f *File) verifyLeaves(b *block) (keys []key, err error) {
	v := leafVerifier{walk: walk{file: f, block: b}}
	for leaf := uint32(1); leaf <= f.head.leaves; leaf++ {
		if err := v.verify(leaf); err != nil {
			return nil, err
		}
		keys = append(keys, b.group(0).key())
	}
	if v.entries != f.head.entries {
		return nil, f.corrupt(0, 56, "sum", f.head.entries, v.entries)
	}
	if v.runs != uint64(f.head.runs) {
		return nil, f.corrupt(0, 52, "sum", uint64(f.head.runs), v.runs)
	}
	return keys, nil
}

// leafVerifier decodes leaves in order and compares each entry with the one before it.
type leafVerifier struct {
	walk          walk
	runs, entries uint64

	partition uint32 // of the entry before
	last      Entry  // the entry before
	sum       int64  // bytes of the run up to its end
}

func (v *leafVerifier) verify(leaf uint32) error {
	w := &v.walk
	if err := w.enter(leaf); err != nil {
		return err
	}
	end := rowsAt + w.block.rows()*groupBytes // of the deltas of the group before
	for row := range w.block.rows() {
		g := w.block.group(row)
		if begin := rowsAt + w.block.rows()*groupBytes + g.deltas; begin != end {
			return w.file.corrupt(leaf, rowsAt+row*groupBytes+4, "group", uint64(end), uint64(begin))
		}
		if err := v.group(g, row); err != nil {
			return err
		}
		end = w.at
	}
	return w.file.verifyZeros(w.block, leaf, end)
}

func (v *leafVerifier) group(g group, row int) error {
	w, at := &v.walk, rowsAt+row*groupBytes
	if v.entries > 0 && g.partition < v.partition {
		return w.file.corrupt(w.leaf, at, "order", uint64(v.partition), uint64(g.partition))
	}
	if v.entries == 0 || g.partition != v.partition {
		v.partition, v.last, v.sum = g.partition, Entry{MaxTimestamp: g.max}, 0
		v.runs++
	}
	// Inside a group the decoder sees to the order; from group to group this does.
	if last := v.last; g.offset < last.End() || g.byte < last.Byte || g.max < last.MaxTimestamp {
		return w.file.corrupt(w.leaf, at+8, "order", uint64(last.End()), uint64(g.offset))
	}
	if g.sum != v.sum {
		return w.file.corrupt(w.leaf, at+32, "sum", uint64(v.sum), uint64(g.sum))
	}
	w.row = row + 1
	e, err := w.begin(g)
	for err == nil && w.left > 0 {
		e, err = w.decode()
	}
	v.last, v.sum = e, w.sum
	v.entries += uint64(g.entries)
	return err
}

// verifyInner checks the nodes of a level against the keys of the level beneath, whose first
// block is first, and returns the keys of its own.
func (f *File) verifyInner(b *block, level uint8, first uint32, keys []key) (own []key, err error) {
	number := first + uint32(len(keys))
	for done := 0; done < len(keys); number++ {
		if err := f.read(b, number, level); err != nil {
			return nil, err
		}
		if want := min(childrenPerNode, len(keys)-done); b.rows() != want {
			return nil, f.corrupt(number, 2, "rows", uint64(want), uint64(b.rows()))
		}
		own = append(own, keys[done])
		for row := range b.rows() {
			at, c := rowsAt+row*childBytes, b.child(row)
			if want := first + uint32(done); c.number != want {
				return nil, f.corrupt(number, at+4, "child", uint64(want), uint64(c.number))
			}
			if want := keys[done]; c.key != want {
				return nil, f.corrupt(number, at, "order", uint64(want.offset), uint64(c.offset))
			}
			done++
		}
		if err := f.verifyZeros(b, number, rowsAt+b.rows()*childBytes); err != nil {
			return nil, err
		}
	}
	return own, nil
}

func (f *File) verifyTopics(b *block) error {
	if _, err := f.TopicBytes(); err != nil {
		return err
	}
	left := int(f.head.topics)
	for number := 1 + f.head.nodes; left > 0; number++ {
		if err := f.read(b, number, levelTopics); err != nil {
			return err
		}
		if want := min(topicsPerBlock, left); b.rows() != want {
			return f.corrupt(number, 2, "rows", uint64(want), uint64(b.rows()))
		}
		left -= b.rows()
		if err := f.verifyZeros(b, number, rowsAt+b.rows()*topicBytes); err != nil {
			return err
		}
	}
	return nil
}

// verifyZeros checks the bytes of a block from end to its check, and the one beside its level.
func (f *File) verifyZeros(b *block, number uint32, end int) error {
	if b[1] != 0 {
		return f.corrupt(number, 1, "zero", 0, uint64(b[1]))
	}
	for i := end; i < checkAt; i++ {
		if b[i] != 0 {
			return f.corrupt(number, i, "zero", 0, uint64(b[i]))
		}
	}
	return nil
}
