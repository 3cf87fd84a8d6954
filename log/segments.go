package log

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/segment"
)

// positionRun is the partition number under which an index keeps positions: an entry for about every
// positionStride bytes of frames, with the first position in place of an offset.
const (
	positionRun    = 1<<32 - 1
	positionStride = 64 << 10
)

// part is one segment of the log.
type part struct {
	l    *Log
	id   segment.LogID // of the log that wrote it; immutable, like the name
	name segment.Name

	// memory is the index of a segment that this process writes or wrote. It stays when the segment is
	// sealed, until its file is there.
	memory atomic.Pointer[index.Memory]
	// tables are those of the catalog frame, when they are small and were read once. They never change.
	tables atomic.Pointer[[]byte]
	// remembered is what is known of frames that were checked for point reads.
	remembered remembered

	mu      sync.Mutex
	seg     *segment.Segment // opened when first used; guarded by mu
	idx     *index.File      // guarded by mu
	idxGone bool             // there is no usable index file; guarded by mu
	// idxNewer says that there is one, of a format that this build does not know. Guarded by mu.
	idxNewer bool
	// end of a sealed segment, once it is known. Guarded by mu.
	end      segment.End
	endKnown bool
	// doubt is what is wrong with the segment behind this one, as far as it says where this one ends.
	// Guarded by mu.
	doubt error
	// damage is the first damage that was met while its index was made again. Guarded by mu.
	damage error
}

// parts is the segments of the log in order. It is replaced, never modified.
type parts []*part

// at returns the index of the segment that holds position, which must not be before the first.
func (ps parts) at(position uint64) int {
	return max(0, sort.Search(len(ps), func(i int) bool { return ps[i].name.Position > position })-1)
}

// open returns the segment, opening it when it is not.
func (p *part) open() (*segment.Segment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.openLocked()
}

func (p *part) openLocked() (*segment.Segment, error) {
	if p.seg == nil {
		seg, err := segment.Open(p.l.files, p.l.logDir, p.id, p.name, false)
		if err != nil {
			return nil, p.missing(err)
		}
		p.seg = seg
	}
	return p.seg, nil
}

// missing turns "no such file" into damage: the log knows that the segment must be there.
func (p *part) missing(err error) error {
	if isNotExist(err) {
		return &CorruptError{File: p.name.String(), Position: p.name.Position, Check: "missing"}
	}
	return err
}

// sealedEnd returns where the frames of the sealed segment at i end, as its successor says. When that
// is damaged or missing, the frames themselves tell, and doubted does.
func (l *Log) sealedEnd(ps parts, i int) (byteEnd int64, position uint64, err error) {
	p := ps[i]
	p.mu.Lock()
	known, end := p.endKnown, p.end
	p.mu.Unlock()
	if known {
		return end.Byte, end.Position, nil
	}
	link, err := ps[i+1].predecessor()
	if err == nil && (link == nil || link.Name != p.name) {
		err = &CorruptError{File: ps[i+1].name.String(), Position: ps[i+1].name.Position, Check: "predecessor"}
	}
	if err == nil {
		p.setEnd(segment.End{Byte: link.EndByte, Position: link.EndPosition})
		return link.EndByte, link.EndPosition, nil
	}
	if !errors.Is(err, ErrCorrupt) {
		return 0, 0, err
	}
	seg, openErr := p.open()
	if openErr != nil {
		return 0, 0, openErr
	}
	if end, err = p.ownEnd(seg, err); err != nil {
		return 0, 0, err
	}
	return end.Byte, end.Position, nil
}

// predecessor returns what the head of the segment says of the one before it.
func (p *part) predecessor() (*segment.Link, error) {
	seg, err := p.open()
	if err != nil {
		return nil, err
	}
	head, err := seg.Head()
	return head.Predecessor, err
}

// ownEnd finds the end of a sealed segment by its own frames.
func (p *part) ownEnd(seg *segment.Segment, doubt error) (segment.End, error) {
	size, err := seg.Size()
	if err != nil {
		return segment.End{}, err
	}
	end := segment.End{Byte: segment.HeadBytes, Position: p.name.Position}
	start, err := dataStart(seg, size)
	if err != nil {
		return end, err
	}
	sc := seg.Scan(start, size)
	var f segment.Frame
	for {
		err := sc.Next(&f)
		if errors.Is(err, ErrCorrupt) {
			if err = sc.Resync(); err == nil {
				continue
			}
		}
		if isEOF(err) {
			break
		}
		if err != nil {
			return end, err
		}
		end.Follow(&f)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end, p.endKnown, p.doubt = end, true, doubt
	return end, nil
}

// doubted returns why it is not sure that the segment behind this one is the next, or nil.
func (p *part) doubted() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doubt
}

// damaged returns the first damage that was met while the index was made again, or nil.
func (p *part) damaged() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.damage
}

func (p *part) setEnd(e segment.End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end, p.endKnown = e, true
}

// index returns what finds batches in the segment at i: memory, file, or, when neither is there, an
// index made by reading the segment, which is then kept, and written to a file behind the back of who
// asked.
func (l *Log) index(ps parts, i int) (index.Reader, error) {
	p := ps[i]
	if m := p.memory.Load(); m != nil {
		return m, nil
	}
	if i == len(ps)-1 {
		// The segment was sealed, and its index written, after the caller looked at the list.
		if ps = *l.parts.Load(); i == len(ps)-1 {
			return nil, fmt.Errorf("log: active segment %s has no index", p.name)
		}
	}
	end, position, err := l.sealedEnd(ps, i)
	if err != nil {
		return nil, err
	}
	r, made, err := p.openIndex(end, position)
	if made {
		l.saveIndex(p, end, position)
	}
	return r, err
}

