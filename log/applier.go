package log

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// applier derives the views. The one who writes notes which stretches of the log hold commits that a
// view is derived from; the applier's goroutine reads those back and applies them in log order. So a
// commit that no view is derived from costs the views nothing, and no commit waits for them, unless
// one that a view will see meets an applier that is far behind.
//
// It starts with the first registration. Lock order: registering, applyMu, then the pen. Who holds
// the pen or Log.mu never waits for applyMu, and nothing that syncs the log does.
type applier struct {
	l *Log
	// registering is held over a registration. It guards started.
	registering sync.Mutex
	started     bool

	// applyMu is held by the one who applies, spills, or joins a view. It guards the fields below.
	applyMu  sync.Mutex
	scanner  segment.Scanner
	frame    segment.Frame
	commit   AppliedCommit
	decoder  record.Decoder
	tx       ViewTx
	spilled  uint64        // the position of the last checkpoint
	changed  bool          // something was applied since then
	since    time.Duration // when the oldest change came that is not flushed, plus one; or 0
	flushing *flushing     // the flush that is under way, or nil

	mu    sync.Mutex
	notes []note        // guarded by mu
	moved chan struct{} // closed when done moves, or the log fails or closes; made by who waits; guarded by mu
	ended bool          // guarded by mu

	// noted counts the notes that were made, done those that were applied, spaces in between included.
	noted, done atomic.Uint64
	// backlog is how many bytes of frames are noted and not applied.
	backlog atomic.Int64
	// applied is a position up to which everything is applied.
	applied atomic.Uint64
	// stopping ends replays. Close sets it.
	stopping atomic.Bool
	// active says that there are views; grown is how many bytes were written since the last flush.
	active atomic.Bool
	grown  atomic.Int64

	kick, stop, stopped chan struct{}
}

// note says that views are derived from commits within a stretch of a segment.
type note struct {
	part     *part
	from, to int64
	position uint64 // behind the commit group
}

const (
	// maxBacklog is how far the applier may be behind before commits that it will see wait for it.
	maxBacklog = 64 << 20
	// spillBytes is how much the memory layers hold before they are handed to Pebble.
	spillBytes = 4 << 20
	// flushBytes and flushAfter bound what a crash makes the next opening derive again.
	flushBytes = 64 << 20
	flushAfter = 30 * time.Second
)

// note is called by the holder of the pen when a commit group is written, and publishes that: to is
// the end of it. spans are stretches of it, in order. Who sees the group as written finds it noted, and
// the applier finds it published, so that a view is never ahead of what readers of the log see.
func (a *applier) note(spans []span, to place) {
	part, position := to.part, to.position
	bytes := int64(0)
	a.mu.Lock()
	for _, s := range spans {
		bytes += s.to - s.from
		if n := len(a.notes); n > 0 && a.notes[n-1].part == part && a.notes[n-1].to == s.from {
			a.notes[n-1].to, a.notes[n-1].position = s.to, position
			continue
		}
		a.notes = append(a.notes, note{part, s.from, s.to, position})
	}
	a.noted.Add(1)
	a.backlog.Add(bytes)
	a.l.publishWritten(to)
	a.mu.Unlock()
	a.wake()
}

func (a *applier) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// grew is told what was written. It has the state flushed now and then, so that opening after a crash
// has little to derive again.
func (a *applier) grew(n int64) {
	if a.active.Load() && a.grown.Add(n) >= flushBytes {
		a.wake()
	}
}

// wakeWaiters wakes those who wait for done to move.
func (a *applier) wakeWaiters() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.moved != nil {
		close(a.moved)
		a.moved = nil
	}
}

func (a *applier) movedChannel() (moved <-chan struct{}, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.moved == nil {
		a.moved = make(chan struct{})
	}
	return a.moved, a.ended
}

// wait waits until what was written before the call is applied.
func (a *applier) wait(ctx context.Context) error {
	return a.until(ctx, func(target uint64) bool { return a.done.Load() >= target })
}

// makeWay waits while the applier is too far behind.
func (a *applier) makeWay(ctx context.Context) error {
	if a.backlog.Load() <= maxBacklog {
		return nil
	}
	return a.until(ctx, func(uint64) bool { return a.backlog.Load() <= maxBacklog })
}

