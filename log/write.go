package log

import (
	"github.com/stratalog/strata/segment"
)

// writePending writes the pending commit group and, when one of its commits wants that, syncs it,
// and wakes those who wait for it. The caller holds the pen, and still holds it afterwards.
func (l *Log) writePending() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writePendingLocked()
}

// writePendingLocked is writePending for who holds mu, which it gives up meanwhile.
func (l *Log) writePendingLocked() error {
	if l.failed != nil {
		return l.failed
	}
	g := l.pending
	if g.commits == 0 {
		return nil
	}
	if l.pending = l.spare; l.pending == nil {
		l.pending = &group{}
	}
	l.spare = nil
	l.groupOpen.Store(false)
	l.arrived.Store(0)
	part, seg, claimed := l.tail.part, l.tail.seg, l.tail.claimed
	l.mu.Unlock()

	l.lastGroup = int64(g.commits)
	err := l.writeGroup(g, part, seg, claimed)
	if g.sync {
		if err == nil {
			err = l.syncWritten()
		}
	}
	l.mu.Lock()
	if err != nil {
		return l.failLocked(err, g)
	}
	// The signals are sent without mu, since those who are woken come for it, but before the pen is passed, so that
	// acknowledgements come in order and Close finds everybody told.
	if g.decideLocked(Synced); len(g.signals) > 0 {
		l.mu.Unlock()
		g.signal()
		l.mu.Lock()
	}
	g.reset()
	l.spare = g
	return nil
}

// writeGroup writes g, publishes it as written, and, where it is to be synced as well, wakes those who
// wait for no more than that.
func (l *Log) writeGroup(g *group, part *part, seg *segment.Segment, claimed int64) error {
	started := l.o.Clock.Monotonic()
	l.endMu.Lock()
	durable := l.synced.byte
	l.endMu.Unlock()
	var indexErr error
	l.touched, l.viewed = l.touched[:0], l.viewed[:0]
	g.complete(&l.ink.frame, l.tail.salt, durable, func(f *segment.Frame) {
		l.viewedMask = 0
		if err := l.ink.index.add(f, l.touch); err != nil && indexErr == nil {
			indexErr = err
		}
		if l.viewedMask != 0 {
			l.viewed = addSpan(l.viewed, f.At, f.End())
		}
	})
	if indexErr != nil {
		return indexErr
	}
	if !l.mappedTail.write(g, seg, &l.ahead, claimed, l.o.Logger) {
		if err := g.write(seg); err != nil {
			return err
		}
	}
	if g.sync {
		if err := l.ahead.behind(seg, g.bytes, g.start+g.bytes, claimed); err != nil {
			return err
		}
	}
	l.ink.marked, l.fresh = false, g
	to := place{position: g.position, part: part, byte: g.start + g.bytes}
	if len(l.viewed) > 0 {
		l.applier.note(l.viewed, to)
	} else {
		l.publishWritten(to)
	}
	l.count.groups.Add(1)
	l.count.groupCommits.observe(int64(g.commits))
	l.count.writtenBytes.Add(g.bytes)
	ended := l.o.Clock.Monotonic()
	l.count.write.observe(int64(ended - started))
	l.scribe.wrote(ended)
	if !g.sync {
		l.syncer.wrote(ended, g.bytes)
	}
	l.preparer.wrote(g.bytes)
	l.applier.grew(g.bytes)
	if g.unsynced && g.sync {
		l.mu.Lock()
		g.decideLocked(Written)
		l.mu.Unlock()
		g.signal()
	}
	return nil
}

// touched is a partition of a commit group that is being written, and its end behind the group.
type touched struct {
	p    *Partition
	next int64
}

// span is a stretch of a segment.
type span struct{ from, to int64 }

// addSpan adds [from, to) to spans, which all lie before it.
func addSpan(spans []span, from, to int64) []span {
	if n := len(spans); n > 0 && spans[n-1].to == from {
		spans[n-1].to = to
		return spans
	}
	return append(spans, span{from, to})
}

// touch collects the ends of the partitions of a commit group.
func (l *Log) touch(e *segment.Entry) {
	p := l.partition(e.Partition)
	l.viewedMask |= l.maskOf(p, e)
	if p == nil {
		return
	}
	next := e.Head.BaseOffset + int64(e.Records())
	if n := len(l.touched); n > 0 && l.touched[n-1].p == p {
		l.touched[n-1].next = next
		return
	}
	l.touched = append(l.touched, touched{p, next})
}

// publishWritten moves the ends of what is written: of the partitions that were touched, and of the log. They move
// together, for who syncs: it makes both ends those of what is synced. The caller has the pen.
func (l *Log) publishWritten(to place) {
	l.endMu.Lock()
	for _, t := range l.touched {
		t.p.written.Store(t.next)
		if !t.p.dirty {
			t.p.dirty = true
			l.dirty = append(l.dirty, t.p)
		}
	}
	l.touched = l.touched[:0]
	if l.fresh != nil && l.waiting.any() {
		l.recent.add(to.part, l.fresh)
	}
	l.fresh = nil
	l.written = to
	l.writtenPosition.Store(to.position)
	w := l.takeWaitingLocked()
	l.endMu.Unlock()
	w.wake()
}

// syncWritten makes durable what is written, and publishes that. Any goroutine may call it.
func (l *Log) syncWritten() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.syncErr != nil {
		return l.syncErr
	}
	// Before looking: a later write sets them again.
	l.syncer.since.Store(0)
	l.syncer.bytes.Store(0)
	l.endMu.Lock()
	to := l.written
	if l.synced == to {
		l.endMu.Unlock()
		return nil
	}
	dirty := l.dirty
	l.dirty = l.syncing[:0]
	l.syncing = dirty
	for _, p := range dirty {
		p.dirty = false
		p.syncing = p.written.Load()
	}
	l.endMu.Unlock()

	started := l.o.Clock.Monotonic()
	l.count.syncing.Store(int64(started) + 1)
	seg, err := to.part.open()
	if err == nil {
		l.mappedTail.syncs.Add(1)
		err = seg.Sync()
		l.mappedTail.syncs.Add(1)
	}
	l.count.syncing.Store(0)
	if err != nil {
		l.syncErr = err
		return err
	}
	l.count.syncs.Add(1)
	l.count.sync.observe(int64(l.o.Clock.Monotonic() - started))

	l.endMu.Lock()
	l.synced = to
	for _, p := range dirty {
		p.synced.Store(p.syncing)
	}
	l.syncedPosition.Store(to.position)
	w := l.takeWaitingLocked()
	l.endMu.Unlock()
	w.wake()
	return nil
}

// fail makes the log refuse commits, tells everybody who waits, and returns what they get.
func (l *Log) fail(cause error, g *group) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failLocked(cause, g)
}

func (l *Log) failLocked(cause error, g *group) error {
	if l.failed == nil {
		l.failed = &FailedError{Cause: cause}
		l.o.Logger.Error("log failed, open it again", "dir", l.dir, "error", cause.Error())
		if l.o.Events.Failed != nil {
			l.o.Events.Failed(l.failed)
		}
	}
	for _, lost := range []*group{g, l.pending} {
		if lost == nil {
			continue
		}
		for _, w := range lost.waiters {
			if w != nil && w.decideLocked(l.failed) {
				w.signal()
			}
		}
	}
	l.pending.reset()
	l.groupOpen.Store(false)
	l.room.wakeAllLocked()
	l.wakeFollowers()
	return l.failed
}
