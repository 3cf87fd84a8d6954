package log

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// segment examines the segment at i of the chain.
func (x *examination) segment(i int) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	p := x.chain[i]
	e := &examined{part: p}
	x.segments = append(x.segments, e)
	seg, err := p.open()
	if errors.Is(err, ErrCorrupt) {
		return x.absent(i, e)
	}
	if err != nil {
		return err
	}
	if nothing, err := x.nothing(i, seg); err != nil {
		return err
	} else if nothing {
		e.missing = true
		e.stray = true
		return x.stray(seg)
	}
	x.report.Segments++
	if err := x.head(i, e, seg); err != nil {
		return err
	}
	if err := x.catalog(e, seg); err != nil {
		return err
	}
	if err := x.limit(i, e); err != nil {
		return err
	}
	memory, err := x.frames(i, e, seg)
	if err != nil {
		return err
	}
	x.report.Bytes += e.end.Byte
	if size, err := seg.Size(); err == nil {
		x.done += size
	}
	switch {
	case e.sealed > 0:
		return x.index(e, memory)
	case !x.live:
		return x.keptIndex(e, seg, memory)
	}
	return nil
}

// absent takes note of a segment that the manifest names and that is not there.
func (x *examination) absent(i int, e *examined) error {
	e.missing, e.damaged = true, true
	e.position, e.time, e.epoch = x.position, x.time, x.epoch
	from, to := e.part.name.Position, e.part.name.Position
	if e.part.endKnown {
		to = e.part.end.Position
	}
	x.find(Finding{File: e.part.name.String(), Check: "missing", Detail: "the manifest names the segment, and it is not there", FromPosition: from, ToPosition: to})
	x.skipTo(max(to, x.position), true)
	return nil
}

// nothing reports whether the segment at i, the last one, is a file that never was a segment: nothing in
// it checks, and the one before it was not sealed.
func (x *examination) nothing(i int, seg *segment.Segment) (bool, error) {
	if _, err := seg.Head(); i == 0 || i < len(x.chain)-1 || seg.Data() > 0 || !errors.Is(err, ErrCorrupt) {
		return false, nil
	}
	if x.chain[i-1].end.Last == segment.Sealing || x.segments[i-1].missing {
		return false, nil
	}
	size, err := seg.Size()
	if err != nil {
		return false, err
	}
	at, err := dataStart(seg, size)
	return at >= size, err
}

// stray takes note of a file that is not part of the log, in spite of its name.
func (x *examination) stray(seg *segment.Segment) error {
	_, err := seg.Head()
	return x.findError(err, "the file has the name of a segment, and is none")
}

// skipTo notes that the positions up to position are missing.
func (x *examination) skipTo(position uint64, fresh bool) {
	if position > x.position {
		x.unsure = append(x.unsure, lostRange{x.position, position})
		x.position = position
	}
	x.gap = true
	x.fresh = x.fresh || fresh
}

// head judges the head of the segment at i, and whether it follows the one before it.
func (x *examination) head(i int, e *examined, seg *segment.Segment) error {
	name := e.part.name
	from := x.position
	h, err := seg.Head()
	link := error(nil)
	if err == nil {
		link = linkError(x.chain, i, h)
	} else if err := x.findError(err, "the head of the segment"); err != nil {
		return err
	}
	if err != nil {
		e.damaged = true
	} else if h.Origin != segment.Born {
		x.gap = true // what is missing in it was given up
	}
	vouched := x.l.manifest != nil && i < len(x.l.manifest.Segments)
	if link != nil {
		var c *CorruptError
		errors.As(link, &c)
		x.find(Finding{File: c.File, Check: c.Check, Detail: fmt.Sprintf("%s does not follow the segment before it", name), FromPosition: from, ToPosition: max(from, name.Position)})
	}
	switch {
	case name.Position > from && (i == 0 || vouched):
		x.skipTo(name.Position, link != nil)
		if i == 0 && link == nil {
			x.unsure = nil // retention took them, and nobody misses them
		}
	case name.Position > from:
		if link == nil && !x.fresh {
			x.find(Finding{File: name.String(), Check: "position", Detail: "records are missing in front of the segment", FromPosition: from, ToPosition: name.Position})
		}
		x.skipTo(name.Position, true)
	case name.Position < from:
		x.find(Finding{File: name.String(), Check: "position", Detail: fmt.Sprintf("the segment begins at position %d, where %d is due", name.Position, from), FromPosition: from, ToPosition: from})
		e.damaged = true
	}
	if link != nil {
		x.gap, x.fresh = true, true
	}
	return nil
}

