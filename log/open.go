package log

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/segment"
)

// openFiles bounds how many segments and indexes are open at once.
const openFiles = 128

// Open opens the log in dir, which it creates when there is none. It takes what the process before
// left behind: a torn tail, which nobody was promised, is cut; damage is a *CorruptError, and nothing
// is changed. Only one Log at a time has a directory open for writing: others get ErrLocked.
func Open(dir string, options Options) (*Log, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	if dir, err = canonical(o.FS, dir); err != nil {
		return nil, err
	}
	l := newLog(dir, o)
	if o.ReadOnly {
		if err := l.openReadOnly(); err != nil {
			return nil, err
		}
		return l, nil
	}
	if err := l.openDirectory(); err != nil {
		return nil, err
	}
	if err := l.openSegments(); err != nil {
		l.sealer.Wait()
		return nil, errors.Join(err, l.files.closeAll(), l.lock.release())
	}
	if err := l.checkState(); err != nil {
		l.sealer.Wait()
		return nil, errors.Join(err, l.files.closeAll(), l.lock.release())
	}
	l.scribe.start(l, l.scribeTurn)
	l.syncer.start(l, l.syncerTurn)
	l.preparer.start(l)
	return l, nil
}

func newLog(dir string, o Options) *Log {
	l := &Log{
		o: o, dir: dir, fs: o.FS, logDir: o.FS.PathJoin(dir, "log"), files: newFiles(o.FS, openFiles),
		pending: &group{}, pointReaders: sync.Pool{New: func() any { return new(pointReader) }},
	}
	l.applier, l.store = &applier{l: l}, newStore(l)
	l.catalog = newCatalog(l)
	l.publishPartitionsLocked()
	l.parts.Store(&parts{})
	return l
}

// openDirectory makes the directories where they may be made, and locks.
func (l *Log) openDirectory() error {
	if l.o.MustExist {
		listing, err := segment.List(l.fs, l.logDir)
		if isNotExist(err) || err == nil && len(listing.Segments) == 0 && !listing.Manifest {
			return fmt.Errorf("%w: %s", ErrNoLog, l.dir)
		}
		if err != nil {
			return err
		}
	}
	if err := makeDirs(l.fs, l.dir); err != nil {
		return err
	}
	lock, err := lockDirectory(l.fs, l.dir)
	if err != nil {
		return err
	}
	l.lock = lock
	if err := makeDirs(l.fs, l.logDir); err != nil {
		return errors.Join(err, lock.release())
	}
	return nil
}

// makeDirs makes dir and what is missing above it. Their names are made durable when a log is created in
// them.
func makeDirs(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("log: %w", spaceError(err))
	}
	return nil
}

// syncNames makes the names of dir and of all directories above it durable. Which of them are new is
// not asked: an earlier opening may have made them and ended before it synced them. What may not be
// read, above the directory that dir is in, was there before.
func syncNames(fs vfs.FS, dir string) error {
	for at, parent := dir, fs.PathDir(dir); ; at, parent = parent, fs.PathDir(parent) {
		if err := segment.SyncDir(fs, parent); err != nil && (at == dir || !errors.Is(err, iofs.ErrPermission)) {
			return err
		}
		if parent == fs.PathDir(parent) {
			return nil
		}
	}
}

// openSegments finds the segments of the log, recovers the last one, and makes it the active one.
func (l *Log) openSegments() error {
	id, found, ok, err := readID(l.fs, l.dir)
	if err != nil {
		return err
	}
	chain, err := l.findParts(id, ok)
	if err != nil {
		return err
	}
	if len(chain) == 0 {
		if found {
			return &CorruptError{File: idName, Check: "missing"}
		}
		return l.create()
	}
	if first := chain[0].name; l.manifest == nil && first.Position != 0 {
		return &CorruptError{File: first.String(), Position: first.Position, Check: "predecessor"}
	}
	if !ok {
		if id, err = segment.PeekID(l.fs, l.logDir, chain[len(chain)-1].name); err != nil {
			return err
		}
		for _, p := range chain {
			if p.id == (segment.LogID{}) {
				p.id = id
			}
		}
	}
	l.id = id
	r, seg, err := l.recoverLast(chain)
	if err != nil {
		return err
	}
	l.parts.Store(&chain)
	l.publishPartitionsLocked()
	if err := l.resume(chain[len(chain)-1], seg, r); err != nil {
		return errors.Join(err, seg.Close())
	}
	if !ok {
		if err := segment.WriteFile(l.fs, l.dir, idName, encodeID(l.id)); err != nil {
			return err
		}
	}
	return nil
}