// openIndex returns the index of a sealed segment that is in a file, or makes it again. made says that
// it was made again and is all that there is to know of the segment.
func (p *part) openIndex(end int64, position uint64) (r index.Reader, made bool, err error) {
	l := p.l
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.memory.Load(); m != nil {
		return m, false, nil // of another caller, who came first
	}
	if p.idx != nil {
		return p.idx, false, nil
	}
	if !p.idxGone {
		idx, err := index.Open(l.files, l.fs.PathJoin(l.logDir, p.name.Index()), p.indexID(end, position))
		if err == nil {
			p.idx = idx
			return idx, false, nil
		}
		if !isNotExist(err) && !errors.Is(err, index.ErrCorrupt) && !errors.Is(err, index.ErrMismatch) && !errors.Is(err, index.ErrFormat) {
			return nil, false, err
		}
		p.idxGone, p.idxNewer = true, errors.Is(err, index.ErrFormat)
	}
	m, err := p.rebuildLocked(end)
	if err != nil {
		return nil, false, err
	}
	p.memory.Store(m)
	l.o.Logger.Warn("index was missing or damaged and was made again", "segment", p.name.String())
	if l.o.Events.IndexRebuilt != nil {
		l.o.Events.IndexRebuilt(SegmentInfo{File: p.name.String(), Position: p.name.Position, Bytes: end})
	}
	// In a file, an index that leaves something out would hide from later readers that it is missing.
	return m, p.damage == nil && p.doubt == nil && !p.idxNewer, nil
}

// saveIndex writes an index that was made again, so that the next process finds it.
func (l *Log) saveIndex(p *part, end int64, position uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.usableLocked() == nil {
		l.sealer.Go(func() { l.writeIndex(p, end, position) })
	}
}

// forgetIndex gives up an index file that turned out to be damaged, so that the next to ask gets an
// index that was made by reading.
func (p *part) forgetIndex() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idx, p.idxGone = nil, true
}

func (p *part) indexID(end int64, position uint64) index.SegmentID {
	return index.SegmentID{Name: p.name.String(), EndByte: end, EndPosition: position, LogID: p.id}
}

// rebuildLocked makes the index of a sealed segment by reading it. Damaged frames are left out.
func (p *part) rebuildLocked(end int64) (*index.Memory, error) {
	seg, err := p.openLocked()
	if err != nil {
		return nil, err
	}
	start, err := dataStart(seg, end)
	if err != nil {
		return nil, err
	}
	m := index.NewMemory()
	ix := indexer{memory: m}
	if seg.Data() == 0 {
		_, p.damage = seg.Catalog()
	}
	sc := seg.Scan(start, end)
	var f segment.Frame
	for {
		err := sc.Next(&f)
		if errors.Is(err, ErrCorrupt) {
			if p.damage == nil {
				p.damage = err
			}
			err = sc.Resync()
			if err == nil {
				continue
			}
		}
		if isEOF(err) {
			return m, nil
		}
		if err != nil {
			return nil, err
		}
		if err := ix.add(&f, nil); err != nil {
			return nil, err
		}
	}
}

// dataStart returns where the frames behind the catalog begin, also when that is damaged.
func dataStart(seg *segment.Segment, end int64) (int64, error) {
	if start := seg.Data(); start > 0 {
		return start, nil
	}
	sc := seg.Scan(segment.HeadBytes, end)
	if err := sc.Resync(); err != nil && !isEOF(err) {
		return 0, err
	}
	return sc.At(), nil
}

// indexer adds frames to the index of a segment.
type indexer struct {
	memory *index.Memory
	// The stride that is not in the index yet begins with the frame at strideByte.
	strideByte     int64
	stridePosition uint64
	entry          segment.Entry // of add, here so that it is not allocated each time
}

// add adds the batches of f, in order of their frames, and calls each, where that is given, with each
// batch.
func (ix *indexer) add(f *segment.Frame, each func(*segment.Entry)) error {
	if f.Kind != segment.Commit {
		return nil
	}
	if ix.strideByte == 0 {
		ix.strideByte, ix.stridePosition = f.At, f.Position
	}
	if f.At >= ix.strideByte+positionStride {
		if err := ix.memory.Add(positionRun, index.Entry{
			Offset: int64(ix.stridePosition), Byte: ix.strideByte, MaxTimestamp: f.Time / 1000,
			Count: int32(f.Position - ix.stridePosition),
		}); err != nil {
			return err
		}
		ix.strideByte, ix.stridePosition = f.At, f.Position
	}
	e := &ix.entry
	for r := segment.NewEntryReader(f); r.Next(e); {
		if err := ix.memory.Add(e.Partition, index.Entry{
			Offset: e.Head.BaseOffset, Byte: f.At, MaxTimestamp: e.Head.MaxTimestamp,
			Count: int32(e.Records()), Bytes: int32(len(e.Batch)),
		}); err != nil {
			return err
		}
		if each != nil {
			each(e)
		}
	}
	return nil
}
