package projection

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stratalog/strata/log"
)

// Phase says what a projection is doing.
type Phase string

// Phases.
const (
	// Stopped is a projection that no Run carries on.
	Stopped Phase = "stopped"
	// Building is one whose model is built, beside an old one or for the first time.
	Building Phase = "building"
	// Live is one whose model is carried on.
	Live Phase = "live"
	// Paused is one that was asked to wait, which CatchUp does not.
	Paused Phase = "paused"
	// Failed is one whose last Run returned an error.
	Failed Phase = "failed"
	// Killed is one whose program ended without a word: List shows what was known of it before.
	Killed Phase = "killed"
)

// Progress tells how a projection is doing.
type Progress struct {
	Projection string `json:"projection"`
	Store      string `json:"store"`
	Phase      Phase  `json:"phase"`
	// Version and Position are those of the build that is carried on, or was last; End is where readers of
	// the log end.
	Version  int    `json:"version"`
	Position uint64 `json:"position"`
	End      uint64 `json:"end"`
	// ActiveVersion and ActivePosition are those of the build that readers see; 0 before there is one.
	ActiveVersion  int    `json:"active_version"`
	ActivePosition uint64 `json:"active_position"`
	// Events is how many were handled since Run began, EventsPerSecond how many were lately.
	Events          uint64  `json:"events"`
	EventsPerSecond float64 `json:"events_per_second"`
	// Skipped is how many were passed over since Run began, Parked how many are parked.
	Skipped uint64 `json:"skipped"`
	Parked  int    `json:"parked"`
	// Error is that of the last Run, or "".
	Error string `json:"error,omitempty"`
	// Time is when this was so, by the log's clock.
	Time time.Time `json:"time"`
}

// Lag returns how many positions of the log are not in the build yet.
func (p Progress) Lag() uint64 { return p.End - min(p.Position, p.End) }

// life is what all handles of a projection in one process have in common.
type life struct {
	l  *log.Log // immutable, like of
	of any      // the store

	// showing is held while the status is written. Taken before mu.
	showing sync.Mutex

	// turn is held while there is a transaction: by Run, and by Retry. Taken before mu.
	turn sync.Mutex

	// mu guards all below.
	mu       sync.Mutex
	running  bool
	paused   bool
	changed  chan struct{} // closed when paused changes, made by who waits
	progress Progress
	ready    bool // there is a build that readers see
	// failed is the error of the last Run, until the next one begins.
	failed  error
	closed  bool
	waiters map[*waiter]struct{}
	lowest  uint64 // the lowest position of a waiter
	// rated is when EventsPerSecond was computed last, and of how many events.
	rated       time.Duration
	ratedEvents uint64
	// shown is when the status was written last, and 0 before.
	shown time.Duration
	// board is where the status was written last, nil before.
	board *board
}

// waiter waits for a position. done gets one error or nil.
type waiter struct {
	position uint64
	done     chan error
	// forRun says that it waits no longer than the Run that is under way: it then gets errOver.
	forRun bool
}

// errOver says that a Run has ended without an error.
var errOver = errors.New("projection: the run is over")

func newLife(l *log.Log, name, store string) *life {
	return &life{
		l: l, waiters: map[*waiter]struct{}{},
		progress: Progress{Projection: name, Store: store, Phase: Stopped},
	}
}

// Close implements io.Closer for the log, which calls it. Others see that the projection stopped, also when Run has
// not seen that the log is closed.
func (f *life) Close() error {
	f.showing.Lock()
	defer f.showing.Unlock()
	f.mu.Lock()
	f.closed = true
	f.endWaitersLocked(ErrClosed)
	f.signalLocked()
	running, board := f.running, f.board
	f.mu.Unlock()
	if running && board != nil {
		p := f.now()
		p.Phase, p.EventsPerSecond = Stopped, 0
		board.write(f.l, &p)
	}
	return nil
}

func (f *life) endWaitersLocked(err error) {
	for w := range f.waiters {
		w.done <- err
	}
	clear(f.waiters)
}

// signalLocked wakes those who wait for paused to change.
func (f *life) signalLocked() {
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// loaded notes what the store has.
func (f *life) loaded(active *Build) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if active == nil || f.running {
		return
	}
	f.progress.ActiveVersion = active.Version
	f.readersLocked(active.Checkpoint.Position)
	if f.progress.Version == 0 {
		f.progress.Version, f.progress.Position = active.Version, active.Checkpoint.Position
	}
}

