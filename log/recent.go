package log

// recent holds the commit groups that were written last while a follower waited, so that it has them without a
// call of the system, which costs it more than all else that it does with a small one. Their frames are checked as
// those that are read from the file. It is guarded by Log.endMu.
type recent struct {
	part *part
	from int64
	buf  []byte // of part, from byte from on
}

const (
	// recentGroup is the largest commit group that is held: larger ones gain little by it.
	recentGroup = 4 << 10
	// recentBytes bounds what is held.
	recentBytes = 64 << 10
)

// add holds g, which was written to p.
func (r *recent) add(p *part, g *group) {
	if g.bytes > recentGroup {
		return
	}
	if r.part != p || r.from+int64(len(r.buf)) != g.start || len(r.buf)+int(g.bytes) > recentBytes {
		r.part, r.from, r.buf = p, g.start, r.buf[:0]
	}
	for _, s := range g.stretches {
		r.buf = append(r.buf, g.frames(s)...)
	}
}

// of returns the bytes of p from byte at to limit, or nil where not all of them are held.
func (r *recent) of(p *part, at, limit int64) []byte {
	if p != r.part || at < r.from || at >= limit || limit > r.from+int64(len(r.buf)) {
		return nil
	}
	return r.buf[at-r.from : limit-r.from]
}
