package log

import (
	"errors"
	"slices"

	"github.com/stratalog/strata/segment"
)

// copied is a segment that a repair made.
type copied struct {
	name segment.Name
	end  int64
}

// copy writes the intact commits of a damaged segment to a new one. In a dry run it only names it.
func (r *repair) copy(e *examined) (copied, error) {
	x := r.x
	name := r.newName(e.part.name.Position)
	r.report.Written = append(r.report.Written, r.inLog(name.String()))
	if r.dry {
		return copied{name: name}, nil
	}
	w, err := r.make(name, e.time, e.epoch, e.tables)
	if err != nil {
		return copied{}, err
	}
	if err := r.copyFrames(e, w, e.time); err != nil {
		return copied{}, errors.Join(err, w.newborn.Discard())
	}
	c := copied{name: name, end: w.at}
	if err := x.ctx.Err(); err != nil {
		return copied{}, errors.Join(err, w.newborn.Discard())
	}
	return c, w.publish()
}

// copyFrames copies the frames that were judged to be intact, in the same way in which they were.
func (r *repair) copyFrames(e *examined, w *segmentCopy, time int64) error {
	seg, err := e.part.open()
	if err != nil {
		return err
	}
	s, err := newSalvage(seg, e.sealed)
	if err != nil {
		return err
	}
	var f segment.Frame
	for {
		damage, err := s.next(&f)
		switch {
		case isEOF(err):
			return w.flush()
		case err != nil:
			return err
		case damage != nil || f.Kind != segment.Commit || e.dropped[f.At]:
			continue
		}
		time = max(time, f.Time)
		if err := w.add(&f, time); err != nil {
			return err
		}
	}
}

// newName returns a name for a new segment, which never has the first generation of its position: that
// is how such a segment is told from one that counts without a manifest.
func (r *repair) newName(position uint64) segment.Name {
	l := r.x.l
	names := slices.Concat(l.strangers, r.x.strays)
	for _, p := range r.x.chain {
		names = append(names, p.name)
	}
	for _, ref := range r.manifest.Segments {
		names = append(names, ref.Name)
	}
	return segment.Name{Position: position, Generation: max(1, segment.NextGeneration(names, l.manifest, position))}
}

// segmentCopy is a segment that is being made from frames of others.
type segmentCopy struct {
	newborn *segment.Newborn
	at      int64 // byte position behind what was added
	written int64 // and behind what was written
	buf     []byte
}

const copyBytes = 1 << 20

// make begins a new segment.
func (r *repair) make(name segment.Name, time int64, epoch int32, tables []byte) (*segmentCopy, error) {
	l := r.x.l
	head := segment.Head{
		LogID: r.x.id, Name: name, Origin: segment.Repaired, Manifest: r.manifest.Number, Created: time,
	}
	if n := len(r.manifest.Segments); n > 0 {
		before := r.manifest.Segments[n-1]
		head.Predecessor = &segment.Link{Name: before.Name, EndPosition: before.EndPosition, EndByte: before.EndByte}
	}
	baby, err := segment.Make(l.fs, l.logDir, segment.Birth{Head: head, Time: time, Epoch: epoch, Tables: tables}, nil)
	if err != nil {
		return nil, spaceError(err)
	}
	at := baby.Segment().Data()
	return &segmentCopy{newborn: baby, at: at, written: at}, nil
}

// add copies f, with a new head. Position, offsets and batches stay.
func (w *segmentCopy) add(f *segment.Frame, time int64) error {
	from := len(w.buf)
	w.buf = append(w.buf, f.Bytes...)
	b := w.buf[from:]
	head := f.FrameHead
	head.Time = time
	head.Put(b)
	segment.Complete(b, w.newborn.Segment().Salt(), w.at, w.at)
	w.at += int64(len(b))
	if len(w.buf) >= copyBytes {
		return w.flush()
	}
	return nil
}

// flush writes what was added.
func (w *segmentCopy) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.newborn.Segment().Write(w.buf, w.written); err != nil {
		return spaceError(err)
	}
	w.written, w.buf = w.at, w.buf[:0]
	return nil
}

// publish syncs the segment and gives it its name.
func (w *segmentCopy) publish() error {
	if err := w.newborn.Segment().Sync(); err != nil {
		return errors.Join(spaceError(err), w.newborn.Discard())
	}
	seg, err := w.newborn.Publish()
	if err != nil {
		return err
	}
	return seg.Close()
}