func (a *applier) until(ctx context.Context, enough func(target uint64) bool) error {
	target := a.noted.Load()
	for !enough(target) {
		moved, ended := a.movedChannel()
		if ended {
			return ErrClosed
		}
		if enough(target) {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// reached returns the position up to which everything is applied.
func (a *applier) reached() uint64 {
	// In this order: what is noted for a commit is noted before the commit is published as written.
	written := a.l.writtenPosition.Load()
	if a.done.Load() == a.noted.Load() {
		return max(written, a.applied.Load())
	}
	return a.applied.Load()
}

// start starts the goroutine. registering is held.
func (a *applier) start() {
	if a.started {
		return
	}
	a.started = true
	a.kick, a.stop, a.stopped = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	a.tx.changes = map[string]cell{}
	go a.run()
}

func (a *applier) run() {
	defer close(a.stopped)
	timer := a.l.o.Clock.NewTimer(flushAfter)
	defer timer.Stop()
	timer.Stop()
	for {
		var flushed <-chan struct{}
		a.applyMu.Lock()
		if a.flushing != nil {
			flushed = a.flushing.done
		}
		a.applyMu.Unlock()
		select {
		case <-a.stop:
			return
		case <-a.kick:
		case <-timer.C():
		case <-flushed:
		}
		a.applyMu.Lock()
		if next := a.turn(); next > 0 {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
		a.applyMu.Unlock()
	}
}

// turn applies what there is, spills and flushes where that is due, and returns when to look again, 0
// for when something happens. applyMu is held.
func (a *applier) turn() time.Duration {
	a.finishFlush()
	a.drain()
	now := a.l.o.Clock.Monotonic()
	if a.changed && a.since == 0 {
		a.since = now + 1
	}
	due := a.grown.Load() >= flushBytes || a.since != 0 && now >= a.since-1+flushAfter
	if due || a.layerBytes() >= spillBytes {
		if err := a.spill(); err != nil {
			a.l.store.fail(err)
		}
	}
	if due && a.flushing == nil {
		a.grown.Store(0)
		a.since = 0
		a.beginFlush()
	}
	if a.since != 0 {
		return max(a.since-1+flushAfter-now, time.Millisecond)
	}
	return 0
}

func (a *applier) layerBytes() int {
	n := 0
	for _, v := range a.joined() {
		n += v.bytes
	}
	return n
}

func (a *applier) joined() []*view {
	if vs := a.l.views.Load(); vs != nil {
		return vs.joined
	}
	return nil
}

// drain applies everything that is noted so far. applyMu is held.
func (a *applier) drain() {
	// The notes of a commit group are made before it is published as written, so that what is taken
	// here holds all notes below this end.
	a.l.endMu.Lock()
	end := a.l.written.position
	a.l.endMu.Unlock()
	a.mu.Lock()
	notes, target := a.notes, a.noted.Load()
	a.notes = nil
	a.mu.Unlock()
	for i, n := range notes {
		a.applyNote(n)
		whole := i+1 == len(notes) || notes[i+1].position != n.position
		if whole {
			a.moveTo(n.position)
			a.wakeWaiters()
		}
		if whole && a.layerBytes() >= spillBytes {
			if err := a.spill(); err != nil {
				a.l.store.fail(err)
			}
		}
	}
	a.moveTo(end)
	a.done.Store(target)
	a.wakeWaiters()
}

// moveTo notes that everything below position is applied.
func (a *applier) moveTo(position uint64) {
	if position > a.applied.Load() {
		a.applied.Store(position)
	}
}

// applyNote reads what n notes and applies it. Reading can fail: the views then lack something, and
// end.
func (a *applier) applyNote(n note) {
	defer a.backlog.Add(n.from - n.to)
	err := a.l.store.usable() // what is derived on a dead store could only be kept in memory
	var seg *segment.Segment
	if err == nil {
		seg, err = n.part.open()
	}
	if err == nil {
		a.scanner.Reset(seg, n.from, n.to)
		for a.scanner.At() < n.to && err == nil {
			if err = a.scanner.Next(&a.frame); err == nil {
				a.applyFrame(&a.frame, a.joined())
			}
		}
	}
	if err != nil {
		for _, v := range a.joined() {
			v.kill(err)
		}
	}
}

// applyFrame applies f to those of vs that are derived from it.
func (a *applier) applyFrame(f *segment.Frame, vs []*view) {
	if f.Kind != segment.Commit {
		return
	}
	mask := uint64(0)
	r := segment.NewEntryReader(f)
	var e segment.Entry
	for r.Next(&e) {
		mask |= a.l.maskOf(a.l.partition(e.Partition), &e)
	}
	filled := false
	for _, v := range vs {
		if mask&v.bit == 0 || f.Position < v.from || v.usable() != nil {
			continue
		}
		if !filled {
			a.commit.fill(a.l, f, &a.decoder)
			filled = true
		}
		if err := v.apply(&a.tx, &a.commit); err == nil {
			a.changed = true
		}
	}
}

// spill hands the memory layers to Pebble, in one batch with a checkpoint. applyMu is held.
func (a *applier) spill() error {
	vs := a.joined()
	position := a.applied.Load()
	if len(vs) == 0 || !a.changed && position == a.spilled {
		return nil
	}
	cp, err := a.l.checkpointAt(position)
	if err != nil {
		return err
	}
	if err := a.l.store.spill(vs, cp); err != nil {
		return err
	}
	for _, v := range vs {
		if v.usable() == nil {
			v.emptyLayer()
		}
	}
	a.spilled, a.changed = position, false
	if a.since == 0 {
		a.since = a.l.o.Clock.Monotonic() + 1
	}
	return a.hold()
}

// snapshot returns what v is now.
func (a *applier) snapshot(v *view) (*snapshot, error) {
	a.applyMu.Lock()
	defer a.applyMu.Unlock()
	if err := v.usable(); err != nil {
		return nil, err
	}
	if a.l.o.ReadOnly {
		return v.snapshotReadOnly()
	}
	a.drain()
	if err := a.spill(); err != nil {
		return nil, &ViewError{View: v.name, Cause: err}
	}
	return a.l.store.snapshot()
}

// flushing is a flush of Pebble that is under way.
type flushing struct {
	done <-chan struct{}
	to   checkpoint
}

// beginFlush has Pebble write what it holds in memory, without waiting for that.
func (a *applier) beginFlush() {
	done, to, err := a.l.store.flush()
	if err != nil {
		a.l.store.fail(err)
		return
	}
	if done != nil {
		a.flushing = &flushing{done: done, to: to}
	}
}

// finishFlush notes on disk how far Pebble was flushed, when it was.
func (a *applier) finishFlush() {
	if a.flushing == nil {
		return
	}
	select {
	case <-a.flushing.done:
	default:
		return
	}
	to := a.flushing.to
	a.flushing = nil
	if err := a.l.store.writeCheckpoint(to); err != nil {
		a.l.o.Logger.Warn("state checkpoint not written", "error", err.Error())
	}
}

// maxUnflushed is how much Pebble may hold in memory while a flush is under way.
const maxUnflushed = 128 << 20

// hold waits for the flush that is under way when Pebble holds too much in memory, which its own
// limits do not keep it from. A log that fails or closes ends the wait.
func (a *applier) hold() error {
	if a.l.store.unflushed.Load() < maxUnflushed {
		return nil
	}
	if a.flushing == nil {
		a.beginFlush()
	}
	for a.flushing != nil {
		moved := a.l.movedChannel()
		a.l.mu.Lock()
		over := a.l.failed != nil || a.l.closed
		a.l.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-a.flushing.done:
			a.finishFlush()
		case <-a.l.store.deadC:
			return a.l.store.usable()
		case <-moved:
		}
	}
	return nil
}

// end applies what is left, hands it to Pebble, and closes that. Nothing is written to the log any
// more, and nobody waits for the pen.
func (a *applier) end() error {
	// A registration that is under way ends first; later ones find the log closed.
	a.registering.Lock()
	defer a.registering.Unlock()
	if a.started {
		close(a.stop)
		<-a.stopped
	}
	a.applyMu.Lock()
	defer a.applyMu.Unlock()
	a.l.mu.Lock()
	failed := a.l.failed
	a.l.mu.Unlock()
	var err error
	if failed == nil && a.started {
		a.drain()
		if err = a.spill(); err != nil {
			a.l.store.fail(err)
		}
	}
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.wakeWaiters()
	return a.l.store.close(failed == nil && err == nil)
}
