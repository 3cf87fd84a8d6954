package log

import "github.com/stratalog/strata/segment"

// group is a commit group: commits that share one write and one sync, in log order.
type group struct {
	start int64 // byte position of the first frame
	bytes int64
	// buf holds the frames that were copied. pieces are the stretches to write: of buf, or frames that
	// stand in their commits' own memory, since copying them would cost more.
	buf       []byte
	stretches []stretch
	commits   int
	// waiters has nil in place of those that were decided: they may be in use again.
	waiters []*waiter
	// signals are those that are decided and still to be told. It belongs to the holder of the pen.
	signals  []*waiter
	sync     bool   // somebody waits for the group to be synced
	unsynced bool   // somebody waits for it to be written only
	hurry    bool   // somebody waits for it to be written, or will ask later
	position uint64 // behind the last record
	time     int64  // of the commits of the group: the log's time at the first of them
}

// stretch is a run of whole frames.
type stretch struct {
	from, to int    // in group.buf, when own is nil
	own      []byte // one frame
}

const (
	// bigFrame is the size from which on a frame is not copied.
	bigFrame = 32 << 10
	// keptBuffer is the largest buffer that is kept for the next group.
	keptBuffer = 4 << 20
	// maxPending bounds what waits to be written; a single commit may be larger.
	maxPending = 2 << 20
)

// add adds a frame. lasting says that it stays as it is until the group is written, alone that no other
// commit is likely to join it: then even a small one is not copied.
func (g *group) add(frame []byte, lasting, alone bool) {
	if g.commits == 1 && g.stretches[0].own != nil && len(g.stretches[0].own) < bigFrame {
		g.gather() // another has joined it after all
	}
	if lasting && (len(frame) >= bigFrame || alone && g.commits == 0) {
		g.stretches = append(g.stretches, stretch{own: frame})
	} else {
		from := len(g.buf)
		g.buf = append(g.buf, frame...)
		if n := len(g.stretches); n > 0 && g.stretches[n-1].own == nil && g.stretches[n-1].to == from {
			g.stretches[n-1].to = len(g.buf)
		} else {
			g.stretches = append(g.stretches, stretch{from: from, to: len(g.buf)})
		}
	}
	g.bytes += int64(len(frame))
	g.commits++
}

// gather copies the only frame, so that it is written together with those behind it.
func (g *group) gather() {
	g.buf = append(g.buf[:0], g.stretches[0].own...)
	g.stretches[0] = stretch{to: len(g.buf)}
}

// reset empties g for its next use.
func (g *group) reset() {
	buf := g.buf[:0]
	if cap(buf) > keptBuffer {
		buf = nil
	}
	clear(g.stretches)
	clear(g.waiters)
	*g = group{buf: buf, stretches: g.stretches[:0], waiters: g.waiters[:0], signals: g.signals[:0]}
}

// frames returns the bytes of a stretch.
func (g *group) frames(s stretch) []byte {
	if s.own != nil {
		return s.own
	}
	return g.buf[s.from:s.to]
}

// complete completes the heads of g's frames and calls each with each of them, in f.
func (g *group) complete(f *segment.Frame, salt uint64, durable int64, each func(*segment.Frame)) {
	at := g.start
	for _, s := range g.stretches {
		for b := g.frames(s); len(b) > 0; {
			n := segment.FrameLength(b)
			segment.Complete(b, salt, at, durable)
			f.FrameHead = segment.FrameHead{
				Kind: segment.Commit, Length: uint32(n), Position: segment.FramePosition(b), Time: segment.FrameTime(b),
			}
			f.At, f.Bytes = at, b[:n]
			each(f)
			b = b[n:]
			at += int64(n)
		}
	}
	f.Bytes = nil
}

// write writes g to seg.
func (g *group) write(seg *segment.Segment) error {
	at := g.start
	for _, s := range g.stretches {
		b := g.frames(s)
		if err := seg.Write(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}

// decideLocked decides the commits of g that want no more than d, and collects those to be signalled. Log.mu
// is held.
func (g *group) decideLocked(d Durability) {
	for i, w := range g.waiters {
		if w != nil && w.durability >= d {
			if w.decideLocked(nil) {
				g.signals = append(g.signals, w)
			}
			g.waiters[i] = nil
		}
	}
}

// signal wakes those who were decided.
func (g *group) signal() {
	for i, w := range g.signals {
		g.signals[i] = nil
		w.signal()
	}
	g.signals = g.signals[:0]
}
