package main

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// segment dumps the i-th segment of names.
func (d *dump) segment(names []segment.Name, i int) error {
	name := names[i]
	d.total.Segments++
	seg, err := segment.Open(d.fs, d.dir, d.logID(names, i), name, false)
	if err != nil {
		return err
	}
	defer func() { _ = seg.Close() }()
	size, err := seg.Size()
	if err != nil {
		return err
	}
	end, torn, err := d.end(seg, names, i, size)
	if err != nil {
		return err
	}
	head, headErr := seg.Head()
	s := newSegmentItem(name, size, head)
	if headErr != nil {
		s = &segmentItem{Kind: "segment", File: name.String(), Bytes: size, Position: name.Position, Generation: name.Generation, Verdict: "damaged"}
		if c := (*segment.CorruptError)(nil); errors.As(headErr, &c) {
			s.Verdict = c.Check
		}
	}
	s.EndByte, s.TornBytes = end, torn
	if err := d.print(s); err != nil {
		return err
	}
	if headErr != nil {
		if err := d.damage(headErr); err != nil {
			return err
		}
	}
	return d.frames(seg, end, size)
}

// logID returns the id of the log that the i-th segment is of: by its own head, or else by that of
// another one.
func (d *dump) logID(names []segment.Name, i int) segment.LogID {
	for _, name := range append([]segment.Name{names[i]}, names...) {
		if id, err := segment.PeekID(d.fs, d.dir, name); err == nil {
			return id
		}
	}
	return segment.LogID{}
}

// end returns where the frames of a segment end, and how many bytes behind that are a torn tail. Where
// nothing tells, everything up to the end of the file is judged.
func (d *dump) end(seg *segment.Segment, names []segment.Name, i int, size int64) (end, torn int64, err error) {
	if d.manifest != nil {
		for _, r := range d.manifest.Segments {
			if r.Name == names[i] {
				return r.EndByte, 0, nil
			}
		}
	}
	for _, later := range names[i+1:] {
		next, err := segment.Open(d.fs, d.dir, d.logID(names, i), later, false)
		if err != nil {
			return 0, 0, err
		}
		head, err := next.Head()
		if err := next.Close(); err != nil {
			return 0, 0, err
		}
		if err == nil && head.Predecessor != nil && head.Predecessor.Name == names[i] {
			return head.Predecessor.EndByte, 0, nil
		}
	}
	switch e, err := seg.Recover(nil); {
	case err == nil:
		return e.Byte, e.Torn, nil
	case errors.Is(err, segment.ErrCorrupt) || errors.Is(err, segment.ErrFormat):
		return size, 0, nil
	default:
		return 0, 0, err
	}
}