// catalog judges the catalog frame of a segment, which must be the fold of what came before.
func (x *examination) catalog(e *examined, seg *segment.Segment) error {
	e.position, e.time, e.epoch = x.position, x.time, x.epoch
	f, err := seg.Catalog()
	told := newCatalog(x.l)
	if err == nil && f.Position != seg.Name().Position {
		err = seg.Corrupt(f.At, seg.Name().Position, "position", seg.Name().Position, f.Position)
	}
	if err == nil && told.decode(f.Tables()) != nil {
		err = seg.Corrupt(f.At, f.Position, "catalog", 0, 0)
	}
	if err != nil {
		e.damaged = true
		if err := x.findError(err, "the catalog frame"); err != nil {
			return err
		}
		e.tables, err = x.fold.encode()
		return err
	}
	e.time, e.epoch = max(f.Time, x.time), max(f.Epoch(), x.epoch)
	x.checkTime(seg, &f)
	if x.gap {
		x.adopt(told)
	} else {
		want, err := x.fold.encode()
		if err != nil {
			return err
		}
		if !bytes.Equal(want, trimTables(f.Tables(), len(want))) {
			e.damaged = true
			x.find(Finding{File: seg.Name().String(), Byte: f.At, Check: "catalog", Detail: "the catalog is not what the records before it make", FromPosition: f.Position, ToPosition: f.Position})
		}
		x.fold = told
	}
	e.tables, err = x.fold.encode()
	return err
}

// trimTables cuts what stands behind the n bytes of tables, where that is zero.
func trimTables(b []byte, n int) []byte {
	if len(b) > n && len(bytes.Trim(b[n:], "\x00")) == 0 {
		return b[:n]
	}
	return b
}

// adopt believes a catalog frame behind missing records: offsets are known again.
func (x *examination) adopt(told *catalog) {
	for number, p := range told.partitions {
		have := int64(0)
		if q := x.fold.partitions[number]; q != nil {
			have = q.next
		}
		x.jump(p, have, p.next)
	}
	x.fold = told
	x.gap, x.fresh, x.unsure, x.jumped, x.met, x.orphans = false, false, nil, 0, nil, nil
}

// jump notes that the offsets [from, to) of p are missing.
func (x *examination) jump(p *Partition, from, to int64) {
	if to <= from {
		return
	}
	x.jumped += uint64(to - from)
	if x.fresh {
		x.lost = append(x.lost, &LostError{Topic: p.topic.name, Partition: p.index, From: from, To: to})
	}
}

// limit finds where the segment at i ends when it is sealed.
func (x *examination) limit(i int, e *examined) error {
	if i == len(x.chain)-1 {
		if e.part.endKnown {
			e.sealed = e.part.end.Byte
		}
		return nil
	}
	var err error
	e.sealed, _, err = x.l.sealedEnd(x.chain, i)
	return err
}