// findParts returns the segments of the log in order, by manifest and names, and removes what was
// being made when the last process ended.
func (l *Log) findParts(id segment.LogID, known bool) (parts, error) {
	listing, err := segment.List(l.fs, l.logDir)
	if err != nil {
		return nil, err
	}
	if l.manifest, err = segment.ReadManifest(l.fs, l.logDir); err != nil {
		return nil, err
	}
	if known && l.manifest != nil && l.manifest.LogID != id {
		return nil, &CorruptError{File: segment.ManifestName, Check: "identity"}
	}
	chain, strangers, err := chainOf(l, id, listing.Segments)
	if err != nil {
		return nil, err
	}
	l.strangers = strangers
	for _, s := range strangers {
		l.o.Logger.Warn("segment is not part of the log and is left alone", "segment", s.String())
	}
	if !l.o.ReadOnly {
		for _, base := range listing.New {
			if err := l.fs.Remove(l.fs.PathJoin(l.logDir, base)); err != nil {
				return nil, fmt.Errorf("log: remove leftover: %w", err)
			}
		}
	}
	return chain, nil
}

// chainOf returns the segments that make up the log: those that the manifest names, and those behind
// its last position, unless they were made by a repair that did not come to naming them; and the others.
func chainOf(l *Log, id segment.LogID, names []segment.Name) (chain parts, strangers []segment.Name, err error) {
	from := uint64(0)
	named := map[segment.Name]bool{}
	if l.manifest != nil {
		for _, r := range l.manifest.Segments {
			p := &part{l: l, id: r.LogID, name: r.Name}
			p.setEnd(segment.End{Byte: r.EndByte, Position: r.EndPosition})
			chain = append(chain, p)
			named[r.Name] = true
			from = r.EndPosition
		}
	}
	for _, n := range names {
		if named[n] {
			continue
		}
		apart := n.Position < from
		if !apart {
			if apart, err = madeApart(l, n); err != nil {
				return nil, nil, err
			}
		}
		if apart {
			strangers = append(strangers, n)
		} else {
			chain = append(chain, &part{l: l, id: id, name: n})
		}
	}
	return chain, strangers, nil
}

// madeApart reports whether the segment called name was made by something other than appends, and so
// counts only when a manifest names it. Such a segment never has the first generation of its position.
func madeApart(l *Log, name segment.Name) (bool, error) {
	if name.Generation == 0 {
		return false, nil
	}
	h, err := segment.PeekHead(l.fs, l.logDir, name)
	switch {
	case err == nil:
		return h.Origin != segment.Born, nil
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrFormat), isNotExist(err):
		return false, nil
	}
	return false, err
}

// recoverLast checks that the last segment follows the one before it, and reads it: topics, offsets
// and its index. It changes nothing on disk.
func (l *Log) recoverLast(chain parts) (recovered, *segment.Segment, error) {
	last := chain[len(chain)-1]
	seg, err := segment.Open(l.files, l.logDir, last.id, last.name, true)
	if err != nil {
		return recovered{}, nil, last.missing(err)
	}
	r, err := l.readLast(chain, seg)
	if err != nil {
		return r, nil, errors.Join(err, seg.Close())
	}
	return r, seg, nil
}

func (l *Log) readLast(chain parts, seg *segment.Segment) (recovered, error) {
	if err := l.checkPredecessor(chain, seg); err != nil {
		return recovered{}, err
	}
	last := chain[len(chain)-1]
	r, reach, ok := l.recoverKept(last, seg)
	if !ok {
		var err error
		if r, err = l.recoverWhole(seg); err != nil {
			return r, err
		}
		if end := r.end; end.Byte < reach {
			return r, seg.Corrupt(end.Byte, end.Position, "end", uint64(reach), uint64(end.Byte))
		}
	}
	if end := r.end; end.Last == segment.Sealing {
		return r, &CorruptError{File: seg.Name().String(), Byte: end.Byte, Position: end.Position, Check: "successor"}
	}
	last.memory.Store(r.index.memory)
	l.ink.index = r.index
	return r, nil
}

// recoverWhole recovers the last segment by reading all of it.
func (l *Log) recoverWhole(seg *segment.Segment) (r recovered, err error) {
	l.catalog = newCatalog(l)
	if err := l.decodeCatalog(seg); err != nil {
		return r, err
	}
	r.index = indexer{memory: index.NewMemory()}
	r.end, err = seg.Recover(func(f *segment.Frame) error { return l.fold(&r.index, f) })
	return r, err
}

