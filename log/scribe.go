package log

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/stratalog/strata/segment"
)

// The scribe is the log's own goroutine. It writes what nobody waits for by blocking, and adds an end mark
// when the log has come to rest.

const (
	bufferedAfter = 2 * time.Millisecond  // how long buffered commits wait to be written
	bufferedBytes = 256 << 10             // how many of them are written at once
	idleAfter     = 50 * time.Millisecond // when a log without writes is at rest
)

type scribe struct {
	turns
	// awake says that the scribe will look again by itself.
	awake atomic.Bool
	// lastWrite is on the monotonic clock.
	lastWrite atomic.Int64
	// bufferedSince is when the oldest buffered commit came, 0 when there is none. Guarded by Log.mu.
	bufferedSince time.Duration
}

// wrote tells that a commit group was written, at the time now.
func (s *scribe) wrote(now time.Duration) {
	s.lastWrite.Store(int64(now))
	if !s.awake.Swap(true) {
		s.wake()
	}
}

// callScribeLocked hands the pending commits to the scribe. The pen lies free.
func (l *Log) callScribeLocked() {
	l.pen.scribe = true
	l.scribe.wake()
}

// wakeScribeLocked tells the scribe of a commit that nobody waits for.
func (l *Log) wakeScribeLocked() {
	if l.pending.bytes >= bufferedBytes && !l.pen.held && !l.pen.scribe {
		l.callScribeLocked()
		return
	}
	if l.scribe.bufferedSince == 0 {
		l.scribe.bufferedSince = l.o.Clock.Monotonic() | 1
		l.scribe.wake()
	}
}

// scribeTurn does what is due and returns when to look again, 0 for when something happens.
func (l *Log) scribeTurn() time.Duration {
	next := l.writeBuffered()
	soonest := func(d time.Duration) {
		if next == 0 || d < next {
			next = max(d, time.Microsecond)
		}
	}
	now := l.o.Clock.Monotonic()
	l.scribe.awake.Store(false)
	if due := time.Duration(l.scribe.lastWrite.Load()) + idleAfter; due > now {
		l.scribe.awake.Store(true)
		soonest(due - now)
	} else if l.markIdle() {
		l.scribe.awake.Store(true)
		soonest(idleAfter)
	}
	return next
}

// writeBuffered writes pending commits that are due and returns when those that are left will be.
func (l *Log) writeBuffered() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pen.held || l.pending.commits == 0 {
		// Who has the pen writes them, or calls again.
		l.pen.scribe = false
		if l.pending.commits == 0 {
			l.scribe.bufferedSince = 0
			return 0
		}
		return bufferedAfter
	}
	if !l.pen.scribe && l.scribe.bufferedSince != 0 {
		if due := l.scribe.bufferedSince + bufferedAfter; due > l.o.Clock.Monotonic() {
			return due - l.o.Clock.Monotonic()
		}
	}
	l.pen.scribe = false
	l.scribe.bufferedSince = 0
	l.pen.held = true
	l.mu.Unlock()
	l.writeAndPass(nil)
	l.mu.Lock()
	if l.pending.commits > 0 {
		return bufferedAfter
	}
	return 0
}

// markIdle syncs what is not synced and adds an end mark, when there is none and nothing is pending.
// It reports whether there is still something to do later.
func (l *Log) markIdle() bool {
	l.takePen()
	marked := l.ink.marked
	l.passPen() // nobody who writes waits for the sync
	if marked || l.o.SyncInterval < 0 && l.unsynced() {
		return false
	}
	err := l.syncWritten()
	l.takePen()
	defer l.passPen()
	if err != nil {
		_ = l.fail(err, nil)
		return false
	}
	if l.unsynced() {
		return true // something was written meanwhile
	}
	return !l.ink.marked && !l.mark(segment.Idle)
}

// unsynced reports whether something is written and not synced.
func (l *Log) unsynced() bool { return l.syncedPosition.Load() != l.writtenPosition.Load() }

// mark writes an end mark of this kind, when nothing is pending. The caller has the pen, and all that
// is written is synced. It reports whether there is nothing left to do.
func (l *Log) mark(kind segment.Kind) bool {
	l.mu.Lock()
	if l.pending.commits > 0 || l.failed != nil {
		gone := l.failed != nil
		l.mu.Unlock()
		return gone
	}
	at := l.tail.byte
	m := segment.Mark{Position: l.position, Time: l.lastTime, Epoch: l.epoch}
	if at+segment.FrameHeadBytes > l.tail.claimed {
		l.mu.Unlock()
		return true // the kept room is used up; a mark only narrows a window
	}
	l.tail.byte += segment.FrameHeadBytes
	part, seg := l.tail.part, l.tail.seg
	l.mu.Unlock()
	if err := seg.Write(m.Encode(kind, l.tail.salt, at), at); err != nil {
		_ = l.fail(err, nil)
		return true
	}
	l.ink.marked, l.ink.idle = true, kind == segment.Idle
	l.publishWritten(place{position: m.Position, part: part, byte: at + segment.FrameHeadBytes})
	return true
}

// SyncTo returns when everything before position is synced, which must have been read or acknowledged. A sync
// that is under way for others is enough when it covers that. Errors are those of Sync.
func (l *Log) SyncTo(ctx context.Context, position uint64) error {
	if l.Position() >= position {
		return nil
	}
	l.syncMu.Lock() // which waits for the sync that is under way
	done := l.Position() >= position
	l.syncMu.Unlock()
	if done {
		return nil
	}
	return l.Sync(ctx)
}

// Sync returns when everything that was committed before is synced, whatever its durability.
func (l *Log) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	err := l.usableLocked()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	// Who has the pen may be writing commits that were acknowledged as buffered.
	l.takePen()
	err = l.writePending()
	l.passPen()
	if err != nil {
		return err
	}
	if err := l.syncWritten(); err != nil {
		return l.fail(err, nil)
	}
	return nil
}