// frames judges the frames of a segment and returns the index that they make.
func (x *examination) frames(i int, e *examined, seg *segment.Segment) (*index.Memory, error) {
	s, err := newSalvage(seg, e.sealed)
	if err != nil {
		return nil, err
	}
	memory := index.NewMemory()
	ix := indexer{memory: memory}
	unknown := seg.Data() == 0 // whether it is not known how many records were lost at the end
	open := -1                 // index of the finding of which the other side has not been reached
	shut := func(to uint64) {
		if open >= 0 {
			found := &x.report.Findings[open]
			found.ToPosition = max(found.ToPosition, to)
		}
		if to > x.position {
			x.skipTo(to, open >= 0 || x.fresh)
		}
		open = -1
	}
	var f segment.Frame
	for {
		damage, err := s.next(&f)
		if isEOF(err) {
			break
		}
		if err == nil {
			err = x.ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if damage != nil {
			e.damaged = true
			x.find(Finding{File: damage.File, Byte: damage.Byte, Check: damage.Check, Detail: "a frame", FromPosition: x.position, ToPosition: x.position})
			if open < 0 {
				open = len(x.report.Findings) - 1
			}
			x.gap, x.fresh = true, true
			unknown = damage.Check != "mark"
			continue
		}
		unknown = false
		shut(f.Position)
		e.end = s.end
		x.tell(x.done + f.End())
		good, err := x.frame(e, seg, &f)
		if err != nil {
			return nil, err
		}
		if !good {
			continue
		}
		if err := ix.add(&f, nil); err != nil {
			return nil, err
		}
	}
	if e.end.Byte == 0 {
		e.end = s.end
	}
	if e.sealed > 0 {
		if position := e.part.end.Position; position > 0 {
			shut(position)
		}
	}
	if e.sealed == 0 && unknown {
		x.skipTo(x.position+lostSegment, true)
	}
	if e.sealed == 0 && !x.live {
		if s.end.Torn > 0 && open < 0 && s.end.Byte >= x.l.keptReach(e.part) {
			x.note("%s ends at byte %d in %d bytes of a torn tail, which were never acknowledged as synced", seg.Name(), s.end.Byte, s.end.Torn)
		}
		if s.end.Last == segment.Sealing {
			e.damaged = true
			x.find(Finding{File: seg.Name().String(), Byte: s.end.Byte, Check: "successor", Detail: "the segment is sealed, and the one behind it is missing", FromPosition: x.position, ToPosition: x.position})
			x.skipTo(x.position+lostSegment, true)
		}
	}
	return memory, nil
}

// lostSegment is how many positions are skipped when nothing tells how many records were lost at the end
// of the log: more than any number of segments of the largest sensible size hold.
const lostSegment = 1 << 32

// checkTime checks that time does not fall, and reports whether that is so.
func (x *examination) checkTime(seg *segment.Segment, f *segment.Frame) bool {
	x.epoch = max(x.epoch, f.Epoch())
	if f.Time >= x.time {
		x.time = f.Time
		return true
	}
	x.find(Finding{File: seg.Name().String(), Byte: f.At, Check: "time", Detail: "time falls", FromPosition: f.Position, ToPosition: f.Position})
	return false
}

// frame judges an intact frame behind the catalog and folds it in. It reports whether the frame makes
// sense: one that does not counts as lost.
func (x *examination) frame(e *examined, seg *segment.Segment, f *segment.Frame) (bool, error) {
	if !x.checkTime(seg, f) {
		e.damaged = true
	}
	if f.Kind != segment.Commit {
		return true, nil
	}
	head, err := seg.Head()
	born := err == nil && head.Origin == segment.Born
	end := f.Position + f.Positions()
	bad := func(check, detail string, to uint64) {
		e.damaged = true
		x.find(Finding{File: seg.Name().String(), Byte: f.At, Check: check, Detail: detail, FromPosition: f.Position, ToPosition: to})
	}
	records := int64(0)
	for entry := range f.Entries() {
		n, err := x.decoder.check(&entry, f.Flags&segment.FlagCRC != 0)
		if err == nil && entry.Partition == 0 {
			err = newCatalog(x.l).applyBatch(entry.Batch)
		}
		p := x.fold.partitions[entry.Partition]
		switch {
		case err != nil:
			bad("batch", err.Error(), end)
		case p != nil && entry.Head.BaseOffset < p.next:
			bad("offset", fmt.Sprintf("offset %d of %s/%d, where %d is due", entry.Head.BaseOffset, p.topic.name, p.index, p.next), end)
		default:
			records += n
			continue
		}
		if e.dropped == nil {
			e.dropped = map[int64]bool{}
		}
		e.dropped[f.At] = true
		x.skipTo(end, true)
		return false, nil
	}
	x.report.Frames++
	x.report.Records += records
	due := f.Position
	for entry := range f.Entries() {
		x.report.Batches++
		if born && entry.Position != due {
			bad("position", fmt.Sprintf("a batch at position %d, where %d is due", entry.Position, due), f.Position)
		}
		due = entry.Position + entry.Records()
		if check, detail := x.batch(&entry); check != "" {
			bad(check, detail, f.Position)
		}
	}
	x.position = end
	if x.checkpoint != nil && f.Position < x.checkpoint.position {
		x.stateBody, x.stateBorn = f.Body, born
	}
	return true, nil
}

// batch folds a batch in, and says what is wrong with its place.
func (x *examination) batch(e *segment.Entry) (check, detail string) {
	base, next := e.Head.BaseOffset, e.Head.BaseOffset+int64(e.Records())
	if x.met == nil {
		x.met = map[uint32]uint64{}
	}
	x.met[e.Partition] = e.Position
	if p := x.fold.partitions[e.Partition]; p != nil {
		if base > p.next && x.gap {
			x.jump(p, p.next, base)
		} else if base != p.next {
			check, detail = "offset", fmt.Sprintf("offset %d of %s/%d, where %d is due", base, p.topic.name, p.index, p.next)
		}
		p.setNext(next)
	} else if e.Partition >= x.fold.nextNumber {
		if !x.gap {
			check, detail = "partition", fmt.Sprintf("a batch of partition number %d, which no topic has", e.Partition)
		}
		x.fold.nextNumber = e.Partition + 1 // never to be given to another one
		x.orphan(e.Partition, next)
	} else if _, ok := x.orphans[e.Partition]; ok {
		x.orphan(e.Partition, next)
	}
	if e.Partition == 0 {
		if err := x.fold.applyBatch(e.Batch); err != nil {
			check, detail = "batch", err.Error()
		}
	}
	return check, detail
}

// orphan notes a batch of a partition whose topic was created by a record that is lost.
func (x *examination) orphan(number uint32, next int64) {
	if x.orphans == nil {
		x.orphans = map[uint32]int64{}
	}
	x.orphans[number] = next
}

// checkedDecoder decodes batches in full.
type checkedDecoder struct{ record.Decoder }

// check decodes every record of e and returns how many there are.
func (d *checkedDecoder) check(e *segment.Entry, crc bool) (n int64, err error) {
	if crc {
		if err := record.VerifyCRC(e.Batch); err != nil {
			return 0, err
		}
	}
	if err := d.Reset(e.Batch, maxDecodedBytes); err != nil {
		return 0, err
	}
	var r Record
	for {
		more, err := d.Next(&r)
		if err != nil || !more {
			return n, err
		}
		n++
	}
}

// index judges the index file of a sealed segment.
func (x *examination) index(e *examined, memory *index.Memory) error {
	end, position := e.part.end.Byte, e.part.end.Position
	base := e.part.name.Index()
	file, err := index.Open(x.l.fs, x.l.fs.PathJoin(x.l.logDir, base), e.part.indexID(end, position))
	switch {
	case isNotExist(err):
		if !x.live {
			x.note("%s is missing and will be made again", base)
		}
		return nil
	case errors.Is(err, index.ErrMismatch):
		x.note("%s is of another state of its segment and will be made again", base)
		return nil
	case err != nil:
		return x.findIndex(base, err)
	}
	defer func() { _ = file.Close() }()
	if err := file.Verify(); err != nil {
		return x.findIndex(base, err)
	}
	if e.damaged {
		return nil // it knows more than the segment
	}
	return x.findIndex(base, sameIndex(file, memory))
}

// keptIndex judges the index that was kept of the active segment, if there is one, and the segment by it.
func (x *examination) keptIndex(e *examined, seg *segment.Segment, memory *index.Memory) error {
	base := e.part.name.Index()
	file, err := index.Inspect(x.l.fs, x.l.fs.PathJoin(x.l.logDir, base))
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return x.findIndex(base, err)
	}
	defer func() { _ = file.Close() }()
	if err := file.Verify(); err != nil {
		return x.findIndex(base, err)
	}
	id := file.Segment()
	if id.LogID != e.part.id || id.Name != e.part.name.String() {
		x.note("%s is of another segment and will be made again", base)
		return nil
	}
	if e.end.Byte < id.EndByte {
		// Somebody may have appended, and closed the log, since the frames were read.
		if _, err := seg.ReadFrame(nil, e.end.Byte, id.EndByte); !errors.Is(err, ErrCorrupt) {
			return err
		}
		e.damaged = true
		x.find(Finding{File: e.part.name.String(), Byte: e.end.Byte, Check: "end", Detail: fmt.Sprintf("the frames end, and the index that was kept when the log was closed tells of more, up to byte %d at least", id.EndByte), FromPosition: x.position, ToPosition: id.EndPosition})
		x.skipTo(max(x.position, id.EndPosition)+lostSegment, true)
		return nil
	}
	if e.damaged {
		return nil
	}
	return x.findIndex(base, sameIndex(file, memory))
}

