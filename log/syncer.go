package log

import (
	"sync/atomic"
	"time"
)

// syncAfter is how many bytes may be written before the syncer begins to make them durable, whatever the
// interval: a segment must be synced before the next one begins, and who waits for 128 MiB to reach the
// disk waits for a tenth of a second.
const syncAfter = 8 << 20

// syncer is the goroutine that makes durable what nobody waits for. It is one of its own, so that the scribe
// goes on writing meanwhile.
type syncer struct {
	turns
	// since is when the oldest bytes that are not synced and that nobody waits for were written, on the monotonic
	// clock, 0 when there are none; bytes is how many of them were written since the last sync began.
	since, bytes atomic.Int64
}

// wrote tells that n bytes were written, at the time now, that nobody waits to be synced.
func (s *syncer) wrote(now time.Duration, n int64) {
	first := s.since.CompareAndSwap(0, int64(now)|1)
	bytes := s.bytes.Add(n)
	if first || bytes >= syncAfter && bytes-n < syncAfter {
		s.wake()
	}
}

// syncerTurn syncs what is due and returns when to look again, 0 for when something is written.
func (l *Log) syncerTurn() time.Duration {
	s := &l.syncer
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	if s.bytes.Load() < syncAfter {
		if l.o.SyncInterval < 0 {
			return 0
		}
		if due := time.Duration(since) + l.o.SyncInterval - l.o.Clock.Monotonic(); due > 0 {
			return due
		}
	}
	if err := l.syncWritten(); err != nil {
		l.takePen() // so that those whose commits are being written are told first
		_ = l.fail(err, nil)
		l.passPen()
		return 0
	}
	return l.o.SyncInterval // whoever writes too much meanwhile kicks
}
