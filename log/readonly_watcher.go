package log

import (
	"errors"
	"slices"
	"time"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/segment"
)

const (
	// watchEvery is how often a log that was opened read-only looks for more.
	watchEvery = 25 * time.Millisecond
	// listAfter is after how many looks without anything new it also looks for a new segment, which is
	// otherwise announced by a sealing mark; askAfter is after how many it asks whether a writer that
	// has left unproven frames is still there.
	listAfter, askAfter = 4, 8
)

// watcher follows the end of a log that others write: it extends what readers see as frames prove
// more of it to be synced. Its fields belong to the goroutine that opens the log, and then to its own.
type watcher struct {
	l    *Log
	part *part
	tail *salvage
	ix   indexer
	// unproven are the frames behind what is proven to be synced, in order.
	unproven []unproven
	quiet    int // looks in a row without anything new
	said     string

	lossy bool // there was damage, so that frames may have been missed

	stop chan struct{}
	done chan struct{}
}

// unproven is a place where a frame ends, and the partitions that it touched.
type unproven struct {
	at      place
	touched []touched
}

// note remembers damage of p for its readers, and says so.
func (w *watcher) note(p *part, err error) {
	w.lossy = true
	p.mu.Lock()
	if p.damage == nil {
		p.damage = err
	}
	p.mu.Unlock()
	w.l.o.Logger.Warn("damage in the log", "error", err.Error())
}

// open reads the last segment. held says that somebody may be writing to it.
func (w *watcher) open(p *part, seg *segment.Segment, held bool) error {
	if err := w.enter(p, seg); err != nil {
		return err
	}
	if err := w.advance(); err != nil {
		return err
	}
	if !held {
		if err := w.believe(); err != nil {
			return err
		}
		if end := w.tail.end; end.Byte < w.l.keptReach(p) {
			w.l.o.Logger.Warn("the log ends before the index that was kept when it was closed, see strata verify", "segment", p.name.String(), "byte", end.Byte)
		}
	}
	w.tail.polling = true
	w.publish()
	// A writer may have begun the next segment since the directory was listed.
	return w.roll()
}

// enter makes p, the last segment, the one to be read.
func (w *watcher) enter(p *part, seg *segment.Segment) error {
	sealed := int64(0)
	p.mu.Lock()
	if p.endKnown { // by the manifest
		sealed = p.end.Byte
	}
	p.mu.Unlock()
	tail, err := newSalvage(seg, sealed)
	if err != nil {
		return err
	}
	memory := index.NewMemory()
	p.memory.Store(memory)
	w.part, w.tail, w.ix = p, tail, indexer{memory: memory}
	return nil
}

// advance reads the frames that have come.
func (w *watcher) advance() error {
	var f segment.Frame
	for {
		damage, err := w.tail.next(&f)
		switch {
		case isEOF(err):
			return nil
		case err != nil:
			return err
		case damage != nil:
			w.note(w.part, damage)
			continue
		}
		if err := w.accept(&f); err != nil {
			return err
		}
		w.quiet = 0
	}
}

// accept takes an intact frame over into index and catalog.
func (w *watcher) accept(f *segment.Frame) error {
	u := unproven{at: place{position: w.tail.end.Position, part: w.part, byte: f.End()}}
	if err := w.ix.add(f, nil); err != nil {
		w.note(w.part, w.tail.seg.Corrupt(f.At, f.Position, "offset", 0, 0))
	}
	l := w.l
	l.mu.Lock()
	if l.foldFrame(f, func(p *Partition, next int64) {
		u.touched = append(u.touched, touched{p, next})
	}) {
		l.publishPartitionsLocked()
	}
	l.position, l.lastTime = w.tail.end.Position, f.Time
	l.mu.Unlock()
	w.unproven = append(w.unproven, u)
	return nil
}

// believe syncs what was read, which nobody is writing any more, so that it can be shown.
func (w *watcher) believe() error {
	if err := w.tail.seg.Sync(); err != nil {
		return err
	}
	w.tail.end.Durable = w.tail.end.Byte
	return nil
}

// publish shows readers what was read.
func (w *watcher) publish() {
	end := &w.tail.end
	l := w.l
	here := place{position: end.Position, part: w.part, byte: end.Byte}
	l.endMu.Lock()
	defer l.endMu.Unlock()
	if l.written == here && len(w.unproven) == 0 {
		return
	}
	proven := l.synced
	if proven.part != w.part {
		proven = place{position: w.part.name.Position, part: w.part, byte: w.tail.start()}
	}
	if w.tail.sealed > 0 {
		end.Durable = max(end.Durable, end.Byte)
	}
	n := 0
	for _, u := range w.unproven {
		for _, t := range u.touched {
			t.p.written.Store(t.next)
		}
		if u.at.byte <= end.Durable {
			for _, t := range u.touched {
				t.p.synced.Store(t.next)
			}
			proven = u.at
			n++
		}
	}
	w.unproven = append(w.unproven[:0], w.unproven[n:]...)
	if len(w.unproven) == 0 && end.Durable >= end.Byte {
		proven = here // also behind damage
	}
	l.written, l.synced = here, proven
	l.writtenPosition.Store(here.position)
	l.syncedPosition.Store(proven.position)
	l.takeWaitingLocked().wake()
}

// start returns where the frames of s begin.
func (s *salvage) start() int64 {
	if at := s.seg.Data(); at > 0 {
		return at
	}
	return min(segment.HeadBytes, s.end.Byte)
}

