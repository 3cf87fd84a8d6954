package log

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// Record is one record: what is appended and what is read.
type Record = record.Record

// Header is one header of a record.
type Header = record.Header

// Log is an open log. Its methods may be called concurrently. Open makes one, Close ends it.
//
// Lock order: applier.registering, topicsMu, applier.applyMu, the pen, syncMu, mu, applier.mu,
// endMu. Nothing is locked under endMu. No I/O is done under mu or endMu.
type Log struct {
	o      Options // with defaults; immutable, like the fields up to the next blank line
	dir    string  // canonical
	logDir string
	fs     vfs.FS
	files  *files
	id     segment.LogID
	epoch  int32 // counts the openings; what this one appends carries it
	lock   *directoryLock
	// manifest is the one in force since Open, or nil.
	manifest *segment.Manifest
	// strangers are segments in the directory that are not part of the log. Their names are not used.
	strangers []segment.Name

	// topicsMu is held by the one who changes topics, over the commit that does.
	topicsMu sync.Mutex

	// parts is the published list of segments, stored under mu, never modified.
	parts atomic.Pointer[parts]
	// byNumber is the published list of partitions by number, with nil for deleted ones. Stored under
	// mu; a stored list is never modified but for being appended to.
	byNumber atomic.Pointer[[]*Partition]

	// syncMu serializes syncs of the active segment.
	syncMu sync.Mutex
	// syncErr is the first error of one. Syncing again would succeed without the bytes that the first
	// attempt may have lost. Guarded by syncMu.
	syncErr error
	syncing []*Partition // those that the last sync made clean. Guarded by syncMu.

	// mu is what sequencing happens under. It guards the fields below, up to the next blank line.
	mu       sync.Mutex
	catalog  *catalog
	position uint64 // of the next record
	time     logTime
	lastTime int64 // of the last sequenced frame
	pending  *group
	spare    *group // an empty one whose buffers can be used again, or nil
	tail     tail
	room     roomQueue
	pen      pen
	failed   error // the first error of a write or sync, as *FailedError; sticky
	closed   bool
	appended int64 // bytes sequenced since Open
	// bufferedTo is the position behind the last commit that was acknowledged before it was written.
	bufferedTo uint64
	// window is what commits that may not be applied yet have changed.
	window window

	// coarse is the log's time in milliseconds as of the last look at the clock; groupOpen says that
	// there are pending commits, for which it is good enough.
	coarse    atomic.Int64
	groupOpen atomic.Bool
	// arrived counts the commits of the pending group, for the one who waits for them.
	arrived atomic.Int64
	// lastGroup is how many commits the last commit group had. It belongs to the holder of the pen.
	lastGroup int64
	ink       ink
	// ahead and mappedTail belong to the holder of the pen.
	ahead      ahead
	mappedTail mappedTail
	// fresh is the commit group being written, or nil, touched what it touches, viewed the stretches of it that
	// views are derived from. They belong to the holder of the pen.
	fresh      *group
	touched    []touched
	viewed     []span
	viewedMask uint64

	// endMu guards what is published of the log's end. Readers take it, so it is held for moments.
	endMu   sync.Mutex
	written place
	synced  place
	dirty   []*Partition // those with written records that are not synced
	waiting waiting
	recent  recent
	// writtenPosition and syncedPosition repeat the positions of written and synced.
	writtenPosition, syncedPosition atomic.Uint64

	// views are the registered ones; nil before the first. Stored under mu.
	views   atomic.Pointer[views]
	applier *applier // immutable, like store
	// answering counts the goroutines that hold back an answer to CommitAsync.
	answering sync.WaitGroup
	store     *store

	attached attachments
	scribe   scribe
	syncer   syncer
	preparer preparer
	watcher  watcher // of a log that was opened read-only
	closing  sync.Once
	// sealer counts the writers of indexes of sealed segments. Added to by the holder of the pen, or
	// under mu while the log is not closed.
	sealer  sync.WaitGroup
	count   counters
	waiters sync.Pool // of *waiter whose commits are decided
	walkers sync.Pool // of *walker whose loops have ended
	// remembering bounds what the segments remember of their frames.
	remembering  memory
	pointReaders sync.Pool // of *pointReader
}

// place is an end of the log: the position behind it, and the byte behind its last frame.
type place struct {
	position uint64
	part     *part
	byte     int64
}

// tail is where the next sequenced frame will stand.
type tail struct {
	part *part
	seg  *segment.Segment
	salt uint64
	byte int64 // behind the last sequenced frame
	// claimed is the byte up to which room on disk is sure.
	claimed int64
	// zeros is the byte up to which the file is prepared; 0 when it was not.
	zeros int64
	// indexed is the byte up to which its index was in a file when the log was opened; 0 when there was none.
	indexed int64
}

// ink is what the holder of the pen has with it.
type ink struct {
	index indexer // of the active segment
	// marked says that the last frame is an end mark, or that there is none yet; idle, where marked is
	// set, that it is an idle mark.
	marked, idle bool
	frame        segment.Frame // the one being completed, here so that it is not allocated each time
}

// Dir returns the canonical path of the log's directory.
func (l *Log) Dir() string { return l.dir }

// Options returns what the log was opened with, with defaults.
func (l *Log) Options() Options { return l.o }

// Now returns the log's time: that of the next commit. It runs with the monotonic clock and is drawn
// gently towards the wall clock, so that it never stands still and never leaps.
func (l *Log) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.UnixMicro(max(l.readTimeLocked(), l.lastTime)).UTC()
}

// Position returns the position behind the last record that readers see.
func (l *Log) Position() uint64 { return l.syncedPosition.Load() }

// usable returns why the log takes no commits.
func (l *Log) usable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usableLocked()
}

func (l *Log) usableLocked() error {
	switch {
	case l.failed != nil:
		return l.failed
	case l.closed:
		return ErrClosed
	case l.o.ReadOnly:
		return ErrReadOnly
	}
	return nil
}

// partition returns the partition with this number, or nil when it was deleted.
func (l *Log) partition(number uint32) *Partition {
	if list := *l.byNumber.Load(); int(number) < len(list) {
		return list[number]
	}
	return nil
}

// publishPartitionsLocked makes the partitions of the catalog known to those without mu.
func (l *Log) publishPartitionsLocked() {
	list := make([]*Partition, l.catalog.nextNumber)
	for number, p := range l.catalog.partitions {
		list[number] = p
	}
	l.byNumber.Store(&list)
}

// publishTopicLocked does the same when only the partitions of t may be new.
func (l *Log) publishTopicLocked(t *Topic) {
	list := *l.byNumber.Load()
	for _, p := range *t.partitions.Load() {
		if int(p.number) >= len(list) {
			list = append(list, make([]*Partition, int(p.number)+1-len(list))...)
			list[p.number] = p
		}
	}
	l.byNumber.Store(&list)
	l.markViewedLocked(t)
}
