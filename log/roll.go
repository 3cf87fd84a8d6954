package log

import (
	"errors"
	"slices"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/segment"
)

// roll seals the active segment and begins the next one, so that n more bytes have room in it. The
// caller has the pen and is the first in the queue for room, so that nothing is pending and nothing is
// sequenced meanwhile. When there is no space, nothing has changed.
func (l *Log) roll(n int64) error {
	if err := l.syncWritten(); err != nil {
		return l.fail(err, nil)
	}
	l.mu.Lock()
	old, end, position := l.tail, l.tail.byte, l.position
	tables, err := l.catalog.encode()
	last := l.lastTime
	now := max(l.readTimeLocked(), last)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	var prepared *segment.Prepared
	if prepared = l.preparer.take(); prepared == nil && l.preparer.failed() {
		l.preparer.forgive()
	}
	next, err := l.newborn(segment.Birth{
		Head: segment.Head{
			LogID: l.id, Predecessor: &segment.Link{Name: old.part.name, EndPosition: position, EndByte: end},
			Name: l.nextName(position), Manifest: l.manifestNumber(), Created: now,
		},
		Time: now, Epoch: l.epoch, Tables: tables,
	}, prepared, n)
	if err != nil {
		return err
	}
	if err := l.publishPart(next); err != nil {
		return l.fail(err, nil)
	}
	l.mu.Lock()
	l.lastTime = now // of the catalog frame, which an end mark right behind it repeats
	l.mu.Unlock()
	mark := segment.Mark{Position: position, Time: last, Epoch: l.epoch}.Encode(segment.Sealing, old.salt, end)
	if err := errors.Join(old.seg.Write(mark, end), old.seg.Sync()); err != nil {
		return l.fail(err, nil)
	}
	l.mappedTail.close()
	l.seal(old, end, position)
	return nil
}

func (l *Log) manifestNumber() uint64 {
	if l.manifest == nil {
		return 0
	}
	return l.manifest.Number
}

// nextName returns the name of a new segment that begins at position.
func (l *Log) nextName(position uint64) segment.Name {
	names := make([]segment.Name, 0, len(*l.parts.Load()))
	for _, p := range *l.parts.Load() {
		names = append(names, p.name)
	}
	names = append(names, l.strangers...)
	return segment.Name{Position: position, Generation: segment.NextGeneration(names, l.manifest, position)}
}

// newTail is a segment that is whole but not yet published.
type newTail struct {
	baby    *segment.Newborn
	name    segment.Name
	zeros   int64
	claimed int64
}

// newborn makes the file of a new segment with room for n bytes.
func (l *Log) newborn(b segment.Birth, prepared *segment.Prepared, n int64) (*newTail, error) {
	baby, err := segment.Make(l.files, l.logDir, b, prepared)
	if err != nil {
		return nil, spaceError(err)
	}
	t := &newTail{baby: baby, name: b.Head.Name}
	if prepared != nil {
		t.zeros = prepared.Size()
	}
	start := baby.Segment().Data()
	if t.claimed, err = claim(baby.Segment(), max(t.zeros, start), start, n+keptRoom); err != nil {
		return nil, errors.Join(err, baby.Discard())
	}
	t.claimed = max(t.claimed, t.zeros)
	return t, nil
}

// publishPart gives a new segment its name, durably, and makes it the active one.
func (l *Log) publishPart(t *newTail) error {
	seg, err := t.baby.Publish()
	if err != nil {
		return err
	}
	p := &part{l: l, id: l.id, name: t.name, seg: seg}
	memory := index.NewMemory()
	p.memory.Store(memory)
	l.mu.Lock()
	var list parts
	if old := l.parts.Load(); old != nil {
		list = *old
	}
	list = append(slices.Clip(list), p)
	l.tail = tail{
		part: p, seg: seg, salt: seg.Salt(), byte: seg.Data(), claimed: t.claimed, zeros: t.zeros,
	}
	l.ink = ink{index: indexer{memory: memory}, marked: true}
	l.ahead.to = t.zeros
	position := l.position
	l.endMu.Lock()
	l.written = place{position: position, part: p, byte: seg.Data()}
	l.synced = l.written
	l.parts.Store(&list)
	l.endMu.Unlock()
	l.mu.Unlock()
	l.count.segments.Add(1)
	if l.o.Events.SegmentCreated != nil {
		l.o.Events.SegmentCreated(SegmentInfo{File: t.name.String(), Position: t.name.Position, Bytes: seg.Data()})
	}
	return nil
}

// seal notes that old ends, and writes its index behind the back of the commits.
func (l *Log) seal(old tail, end int64, position uint64) {
	old.part.setEnd(segment.End{Byte: end, Position: position})
	l.files.unpin(l.fs.PathJoin(l.logDir, old.part.name.String()))
	info := SegmentInfo{File: old.part.name.String(), Position: old.part.name.Position, Bytes: end}
	if l.o.Events.SegmentSealed != nil {
		l.o.Events.SegmentSealed(info)
	}
	l.sealer.Add(1)
	go func() {
		defer l.sealer.Done()
		l.writeIndex(old.part, end, position)
	}()
}

// writeIndex writes the index of a sealed segment, which is in memory. Failing costs time later, and nothing else.
func (l *Log) writeIndex(p *part, end int64, position uint64) {
	m := p.memory.Load()
	path := l.fs.PathJoin(l.logDir, p.name.Index())
	if err := index.Write(l.fs, path, p.indexID(end, position), m); err != nil {
		l.o.Logger.Warn("index not written", "segment", p.name.String(), "error", err.Error())
		return
	}
	idx, err := index.Open(l.files, path, p.indexID(end, position))
	if err != nil {
		if !errors.Is(err, ErrClosed) {
			l.o.Logger.Warn("index not readable", "segment", p.name.String(), "error", err.Error())
		}
		return
	}
	p.mu.Lock()
	p.idx, p.idxGone = idx, false
	p.mu.Unlock()
	p.memory.Store(nil)
}
