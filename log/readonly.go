package log

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stratalog/strata/segment"
)

// A log that was opened read-only holds no lock and writes nothing. What it shows depends on whether
// somebody has the directory open for writing: as long as somebody may have, only what durable fields
// and end marks prove to be synced; when nobody has, all that an opening would recover, which it syncs
// through its own descriptor first. Damage refuses nothing: what is intact is shown.

// openReadOnly opens the log without a lock.
func (l *Log) openReadOnly() error {
	if err := l.readDirectory(); err != nil {
		return errors.Join(err, l.files.closeAll())
	}
	l.watcher.start()
	return nil
}

// readDirectory finds the segments of the log and reads topics, offsets, and the last segment.
func (l *Log) readDirectory() error {
	held, err := writerHas(l.fs, l.dir)
	if err != nil {
		return err
	}
	chain, err := l.findChain()
	if err != nil {
		return err
	}
	l.watcher.l = l
	last := chain[len(chain)-1]
	seg, err := last.open()
	for ; errors.Is(err, ErrCorrupt) && len(chain) > 1; seg, err = last.open() {
		// It is gone, and the manifest says where the one before it ends.
		l.watcher.note(chain[len(chain)-2], err)
		chain = chain[:len(chain)-1]
		last = chain[len(chain)-1]
	}
	if err != nil {
		return err
	}
	if err := l.watcher.checkLink(chain, seg); err != nil {
		return err
	}
	if err := l.foldCatalog(chain, seg); err != nil {
		return err
	}
	l.parts.Store(&chain)
	l.publishPartitionsLocked()
	l.time = startTime(l.o.Clock, 0)
	return l.watcher.open(last, seg, held)
}

// findChain returns the segments of the log, at least one. It is what the names and the manifest say;
// a file of the manifest that is not there makes it look again, since the manifest may have changed
// in between.
func (l *Log) findChain() (parts, error) {
	id, found, known, err := readID(l.fs, l.dir)
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		manifest, err := segment.ReadManifest(l.fs, l.logDir)
		damaged := errors.Is(err, ErrCorrupt)
		if damaged {
			l.o.Logger.Warn("manifest does not check, going by the names of the segments", "error", err.Error())
		} else if isNotExist(err) {
			return nil, fmt.Errorf("%w: %s", ErrNoLog, l.dir)
		} else if err != nil {
			return nil, err
		}
		listing, err := segment.List(l.fs, l.logDir)
		if isNotExist(err) {
			return nil, fmt.Errorf("%w: %s", ErrNoLog, l.dir)
		}
		if err != nil {
			return nil, err
		}
		if manifest != nil && attempt < 2 && !hasAll(listing.Segments, manifest) {
			continue
		}
		l.manifest = manifest
		var chain parts
		var strangers []segment.Name
		if damaged {
			heads, err := readHeads(l, listing.Segments)
			if err != nil {
				return nil, err
			}
			chain, strangers = chainByHeads(l, id, listing.Segments, heads)
		} else if chain, strangers, err = chainOf(l, id, listing.Segments); err != nil {
			return nil, err
		}
		l.strangers = strangers
		if len(chain) == 0 {
			if found {
				return nil, &CorruptError{File: idName, Check: "missing"}
			}
			return nil, fmt.Errorf("%w: %s", ErrNoLog, l.dir)
		}
		if known {
			l.id = id
			return chain, nil
		}
		if l.id, err = idOfHeads(l, chain); err != nil {
			return nil, err
		}
		for _, p := range chain {
			if p.id == (segment.LogID{}) {
				p.id = l.id
			}
		}
		return chain, nil
	}
}

// hasAll reports whether all segments that m names are among names.
func hasAll(names []segment.Name, m *segment.Manifest) bool {
	for _, r := range m.Segments {
		if _, ok := slices.BinarySearchFunc(names, r.Name, segment.Name.Compare); !ok {
			return false
		}
	}
	return true
}

// idOfHeads returns the id that the last intact head of chain says.
func idOfHeads(l *Log, chain parts) (segment.LogID, error) {
	var first error
	for _, p := range slices.Backward(chain) {
		id, err := segment.PeekID(l.fs, l.logDir, p.name)
		if err == nil {
			return id, nil
		}
		if !errors.Is(err, ErrCorrupt) && !isNotExist(err) {
			return id, err
		}
		if first == nil {
			first = p.missing(err)
		}
	}
	return segment.LogID{}, first
}

// foldCatalog makes the catalog as it was when the last segment of chain began: from its catalog frame
// or, when that does not check, from the frames since the last one that does.
func (l *Log) foldCatalog(chain parts, last *segment.Segment) error {
	err := l.decodeCatalog(last)
	if err == nil || !errors.Is(err, ErrCorrupt) {
		return err
	}
	l.watcher.note(chain[len(chain)-1], err)
	l.catalog = newCatalog(l)
	l.catalog.seed()
	from := len(chain) - 2
	for ; from >= 0; from-- {
		seg, err := chain[from].open()
		if errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil {
			return err
		}
		if err := l.decodeCatalog(seg); err == nil {
			break
		} else if !errors.Is(err, ErrCorrupt) {
			return err
		}
	}
	for i := max(from, 0); i < len(chain)-1; i++ {
		if err := l.foldSegment(chain, i); err != nil {
			return err
		}
	}
	return nil
}

// decodeCatalog replaces the catalog by the tables of seg. They are a *CorruptError where they do not
// check or do not decode.
func (l *Log) decodeCatalog(seg *segment.Segment) error {
	f, err := seg.Catalog()
	if err != nil {
		return err
	}
	if err := l.catalog.decode(f.Tables()); err != nil {
		return seg.Corrupt(segment.HeadBytes, seg.Name().Position, "catalog", 0, 0)
	}
	return nil
}

// foldSegment folds the intact frames of the sealed segment at i into the catalog.
func (l *Log) foldSegment(chain parts, i int) error {
	seg, err := chain[i].open()
	if errors.Is(err, ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	end, _, err := l.sealedEnd(chain, i)
	if err != nil {
		return err
	}
	s, err := newSalvage(seg, end)
	if err != nil {
		return err
	}
	var f segment.Frame
	for {
		damage, err := s.next(&f)
		switch {
		case isEOF(err):
			return nil
		case err != nil:
			return err
		case damage == nil:
			l.foldFrame(&f, nil)
		}
	}
}

// foldFrame folds the batches of f into the catalog, and calls each with the partition of each batch and
// the offset behind it. It reports whether topics may have changed. Log.mu is held where the log is in
// use.
func (l *Log) foldFrame(f *segment.Frame, each func(*Partition, int64)) (changed bool) {
	if f.Kind != segment.Commit {
		return false
	}
	var e segment.Entry
	for r := segment.NewEntryReader(f); r.Next(&e); {
		next := e.Head.BaseOffset + int64(e.Records())
		if p := l.catalog.partitions[e.Partition]; p != nil {
			p.next = next
			if each != nil {
				each(p, next)
			} else {
				p.setNext(next)
			}
		}
		if e.Partition != 0 {
			continue
		}
		if err := l.catalog.applyBatch(e.Batch); err != nil {
			l.o.Logger.Warn("change of topics does not decode", "position", e.Position, "error", err.Error())
		}
		changed = true
	}
	return changed
}

// closeReadOnly ends what openReadOnly has begun.
func (l *Log) closeReadOnly() error {
	l.applier.stopping.Store(true)
	l.watcher.end()
	l.wakeFollowers()
	return errors.Join(l.applier.endReadOnly(), l.files.closeAll())
}