// frames dumps the frames up to end, and a sealing mark that stands there.
func (d *dump) frames(seg *segment.Segment, end, size int64) error {
	sc := seg.Scan(segment.HeadBytes, end)
	for {
		if d.stop() != nil {
			return errInterrupted
		}
		var f segment.Frame
		err := sc.Next(&f)
		switch {
		case err == nil:
			err = d.frame(seg.Name().String(), &f)
		case errors.Is(err, io.EOF):
			return d.sealingMark(seg, end, size)
		case errors.Is(err, segment.ErrCorrupt):
			err = d.damagedFrame(seg, sc, err, end == size)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// damagedFrame marks what does not check at the scanner's place, and moves behind it. Zeros up to the
// end of a file of which the end is not known are none.
func (d *dump) damagedFrame(seg *segment.Segment, sc *segment.Scanner, damage error, unknownEnd bool) error {
	at, limit := sc.At(), sc.Limit()
	var f segment.Frame
	if sc.Head(&f) == nil {
		item := newFrameItem(seg.Name().String(), &f)
		item.Verdict = "damaged"
		if c := (*segment.CorruptError)(nil); errors.As(damage, &c) {
			item.Verdict = c.Check
		}
		if err := d.print(item); err != nil {
			return err
		}
		d.total.Frames++
	}
	resync := sc.Resync()
	if errors.Is(resync, io.EOF) && unknownEnd {
		blank, err := d.zeros(seg, at, limit)
		if err != nil || blank {
			return errors.Join(err, resync)
		}
	}
	return errors.Join(d.damage(damage), resync)
}

// zeros reports whether there are only zeros in [from, to).
func (d *dump) zeros(seg *segment.Segment, from, to int64) (bool, error) {
	file, err := d.fs.Open(d.fs.PathJoin(d.dir, seg.Name().String()))
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	buf := make([]byte, 64<<10)
	for at := from; at < to; {
		n, err := file.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
		if slices.ContainsFunc(buf[:n], func(c byte) bool { return c != 0 }) {
			return false, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if n == 0 {
			break
		}
		at += int64(n)
	}
	return true, nil
}

// sealingMark dumps the mark that may stand behind the frames of a sealed segment.
func (d *dump) sealingMark(seg *segment.Segment, end, size int64) error {
	if end >= size {
		return nil
	}
	f, err := seg.ReadFrame(nil, end, end+segment.FrameHeadBytes)
	if err != nil || f.Kind != segment.Sealing {
		return nil //nolint:nilerr // there is none, or nothing that was promised to be one
	}
	return d.frame(seg.Name().String(), &f)
}

// frame dumps an intact frame with its batches.
func (d *dump) frame(file string, f *segment.Frame) error {
	if err := d.names.Follow(f); err != nil {
		d.total.Damaged++
		if err := d.print(&damageItem{Kind: "damage", File: file, Byte: f.At, Position: &f.Position, Check: "catalog", Detail: describe(err)}); err != nil {
			return err
		}
	}
	d.total.Frames++
	item := newFrameItem(file, f)
	var entries []segment.Entry
	if f.Kind == segment.Commit {
		for e := range f.Entries() {
			entries = append(entries, e)
			item.Records += uint64(e.Head.Count)
		}
		item.Batches = len(entries)
	}
	if err := d.print(item); err != nil {
		return err
	}
	at := f.At + segment.FrameHeadBytes
	for i := range entries {
		at += segment.EntryHeadBytes
		if err := d.batch(file, f, &entries[i], at); err != nil {
			return err
		}
		at += int64(len(entries[i].Batch))
	}
	return nil
}

// maxDecodedBytes bounds what a batch may expand to.
const maxDecodedBytes = 1 << 30

// batch dumps one batch. It is decoded whole before anything of it is printed.
func (d *dump) batch(file string, f *segment.Frame, e *segment.Entry, at int64) error {
	item := &batchItem{
		Kind: "batch", File: file, Byte: at, Position: e.Position, Number: e.Partition, Offset: e.Head.BaseOffset,
		EndOffset: e.Head.BaseOffset + int64(e.Records()), Count: e.Head.Count, Codec: e.Head.Codec().String(),
		Bytes: len(e.Batch), Durable: f.Durable, Epoch: e.Head.LeaderEpoch, Verdict: verdictOK,
	}
	topic, partition, known := d.names.Partition(e.Partition)
	if known {
		item.Topic, item.Partition = &topic, &partition
	}
	d.total.Batches++
	bad := eachRecord(e, nil)
	if bad != nil {
		item.Verdict = "batch"
	}
	if err := d.print(item); err != nil {
		return err
	}
	if bad != nil {
		d.total.Damaged++
		return d.print(&damageItem{Kind: "damage", File: file, Byte: at, Position: &e.Position, Check: "batch", Detail: describe(bad)})
	}
	d.total.Records += int64(e.Head.Count)
	if strings.HasPrefix(topic, log.SystemPrefix) {
		d.total.SystemRecords += int64(e.Head.Count)
	}
	if !d.records {
		return nil
	}
	return eachRecord(e, func(r *log.Record) error {
		r.Topic, r.Partition = topic, partition
		return d.print(recordItem{r})
	})
}

// eachRecord decodes a batch and calls visit, which may be nil, for each of its records.
func eachRecord(e *segment.Entry, visit func(*log.Record) error) error {
	var decoder record.Decoder
	if err := decoder.Reset(e.Batch, maxDecodedBytes); err != nil {
		return err
	}
	var r log.Record
	for {
		more, err := decoder.Next(&r)
		if err != nil || !more {
			return err
		}
		if visit == nil {
			continue
		}
		r.Position = e.Position + uint64(r.Offset-e.Head.BaseOffset)
		if err := visit(&r); err != nil {
			return err
		}
	}
}

// recordItem prints a record.
type recordItem struct{ r *log.Record }

func (i recordItem) text() string { return recordText(i.r) }

// MarshalJSON returns the object that read prints, with a kind.
func (i recordItem) MarshalJSON() ([]byte, error) {
	return appendRecordJSON(nil, `"kind":"record",`, i.r), nil
}
