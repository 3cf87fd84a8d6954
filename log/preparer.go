package log

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/stratalog/strata/segment"
)

// preparedLeast is how much a process must have appended before a segment is prepared, and the size
// of the smallest one: a log that is little used has no use for zeros.
const preparedLeast = 1 << 20

// preparedStep is how many zeros are written and synced at once, at least: each sync delays one of a commit.
const preparedStep = 1 << 20

// preparer fills the file of the next segment with zeros while appends go on, as fast as they do, and
// only for a log that syncs its commits. Nobody waits for it.
type preparer struct {
	l        *Log
	kick     chan struct{} // has room for one; nil when nothing is to be prepared
	stop     chan struct{}
	done     chan struct{}
	appended atomic.Int64 // bytes written since Open
	// due is what appended must reach before there is something to do. To wake the goroutine for nothing costs a
	// commit a quarter of its flush.
	due   atomic.Int64
	ready atomic.Bool // file is complete and can be taken

	// file belongs to the goroutine, and while ready is set to take.
	file *segment.Prepared

	mu  sync.Mutex
	bad bool // preparing failed; not tried again until the next segment. Guarded by mu.
}

// start starts the goroutine where zeros pay.
func (p *preparer) start(l *Log) {
	p.l = l
	if l.o.Durability != Synced || l.o.ReadOnly {
		return
	}
	p.due.Store(preparedLeast)
	p.kick, p.stop, p.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go p.run()
}

// end stops the goroutine, waits for it, and removes what it has made.
func (p *preparer) end() {
	if p.kick == nil {
		return
	}
	close(p.stop)
	<-p.done
	if p.file != nil {
		_ = p.file.Discard()
		p.file = nil
	}
}

// wrote tells that n more bytes were written.
func (p *preparer) wrote(n int64) {
	if p.kick == nil {
		return
	}
	if p.appended.Add(n) < p.due.Load() || p.ready.Load() {
		return
	}
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *preparer) run() {
	defer close(p.done)
	var from, done int64 // bytes appended when the file was begun; bytes of it that are written
	for tag := uint64(0); ; {
		select {
		case <-p.stop:
			return
		case <-p.kick:
		}
		if p.ready.Load() || p.failed() {
			continue
		}
		appended := p.appended.Load()
		if p.file == nil {
			size := min(p.l.o.SegmentBytes, appended)
			file, err := segment.Prepare(p.l.files, p.l.logDir, tag, size)
			if err != nil {
				p.give(err)
				continue
			}
			tag++
			p.file, from, done = file, appended, 0
		}
		// Twice as fast as the appends, so that the file is ready before a segment half its size is full.
		if step := 2*(appended-from) - done; step >= preparedStep {
			ready, err := p.file.Step(step)
			done += step
			if err != nil {
				p.give(err)
				continue
			}
			if ready {
				p.due.Store(0)
				p.ready.Store(true)
				continue
			}
		}
		p.due.Store(from + (done+preparedStep+1)/2)
	}
}

// give up until the next segment.
func (p *preparer) give(err error) {
	p.l.o.Logger.Warn("next segment not prepared", "error", err.Error())
	if p.file != nil {
		_ = p.file.Discard()
		p.file = nil
	}
	p.due.Store(math.MaxInt64)
	p.mu.Lock()
	p.bad = true
	p.mu.Unlock()
}

func (p *preparer) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bad
}

// forgive allows another attempt.
func (p *preparer) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bad = false
	p.due.Store(0)
}

// take returns the prepared file, or nil when it is not ready.
func (p *preparer) take() *segment.Prepared {
	if !p.ready.Load() {
		return nil
	}
	file := p.file
	p.file = nil
	p.ready.Store(false)
	return file
}