// checkPredecessor checks that the last segment names the one before it, unless the manifest does.
func (l *Log) checkPredecessor(chain parts, seg *segment.Segment) error {
	head, err := seg.Head()
	if err != nil {
		return err
	}
	missing := &CorruptError{File: seg.Name().String(), Position: seg.Name().Position, Check: "predecessor"}
	switch {
	case l.manifest != nil && len(chain) <= len(l.manifest.Segments):
		return nil
	case l.manifestNumber() < head.Manifest:
		return &CorruptError{File: segment.ManifestName, Check: "missing", Want: head.Manifest, Got: l.manifestNumber()}
	case len(chain) == 1 && head.Predecessor == nil:
		return nil
	case len(chain) == 1 || head.Predecessor == nil:
		return missing
	}
	before := chain[len(chain)-2]
	if head.Predecessor.Name != before.name {
		return missing
	}
	before.setEnd(segment.End{Byte: head.Predecessor.EndByte, Position: head.Predecessor.EndPosition})
	return nil
}

// fold folds a frame of the active segment into catalog and index.
func (l *Log) fold(ix *indexer, f *segment.Frame) error {
	var topics error
	err := ix.add(f, func(e *segment.Entry) {
		if topics == nil {
			topics = l.foldEntry(e)
		}
	})
	return errors.Join(err, topics)
}

// foldEntry folds a batch into the catalog.
func (l *Log) foldEntry(e *segment.Entry) error {
	if p := l.catalog.partitions[e.Partition]; p != nil {
		p.setNext(e.Head.BaseOffset + int64(e.Records()))
	}
	if e.Partition == 0 {
		return l.catalog.applyBatch(e.Batch)
	}
	return nil
}

// resume makes what was recovered durable and the log ready for appends.
func (l *Log) resume(last *part, seg *segment.Segment, r recovered) error {
	end := r.end
	last.seg = seg
	l.position, l.lastTime = end.Position, end.Time
	l.time = startTime(l.o.Clock, end.Time)
	l.tail = tail{
		part: last, seg: seg, salt: seg.Salt(), byte: end.Byte,
		claimed: max(end.FileBytes, end.Byte), indexed: r.indexed,
	}
	l.ink.marked = true
	if end.FileBytes > end.Byte {
		l.tail.zeros, l.ahead.to = end.FileBytes, end.FileBytes
	}
	l.epoch = end.Epoch
	clean := end.Torn == 0 && (end.Last == segment.Closing || end.Last == segment.Recovered)
	if !clean {
		if err := l.secure(seg, end); err != nil {
			return err
		}
	} else {
		if end.Last == segment.Closing {
			l.epoch++
		}
		// The mark speaks for the bytes before it, and not for itself; a kept index speaks for both. Neither speaks for
		// a copy of the file, so it is synced in any case.
		if _, err := seg.Rewrite(end.Durable, end.Byte); err != nil {
			return err
		}
		if err := seg.Sync(); err != nil {
			return err
		}
	}
	here := place{position: l.position, part: l.tail.part, byte: l.tail.byte}
	l.written, l.synced = here, here
	l.writtenPosition.Store(here.position)
	l.syncedPosition.Store(here.position)
	return nil
}

// secure makes the recovered frames durable before they are believed: a page that a failed sync left
// clean would otherwise never reach the disk. A torn tail is sealed off, since there is no cutting it,
// and appending behind it would lose data in the next crash.
func (l *Log) secure(seg *segment.Segment, end segment.End) error {
	info := RecoveredInfo{File: seg.Name().String(), Byte: end.Byte, Position: end.Position, TornBytes: end.Torn}
	var err error
	if info.RewrittenBytes, err = seg.Rewrite(end.Durable, end.Byte); err != nil {
		return err
	}
	if err := errors.Join(seg.Sync(), segment.SyncDir(l.fs, l.logDir)); err != nil {
		return err
	}
	l.epoch = end.Epoch + 1
	if end.Torn > 0 {
		l.o.Logger.Warn("torn tail cut off: it was never acknowledged as synced", "segment", info.File, "byte", end.Byte, "bytes", end.Torn, "position", end.Position)
		if err := l.sealTorn(end); err != nil {
			return err
		}
	} else if l.vouched() {
		// The manifest says where the segment ends, and so it must not grow.
		if err := l.sealTorn(end); err != nil {
			return err
		}
	}
	mark := segment.Mark{Position: l.position, Time: l.lastTime, Epoch: l.epoch}
	at := l.tail.byte
	if err := errors.Join(l.tail.seg.Write(mark.Encode(segment.Recovered, l.tail.salt, at), at), l.tail.seg.Sync()); err != nil {
		return spaceError(err)
	}
	l.tail.byte += segment.FrameHeadBytes
	l.tail.claimed = max(l.tail.claimed, l.tail.byte)
	if l.o.Events.Recovered != nil {
		l.o.Events.Recovered(info)
	}
	return nil
}