// findIndex adds a finding for what is wrong with an index, and returns what is no fault of its bytes.
func (x *examination) findIndex(base string, err error) error {
	if err == nil {
		return nil
	}
	at := int64(0)
	if c := (*index.CorruptError)(nil); errors.As(err, &c) {
		at = c.Byte
	} else if !errors.Is(err, index.ErrFormat) && !errors.Is(err, errIndexDiffers) {
		return err
	}
	x.damagedIndexes = append(x.damagedIndexes, base)
	x.find(Finding{File: base, Byte: at, Check: "index", Detail: err.Error()})
	return nil
}

var errIndexDiffers = errors.New("log: the index is not what its segment makes")

// sameIndex reports whether file has the entries of memory, as far as file says to go. The entry of a stride is added by
// the first frame behind it, so the last one that begins before the end of a file may come later.
func sameIndex(file *index.File, memory *index.Memory) error {
	cursors := map[uint32]index.Cursor{}
	have := map[uint32]int{}
	differs := false
	err := file.Entries(func(partition uint32, e index.Entry) bool {
		c := cursors[partition]
		if c == nil {
			c = memory.Scan(partition, 0)
			cursors[partition] = c
		}
		want, ok, err := c.Next()
		have[partition]++
		differs = err != nil || !ok || want != e
		return !differs
	})
	if err != nil {
		return err
	}
	end, more := file.Segment().EndByte, false
	_ = memory.Entries(func(partition uint32, e index.Entry) bool {
		if e.Byte < end {
			have[partition]--
		}
		more = more || e.Byte >= end
		return true
	})
	if more && have[positionRun] == -1 {
		have[positionRun] = 0
	}
	for _, n := range have {
		differs = differs || n != 0
	}
	if differs {
		return errIndexDiffers
	}
	return nil
}
