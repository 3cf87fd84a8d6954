package crashfs

// extent is a range of bytes, [from, to), for which space is taken.
type extent struct{ from, to int64 }

// extents are in order, and do not touch each other. A value is never changed,
// so that snapshots can share it.
type extents []extent

// total returns the bytes taken.
func (x extents) total() int64 {
	var n int64
	for _, e := range x {
		n += e.to - e.from
	}
	return n
}

// covers reports whether all of [from, to) is taken.
func (x extents) covers(from, to int64) bool {
	for _, e := range x {
		if e.from <= from && to <= e.to {
			return true
		}
	}
	return false
}

// fit returns how far in [from, to) one gets with free more bytes of space.
func (x extents) fit(from, to, free int64) int64 {
	at := from
	for _, e := range x {
		if e.to <= at {
			continue
		}
		if e.from >= to {
			break
		}
		if gap := e.from - at; gap > 0 {
			if gap > free {
				return at + free
			}
			free -= gap
		}
		at = min(e.to, to)
	}
	return at + min(to-at, free)
}

// add returns the extents with [from, to) among them.
func (x extents) add(from, to int64) extents {
	if from >= to {
		return x
	}
	out := make(extents, 0, len(x)+1)
	i := 0
	for ; i < len(x) && x[i].to < from; i++ {
		out = append(out, x[i])
	}
	merged := extent{from, to}
	for ; i < len(x) && x[i].from <= to; i++ {
		merged = extent{min(merged.from, x[i].from), max(merged.to, x[i].to)}
	}
	return append(append(out, merged), x[i:]...)
}