// vouched reports whether the manifest names the last segment, as it does behind a repair.
func (l *Log) vouched() bool {
	return l.manifest != nil && len(*l.parts.Load()) <= len(l.manifest.Segments)
}

// sealTorn begins a new segment behind the last one, which is not written any more.
func (l *Log) sealTorn(end segment.End) error {
	tables, err := l.catalog.encode()
	if err != nil {
		return err
	}
	old := l.tail
	next, err := l.newborn(segment.Birth{
		Head: segment.Head{
			LogID: l.id, Predecessor: &segment.Link{Name: old.part.name, EndPosition: end.Position, EndByte: end.Byte},
			Name: l.nextName(end.Position), Manifest: l.manifestNumber(), Created: l.time.read(),
		},
		Time: end.Time, Epoch: end.Epoch, Tables: tables,
	}, nil, segment.FrameHeadBytes)
	if err != nil {
		return err
	}
	if err := l.publishPart(next); err != nil {
		return err
	}
	l.seal(old, end.Byte, end.Position)
	return nil
}

// create makes a new log.
func (l *Log) create() error {
	if _, err := io.ReadFull(l.o.Rand, l.id[:]); err != nil {
		return fmt.Errorf("log: draw an id: %w", err)
	}
	l.epoch = 1
	l.time = startTime(l.o.Clock, 0)
	l.lastTime = l.time.read()
	if err := syncNames(l.fs, l.logDir); err != nil {
		return err
	}
	l.catalog.seed()
	l.publishPartitionsLocked()
	tables, err := l.catalog.encode()
	if err != nil {
		return err
	}
	first, err := l.newborn(segment.Birth{
		Head: segment.Head{LogID: l.id, Created: l.lastTime},
		Time: l.lastTime, Epoch: l.epoch, Tables: tables,
	}, nil, segment.FrameHeadBytes)
	if err != nil {
		return err
	}
	if err := l.publishPart(first); err != nil {
		return err
	}
	return segment.WriteFile(l.fs, l.dir, idName, encodeID(l.id))
}

// Close ends the log. Commits that were sequenced are written and synced; later ones, and those that
// still wait for room, get ErrClosed, as do all other calls, readers in the middle of a loop among
// them. Close waits for everything that the log has started. Calling it again does nothing.
func (l *Log) Close() error {
	var err error
	l.closing.Do(func() {
		err = l.attached.close()
		err = errors.Join(err, l.close())
	})
	return err
}

// bare reports whether the active segment has nothing behind its catalog frame, which is no end mark.
func (l *Log) bare() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail.byte == l.tail.seg.Data()
}

func (l *Log) close() error {
	l.mu.Lock()
	l.closed = true
	l.room.wakeAllLocked()
	l.mu.Unlock()
	if l.o.ReadOnly {
		return l.closeReadOnly()
	}
	l.applier.stopping.Store(true)
	l.scribe.end()
	l.syncer.end()
	l.takePen() // and keep it
	err := l.writePending()
	if err == nil {
		if err = l.syncWritten(); err != nil {
			err = l.fail(err, nil)
		}
	}
	if err == nil && (!l.ink.marked || l.ink.idle || l.bare()) {
		l.mark(segment.Closing)
		if err = l.syncWritten(); err != nil {
			err = l.fail(err, nil)
		}
		l.mu.Lock()
		if err == nil {
			err = l.failed // by the write of the mark
		}
		l.mu.Unlock()
	}
	l.mappedTail.close()
	if err == nil {
		l.keepIndex()
	}
	l.mu.Lock()
	l.passPenLocked() // to those who wait for it in vain
	l.mu.Unlock()
	l.answering.Wait()
	stateErr := l.applier.end()
	l.preparer.end()
	l.sealer.Wait()
	l.wakeFollowers()
	return errors.Join(err, stateErr, l.files.closeAll(), l.lock.release())
}
