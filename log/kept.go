package log

import (
	"errors"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/segment"
)

// A log that is closed keeps the index of its active segment in a file, as far as the segment goes by then. The
// next opening takes topics, offsets and index from it, and reads no more than the end of the segment: its last
// frames, which must be those that the index tells of, and what came behind them. So opening costs the same however
// full the segment is; as in the segments before it, damage further ahead is found when it is read. Where anything
// is not as it should be, all of the segment is read. The segment outgrows the file, which is of use again
// after a kill, and which the whole index replaces when the segment is sealed.
//
// The file is written after everything that it tells of was synced. So it is also a witness: a segment that ends
// before its kept index does was cut short, zeroed or put back in an older version. Who wants the older version removes the
// index. It says no more than where the segment went at least.

// keptLeast is how many bytes a segment must have grown by, at most, for its index to be kept again: to read them costs
// less than to write the file.
const keptLeast = 1 << 20

// keepIndex keeps the index of the active segment, all of which is synced. The caller has the pen for good.
func (l *Log) keepIndex() {
	l.mu.Lock()
	t, position := l.tail, l.position
	l.mu.Unlock()
	if t.byte-max(t.indexed, t.seg.Data()) < min(keptLeast, l.o.SegmentBytes/64) {
		return
	}
	p := t.part
	if err := index.Write(l.fs, l.fs.PathJoin(l.logDir, p.name.Index()), p.indexID(t.byte, position), p.memory.Load()); err != nil {
		l.o.Logger.Warn("index not kept", "segment", p.name.String(), "error", err.Error())
	}
}

// recovered is what an opening knows of the last segment.
type recovered struct {
	end     segment.End
	index   indexer
	indexed int64 // byte up to which the file of its index goes, or 0
}

// recoverKept recovers the last segment with the index that was kept of it. It reports false when there is none that
// is of use; the catalog must then be made anew. reach is the byte up to which a kept index says that there are frames, or 0.
func (l *Log) recoverKept(p *part, seg *segment.Segment) (r recovered, reach int64, ok bool) {
	memory, id := l.readKept(p, seg)
	if memory == nil {
		return r, 0, false
	}
	end, err := seg.Start()
	if err != nil || l.decodeCatalog(seg) != nil {
		return r, id.EndByte, false
	}
	k := keptTail{id: id, ix: indexer{memory: memory}}
	// The frames before the last stride are those that are not read.
	if k.stride, k.strided, _ = memory.Last(positionRun); k.strided {
		end.Byte, end.Position = k.stride.Byte, uint64(k.stride.Offset)
	}
	if err := l.foldKept(memory, seg, end.Byte); err != nil {
		l.notOfUse(p, err)
		return r, id.EndByte, false
	}
	end, err = seg.RecoverFrom(end, func(f *segment.Frame) error {
		if f.At >= id.EndByte {
			return l.fold(&k.ix, f)
		}
		return k.meet(l, f)
	})
	if err == nil && !k.met {
		err = errNotKept
	}
	if err != nil {
		l.notOfUse(p, err)
		return r, id.EndByte, false
	}
	end.Durable = max(end.Durable, id.EndByte)
	return recovered{end, k.ix, id.EndByte}, id.EndByte, true
}

// openKept opens the index that was kept of p, or returns nil. One that cannot be read is none, which is said.
func (l *Log) openKept(p *part) *index.File {
	f, err := index.Inspect(l.fs, l.fs.PathJoin(l.logDir, p.name.Index()))
	if err != nil {
		if !isNotExist(err) {
			l.notOfUse(p, err)
		}
		return nil
	}
	if id := f.Segment(); id.LogID != p.id || id.Name != p.name.String() {
		_ = f.Close()
		return nil
	}
	return f
}

// notOfUse says why the index that was kept of p is not used.
func (l *Log) notOfUse(p *part, err error) {
	l.o.Logger.Warn("index that was kept is of no use", "segment", p.name.String(), "error", err.Error())
}

// keptReach returns the byte up to which a kept index says that p has frames, or 0.
func (l *Log) keptReach(p *part) int64 {
	f := l.openKept(p)
	if f == nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	return f.Segment().EndByte
}

// readKept reads the index that was kept of p, which is seg, or nothing when there is none that can be read.
func (l *Log) readKept(p *part, seg *segment.Segment) (*index.Memory, index.SegmentID) {
	f := l.openKept(p)
	if f == nil {
		return nil, index.SegmentID{}
	}
	defer func() { _ = f.Close() }()
	id := f.Segment()
	if id.EndByte < seg.Data() {
		return nil, id
	}
	memory := index.NewMemory()
	var disorder error
	err := f.Entries(func(partition uint32, e index.Entry) bool {
		disorder = memory.Add(partition, e)
		return disorder == nil
	})
	if err := errors.Join(err, disorder); err != nil {
		l.notOfUse(p, err)
		return nil, id
	}
	return memory, id
}

// foldKept folds what memory tells of the frames before byte position from into the catalog: it reads those that
// change topics, and takes the ends of the partitions from their last entries.
func (l *Log) foldKept(memory *index.Memory, seg *segment.Segment, from int64) error {
	var sc segment.Scanner
	sc.Reset(seg, seg.Data(), from)
	at := int64(-1)
	for c := memory.Scan(0, 0); ; {
		e, ok, _ := c.Next()
		if !ok || e.Byte >= from {
			break
		}
		if e.Byte == at {
			continue // another batch of the same frame
		}
		at = e.Byte
		sc.MoveTo(at)
		var f segment.Frame
		if err := sc.Next(&f); err != nil {
			return err
		}
		var b segment.Entry
		for r := segment.NewEntryReader(&f); r.Next(&b); {
			if err := l.foldEntry(&b); err != nil {
				return err
			}
		}
	}
	partitions, _ := memory.Partitions()
	for _, number := range partitions {
		if p := l.catalog.partitions[number]; p != nil {
			last, _, _ := memory.Last(number)
			p.setNext(last.End())
		}
	}
	return nil
}

// keptTail compares the last frames before the end of a kept index with it.
type keptTail struct {
	id      index.SegmentID
	stride  index.Entry
	strided bool // there is a stride, the last of the index, and the frames that are read begin with it
	ix      indexer
	met     bool // a frame ends where the index does, and all before it are in it
}

var errNotKept = errors.New("log: the segment is not the one whose index was kept")

// meet takes in a frame that begins before the end of the index.
func (k *keptTail) meet(l *Log, f *segment.Frame) error {
	behind := f.Position
	if f.Kind == segment.Commit {
		behind += f.Positions()
	}
	if f.End() == k.id.EndByte {
		if behind != k.id.EndPosition {
			return errNotKept
		}
		k.met = true
	}
	if f.Kind != segment.Commit {
		return nil
	}
	if k.ix.strideByte == 0 && (!k.strided || f.Position >= uint64(k.stride.End())) {
		if k.strided && (f.Position != uint64(k.stride.End()) || f.Time/1000 != k.stride.MaxTimestamp) {
			return errNotKept
		}
		k.ix.strideByte, k.ix.stridePosition = f.At, f.Position
	}
	e := &k.ix.entry
	for r := segment.NewEntryReader(f); r.Next(e); {
		have, ok, _ := k.ix.memory.Find(e.Partition, e.Head.BaseOffset)
		if !ok || have.Byte != f.At || have.Offset != e.Head.BaseOffset || have.Count != int32(e.Records()) || have.Bytes != int32(len(e.Batch)) {
			return errNotKept
		}
		if err := l.foldEntry(e); err != nil {
			return err
		}
	}
	return nil
}