// look takes in what has come since the last look.
func (w *watcher) look() error {
	w.quiet++
	if err := w.tail.refresh(); err != nil {
		return err
	}
	if err := w.advance(); err != nil {
		return err
	}
	if len(w.unproven) > 0 && w.quiet%askAfter == askAfter-1 {
		held, err := writerHas(w.l.fs, w.l.dir)
		if err != nil {
			return err
		}
		if !held {
			if err := w.believe(); err != nil {
				return err
			}
		}
	}
	w.publish()
	if w.tail.end.Last == segment.Sealing || w.quiet%listAfter == 0 {
		return w.roll()
	}
	return nil
}

// roll goes on to the segments that have come behind the last one.
func (w *watcher) roll() error {
	listing, err := segment.List(w.l.fs, w.l.logDir)
	if err != nil {
		return err
	}
	for _, name := range listing.Segments {
		if name.Compare(w.part.name) <= 0 {
			continue
		}
		if made, err := madeApart(w.l, name); err != nil || made {
			if err != nil {
				return err
			}
			continue
		}
		if err := w.next(name); err != nil {
			return err
		}
	}
	return nil
}

// next goes on to the segment called name.
func (w *watcher) next(name segment.Name) error {
	l := w.l
	p := &part{l: l, id: l.id, name: name}
	seg, err := p.open()
	if err != nil {
		return err
	}
	chain := append(slices.Clip(*l.parts.Load()), p)
	if err := w.checkLink(chain, seg); err != nil {
		return err
	}
	if err := w.finish(chain); err != nil {
		return err
	}
	old := w.part
	if err := w.enter(p, seg); err != nil {
		return err
	}
	if w.lossy {
		if err := w.mend(seg); err != nil {
			return err
		}
	}
	w.tail.polling = true
	w.dropMemory(chain)
	l.mu.Lock()
	l.endMu.Lock()
	l.written = place{position: w.tail.end.Position, part: p, byte: w.tail.end.Byte}
	l.synced = l.written
	l.syncedPosition.Store(l.synced.position)
	l.writtenPosition.Store(l.written.position)
	l.parts.Store(&chain)
	l.takeWaitingLocked().wake()
	l.endMu.Unlock()
	l.mu.Unlock()
	if l.o.Events.SegmentSealed != nil {
		l.o.Events.SegmentSealed(SegmentInfo{File: old.name.String(), Position: old.name.Position, Bytes: old.end.Byte})
	}
	if err := w.advance(); err != nil {
		return err
	}
	w.publish()
	return nil
}

// checkLink notes when the last segment of chain, which is seg, does not name the one before it.
func (w *watcher) checkLink(chain parts, seg *segment.Segment) error {
	switch err := w.l.checkPredecessor(chain, seg); {
	case err == nil:
		return nil
	case errors.Is(err, ErrCorrupt):
		w.note(chain[len(chain)-1], err)
		return nil
	default:
		return err
	}
}

// finish reads the rest of the segment that is followed by the last one of chain. All of it is synced.
func (w *watcher) finish(chain parts) error {
	end, _, err := w.l.sealedEnd(chain, len(chain)-2)
	if err != nil {
		return err
	}
	w.tail.sealed = max(end, w.tail.end.Byte)
	if err := w.tail.refresh(); err != nil {
		return err
	}
	if err := w.advance(); err != nil {
		return err
	}
	w.publish()
	return nil
}

// mend takes topics and offsets from the catalog frame of seg, when some of the frames before it could
// not be read.
func (w *watcher) mend(seg *segment.Segment) error {
	f, err := seg.Catalog()
	if errors.Is(err, ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	l := w.l
	told := newCatalog(l)
	if err := told.decode(f.Tables()); err != nil {
		w.note(w.part, seg.Corrupt(segment.HeadBytes, seg.Name().Position, "catalog", 0, 0))
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, t := range l.catalog.byID {
		if told.byID[id] == nil {
			l.catalog.apply(change{Op: "delete", Name: t.name, ID: id})
		}
	}
	for _, t := range told.topics {
		l.catalog.apply(describe("create", t))
	}
	l.catalog.nextNumber = max(l.catalog.nextNumber, told.nextNumber)
	for number, p := range l.catalog.partitions {
		if q := told.partitions[number]; q != nil && q.next > p.next {
			p.setNext(q.next)
		}
	}
	l.publishPartitionsLocked()
	return nil
}

// dropMemory gives up the indexes in memory of sealed segments that have theirs on disk by now.
func (w *watcher) dropMemory(chain parts) {
	for _, p := range chain[:len(chain)-2] {
		if p.memory.Load() == nil {
			continue
		}
		p.mu.Lock()
		end := p.end
		p.mu.Unlock()
		// It may be the one that was kept before the segment was sealed.
		idx, err := index.Open(w.l.files, w.l.fs.PathJoin(w.l.logDir, p.name.Index()), p.indexID(end.Byte, end.Position))
		if err != nil {
			continue
		}
		p.mu.Lock()
		p.idx, p.idxGone = idx, false
		p.mu.Unlock()
		p.memory.Store(nil)
	}
}

func (w *watcher) start() {
	w.stop, w.done = make(chan struct{}), make(chan struct{})
	go w.run()
}

// end stops the watcher and waits for it.
func (w *watcher) end() {
	if w.stop != nil {
		close(w.stop)
		<-w.done
	}
}

func (w *watcher) run() {
	defer close(w.done)
	timer := w.l.o.Clock.NewTimer(watchEvery)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-timer.C():
		}
		said := ""
		if err := w.look(); err != nil {
			if said = err.Error(); said != w.said {
				w.l.o.Logger.Warn("cannot read on, trying again", "error", err.Error())
			}
		}
		w.said = said
		timer.Reset(watchEvery)
	}
}