// readersLocked notes that readers see all before a position.
func (f *life) readersLocked(position uint64) {
	f.ready = true
	f.progress.ActivePosition = max(f.progress.ActivePosition, position)
	if len(f.waiters) == 0 || f.lowest > f.progress.ActivePosition {
		return
	}
	f.lowest = ^uint64(0)
	for w := range f.waiters {
		if w.position <= f.progress.ActivePosition {
			w.done <- nil
			delete(f.waiters, w)
		} else {
			f.lowest = min(f.lowest, w.position)
		}
	}
}

// waitFor waits until readers see all before position; forRun is for no longer than a Run is under way.
func (f *life) waitFor(ctx context.Context, position uint64, forRun bool) error {
	f.mu.Lock()
	switch {
	case f.ready && f.progress.ActivePosition >= position:
		f.mu.Unlock()
		return nil
	case f.closed:
		f.mu.Unlock()
		return ErrClosed
	case f.failed != nil:
		defer f.mu.Unlock()
		return f.failed
	case forRun && !f.running:
		f.mu.Unlock()
		return errOver
	}
	w := &waiter{position, make(chan error, 1), forRun}
	if len(f.waiters) == 0 {
		f.lowest = position
	}
	f.waiters[w] = struct{}{}
	f.lowest = min(f.lowest, position)
	f.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.waiters, w)
		return ctx.Err()
	}
}

// begin makes the caller the one who carries the projection on.
func (f *life) begin() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return ErrClosed
	case f.running:
		return ErrRunning
	}
	f.running, f.failed = true, nil
	f.progress.Events, f.progress.EventsPerSecond, f.progress.Skipped, f.progress.Error = 0, 0, 0, ""
	f.rated, f.ratedEvents = f.l.Options().Clock.Monotonic(), 0
	return nil
}

// end takes that back. err is what Run returns.
func (f *life) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = false
	f.progress.Phase, f.progress.EventsPerSecond = Stopped, 0
	if err != nil {
		f.failed, f.progress.Phase, f.progress.Error = err, Failed, err.Error()
		f.endWaitersLocked(err)
	}
	for w := range f.waiters {
		if w.forRun {
			w.done <- errOver
			delete(f.waiters, w)
		}
	}
}

// update changes the progress.
func (f *life) update(change func(*Progress)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.progress)
}

// advanced notes that a build has come to a position, with so many further events. active says that it is the
// one that readers see.
func (f *life) advanced(position uint64, events int, active bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &f.progress
	p.Position = position
	p.Events += uint64(events)
	if active {
		f.readersLocked(position)
	}
	now := f.l.Options().Clock.Monotonic()
	if passed := now - f.rated; passed >= rateOver {
		p.EventsPerSecond = float64(p.Events-f.ratedEvents) / passed.Seconds()
		f.rated, f.ratedEvents = now, p.Events
	}
}

// rateOver is the time over which events per second are counted.
const rateOver = time.Second

// now returns the progress.
func (f *life) now() Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.progress
	p.End = f.l.Position()
	p.Time = f.l.Options().Clock.Now().UTC()
	if f.running && f.paused {
		p.Phase = Paused
	}
	return p
}

// pause sets paused.
func (f *life) pause(paused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused = paused
	f.signalLocked()
}

// look returns whether the projection is to wait, and a channel that is closed when that may have changed.
func (f *life) look() (paused bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.paused, f.changed
}

// isPaused reports whether the projection is to wait.
func (f *life) isPaused() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.paused
}

// over reports whether the log was closed.
func (f *life) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// show writes the status to b: now and then, or because it must.
func (f *life) show(b *board, must bool) {
	f.mu.Lock()
	now := f.l.Options().Clock.Monotonic()
	due := !f.closed && (must || now-f.shown >= showEvery)
	if due {
		f.shown, f.board = now, b
	}
	f.mu.Unlock()
	if !due {
		return
	}
	f.showing.Lock()
	defer f.showing.Unlock()
	if !f.over() {
		p := f.now()
		b.write(f.l, &p)
	}
}

// showEvery is how often the status is written.
const showEvery = time.Second
