package log

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Histogram counts values in buckets whose upper bounds are the powers of two: bucket i counts
// values below 1<<i, and not below half of that.
type Histogram struct {
	Buckets [64]int64
	Count   int64
	Sum     int64
}

// Quantile returns an upper bound of the q-quantile, 0 <= q <= 1, and 0 without values.
func (h *Histogram) Quantile(q float64) int64 {
	rank := int64(q * float64(h.Count))
	for i, n := range h.Buckets {
		if rank -= n; rank < 0 || rank == 0 && n > 0 {
			return 1 << i
		}
	}
	return 0
}

// histogram is a Histogram that is being filled.
type histogram struct {
	buckets [64]atomic.Int64
	sum     atomic.Int64
}

func (h *histogram) observe(v int64) {
	h.buckets[min(bits.Len64(uint64(max(v, 0))), 63)].Add(1)
	h.sum.Add(v)
}

func (h *histogram) snapshot() Histogram {
	s := Histogram{Sum: h.sum.Load()}
	for i := range h.buckets {
		s.Buckets[i] = h.buckets[i].Load()
		s.Count += s.Buckets[i]
	}
	return s
}

// Metrics is what a log has done since Open, and what it is like. Durations in histograms are in
// nanoseconds.
type Metrics struct {
	// Commits is how many were sequenced, CommitGroups how many writes they took, Syncs how many
	// fdatasyncs of the active segment.
	Commits, CommitGroups, Syncs int64
	// GroupCommits is the number of commits of each commit group.
	GroupCommits Histogram
	// Write is how long it took to write a commit group, Sync to sync.
	Write, Sync Histogram
	// SyncAge is how long the sync that is under way has been so; 0 when there is none.
	SyncAge time.Duration
	// BytesWritten counts the bytes of commit groups, BytesRead those of frames handed to readers.
	BytesWritten, BytesRead int64
	// FramesRead counts frames that were read and checked.
	FramesRead int64
	// NoSpace counts the times that a commit was refused because the disk was full.
	NoSpace int64
	// Segments is how many segments the log has; SegmentsCreated how many since Open.
	Segments, SegmentsCreated int64
	// Written and Synced are the positions behind what is written and synced.
	Written, Synced uint64
	// Views tells for each view how far it is behind.
	Views []ViewMetrics
}

// ViewMetrics tells how far a view has come.
type ViewMetrics struct {
	Name string
	// Applied is the position up to which it has been derived, Lag how many positions are left.
	Applied, Lag uint64
}

// counters is what Metrics is made of.
type counters struct {
	sequenced, groups, syncs, writtenBytes, readBytes, readFrames, noSpace, segments atomic.Int64
	groupCommits, write, sync                                                        histogram
	// syncing is one more than when the sync that is under way began, or 0.
	syncing atomic.Int64
	commits sync.Pool
}

// Metrics returns a snapshot. Its parts are not of the very same moment.
func (l *Log) Metrics() Metrics {
	c := &l.count
	m := Metrics{
		Commits: c.sequenced.Load(), CommitGroups: c.groups.Load(), Syncs: c.syncs.Load(),
		GroupCommits: c.groupCommits.snapshot(), Write: c.write.snapshot(), Sync: c.sync.snapshot(),
		BytesWritten: c.writtenBytes.Load(), BytesRead: c.readBytes.Load(), FramesRead: c.readFrames.Load(),
		NoSpace: c.noSpace.Load(), Segments: int64(len(*l.parts.Load())), SegmentsCreated: c.segments.Load(),
		Written: l.writtenPosition.Load(), Synced: l.syncedPosition.Load(),
	}
	reached := l.applier.reached()
	for _, v := range l.applier.joined() {
		m.Views = append(m.Views, ViewMetrics{Name: v.name, Applied: reached, Lag: m.Written - min(reached, m.Written)})
	}
	if since := c.syncing.Load(); since != 0 {
		m.SyncAge = l.o.Clock.Monotonic() - time.Duration(since-1)
	}
	return m
}
