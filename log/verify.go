package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/osfs"
	"github.com/stratalog/strata/segment"
)

// VerifyOptions configures Verify. The zero value is ready for use.
type VerifyOptions struct {
	// FS is the file system. Nil is the operating system's.
	FS vfs.FS
	// Progress is called now and then with how many bytes of how many were read. Nil is nobody.
	Progress func(done, total int64)
}

// Report is what Verify found. Without Findings the log is clean.
type Report struct {
	// Segments, Frames, Batches and Records are how many of each are intact, end marks and catalog
	// frames not counted. Bytes is how many bytes of segments were judged.
	Segments, Frames, Batches, Records, Bytes int64
	// Findings are what is damaged, in the order of the log.
	Findings []Finding
	// Notes are what is worth knowing and no damage: a torn tail that nobody was promised, an index
	// that is missing and will be made again.
	Notes []string
}

// Finding is one piece of damage.
type Finding struct {
	// File is the base name, Byte the first byte of what is damaged.
	File string
	Byte int64
	// Check names what failed, in the words of CorruptError.Check, or "index", "offset", "batch",
	// "partition", "state".
	Check string
	// Detail says it for a person.
	Detail string
	// FromPosition and ToPosition are the positions [from, to) that are lost; they are equal when
	// nothing is, or when it is not known.
	FromPosition, ToPosition uint64
}

func (f Finding) String() string {
	s := fmt.Sprintf("%s: byte %d: %s: %s", f.File, f.Byte, f.Check, f.Detail)
	if f.ToPosition > f.FromPosition {
		s += fmt.Sprintf(" (positions %d to %d are lost)", f.FromPosition, f.ToPosition-1)
	}
	return s
}

// Verify reads the whole log in dir and checks everything that is under a check: the log's id, the
// manifest, every segment head and that each names the one before it, every frame, that positions and
// offsets are dense and times do not fall, that every record decodes, that each catalog frame is the
// fold of what came before it, end marks, that each index says what its segment says, and that the
// checkpoint of the state of the views is one of this log: Open refuses one that is ahead of it. What the
// views hold is not read. Verify goes on behind damage, changes nothing, and works beside a live writer,
// of whose last bytes it judges only what is proven to be synced.
//
// The error says that the log could not be verified; what is wrong with it is in the report.
func Verify(ctx context.Context, dir string, o VerifyOptions) (*Report, error) {
	x, err := newExamination(ctx, dir, o.FS)
	if err != nil {
		return nil, err
	}
	defer func() { _ = x.l.files.closeAll() }()
	x.progress = o.Progress
	if x.live, err = writerHas(x.l.fs, x.l.dir); err != nil {
		return nil, err
	}
	if err := x.run(); err != nil {
		return nil, err
	}
	return x.report, nil
}

// newExamination returns an examination of the log in dir, which has nothing open yet.
func newExamination(ctx context.Context, dir string, fs vfs.FS) (*examination, error) {
	if fs == nil {
		fs = osfs.Default
	}
	o, err := Options{FS: fs, ReadOnly: true, Logger: slog.New(slog.DiscardHandler)}.withDefaults()
	if err != nil {
		return nil, err
	}
	if dir, err = canonical(fs, dir); err != nil {
		return nil, err
	}
	x := &examination{ctx: ctx, l: newLog(dir, o), report: &Report{}}
	x.fold = newCatalog(x.l)
	x.fold.seed()
	return x, nil
}

// examination reads a log from its first segment to its last and judges it. It belongs to one
// goroutine.
type examination struct {
	ctx      context.Context
	l        *Log // never opened: it lends its directory and files
	live     bool // somebody may be writing
	report   *Report
	progress func(done, total int64)
	total    int64
	done     int64

	id       segment.LogID
	idState  string // "", "missing" or "checksum"
	manifest string // what is wrong with the manifest, or ""
	numbers  uint64 // the highest number of a manifest that is mentioned
	chain    parts
	segments []*examined
	// damagedIndexes are base names.
	damagedIndexes []string
	// strays are files that have the names of segments, and are none.
	strays []segment.Name

	// checkpoint is that of the state, or nil; stateBody the body of the last commit that begins before it,
	// and stateBorn that its segment was never made anew. badState is the path of what has to go for the log
	// to be usable, or "".
	checkpoint *checkpoint
	stateBody  uint64
	stateBorn  bool
	badState   string

	// fold is the catalog as of the last frame, position and time are behind it.
	fold     *catalog
	position uint64
	time     int64
	epoch    int32
	// gap says that positions are missing since offsets were last known for sure, so that offsets may
	// jump; unsure are those positions, jumped how many of them are accounted for by jumps of offsets,
	// and met, by partition number, the positions of the last batches since then.
	gap    bool
	unsure []lostRange
	jumped uint64
	met    map[uint32]uint64
	// orphans are, by partition number, the offsets behind batches whose topic is not known.
	orphans map[uint32]int64
	// lost are the jumps over damage that no repair has given up before.
	lost []*LostError
	// fresh says that the gap is damage, and not one that the manifest or a repaired segment vouches for.
	fresh   bool
	decoder checkedDecoder
}

// lostRange is positions [from, to).
type lostRange struct{ from, to uint64 }

// examined is what is known of one segment.
type examined struct {
	part    *part
	missing bool // there is nothing of it
	stray   bool // because the file never was part of the log
	damaged bool // something in it did not check
	// Position, time, epoch and tables are those of its catalog frame, as it should be.
	position uint64
	time     int64
	epoch    int32
	tables   []byte
	sealed   int64
	end      segment.End // of its intact frames
	// dropped are the byte positions of intact frames that make no sense.
	dropped map[int64]bool
}

func (x *examination) find(f Finding) *Finding {
	x.report.Findings = append(x.report.Findings, f)
	return &x.report.Findings[len(x.report.Findings)-1]
}

func (x *examination) note(format string, args ...any) {
	x.report.Notes = append(x.report.Notes, fmt.Sprintf(format, args...))
}

// findError adds a finding for a *CorruptError, and returns any other error.
func (x *examination) findError(err error, detail string) error {
	var c *CorruptError
	if !errors.As(err, &c) {
		return err
	}
	x.find(Finding{File: c.File, Byte: c.Byte, Check: c.Check, Detail: detail, FromPosition: c.Position, ToPosition: c.Position})
	return nil
}

// run examines everything.
func (x *examination) run() error {
	if err := x.findSegments(); err != nil {
		return err
	}
	if err := x.readState(); err != nil {
		return err
	}
	for i := range x.chain {
		if err := x.segment(i); err != nil {
			return err
		}
	}
	x.judgeState()
	x.tell(x.total)
	return nil
}

func (x *examination) tell(done int64) {
	if x.progress != nil {
		x.progress(min(done, x.total), x.total)
	}
}

// findSegments finds the segments of the log, and judges id and manifest.
func (x *examination) findSegments() error {
	l := x.l
	id, found, ok, err := readID(l.fs, l.dir)
	if err != nil {
		return err
	}
	listing, err := segment.List(l.fs, l.logDir)
	if isNotExist(err) {
		return fmt.Errorf("%w: %s", ErrNoLog, l.dir)
	}
	if err != nil {
		return err
	}
	l.manifest, err = segment.ReadManifest(l.fs, l.logDir)
	switch {
	case errors.Is(err, ErrCorrupt):
		x.manifest = "checksum"
		if err := x.findError(err, "the manifest does not check"); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	heads, err := readHeads(l, listing.Segments)
	if err != nil {
		return err
	}
	if x.manifest == "" && manifestLost(l.manifest, heads) {
		x.manifest = "missing"
		x.find(Finding{File: segment.ManifestName, Check: "missing", Detail: "segments speak of a manifest that is not there"})
	}
	x.numbers = l.manifestNumber()
	for _, h := range heads {
		x.numbers = max(x.numbers, h.Manifest)
	}
	var strangers []segment.Name
	if x.manifest != "" {
		l.manifest = nil
		x.chain, strangers = chainByHeads(l, id, listing.Segments, heads)
	} else if x.chain, strangers, err = chainOf(l, id, listing.Segments); err != nil {
		return err
	}
	if x.manifest == "" {
		x.dropStrays(heads)
	}
	l.strangers = strangers
	for _, s := range strangers {
		x.note("%s is not part of the log", s)
	}
	if len(x.chain) == 0 {
		if !found {
			return fmt.Errorf("%w: %s", ErrNoLog, l.dir)
		}
		x.find(Finding{File: idName, Check: "missing", Detail: "there is an id, but no segment"})
		return nil
	}
	l.parts.Store(&x.chain)
	return x.identify(id, found, ok)
}

// dropStrays takes files out of the chain that were never part of it: their head does not check, and
// the segment behind them follows the one before them.
func (x *examination) dropStrays(heads map[segment.Name]segment.Head) {
	for i := 1; i+1 < len(x.chain); i++ {
		name := x.chain[i].name
		if _, ok := heads[name]; ok {
			continue
		}
		link := heads[x.chain[i+1].name].Predecessor
		if link == nil || link.Name != x.chain[i-1].name {
			continue
		}
		x.find(Finding{File: name.String(), Check: "magic", Detail: "the file has the name of a segment, and is none"})
		x.strays = append(x.strays, name)
		x.chain = slices.Delete(x.chain, i, i+1)
		i--
	}
}

// identify settles the id of the log.
func (x *examination) identify(id segment.LogID, found, ok bool) error {
	l := x.l
	if !ok {
		var err error
		switch id, err = idOfHeads(l, x.chain); {
		case errors.Is(err, ErrCorrupt):
			if l.manifest == nil {
				x.find(Finding{File: idName, Check: "identity", Detail: "neither the id nor a segment head can be read"})
			} else {
				id = l.manifest.LogID
			}
		case err != nil:
			return err
		}
		x.idState = "missing"
		if found {
			x.idState = "checksum"
			x.find(Finding{File: idName, Check: "checksum", Detail: "the log's id does not check; the segments give it back"})
		} else {
			x.note("%s is missing; the segments give it back", idName)
		}
	}
	x.id, l.id = id, id
	for _, p := range x.chain {
		if p.id == (segment.LogID{}) {
			p.id = id
		}
		if info, err := l.fs.Stat(l.fs.PathJoin(l.logDir, p.name.String())); err == nil {
			x.total += info.Size()
		}
	}
	if l.manifest != nil && l.manifest.LogID != id {
		x.manifest = "identity"
		x.find(Finding{File: segment.ManifestName, Check: "identity", Detail: "the manifest is of another log"})
	}
	return nil
}

// readHeads reads the intact heads of the segments called names.
func readHeads(l *Log, names []segment.Name) (map[segment.Name]segment.Head, error) {
	heads := map[segment.Name]segment.Head{}
	for _, n := range names {
		h, err := segment.PeekHead(l.fs, l.logDir, n)
		switch {
		case err == nil:
			heads[n] = h
		case errors.Is(err, ErrCorrupt), isNotExist(err):
		default:
			return nil, err
		}
	}
	return heads, nil
}

// manifestLost reports whether there was a newer manifest than m: a segment was born under one, or a
// segment that a repair made stands in the place of one that was moved away, which is done only when the
// manifest is there.
func manifestLost(m *segment.Manifest, heads map[segment.Name]segment.Head) bool {
	number := uint64(0)
	if m != nil {
		number = m.Number
	}
	born := map[uint64]bool{}
	for n, h := range heads {
		if h.Origin != segment.Born {
			continue
		}
		born[n.Position] = true
		if h.Manifest > number {
			return true
		}
	}
	if m != nil {
		return false
	}
	for n, h := range heads {
		if h.Origin != segment.Born && n.Position == 0 && !born[0] {
			return true
		}
	}
	return false
}

// chainByHeads is chainOf for a log whose manifest was lost: of the segments of one position, those
// below the last one that was made by a repair are not part of it.
func chainByHeads(l *Log, id segment.LogID, names []segment.Name, heads map[segment.Name]segment.Head) (chain parts, strangers []segment.Name) {
	for i, n := range names {
		replaced := false
		for _, o := range names[i+1:] {
			// One that names n, or one behind n, as its predecessor stands beside n.
			h := heads[o]
			beside := h.Predecessor != nil && h.Predecessor.Name.Compare(n) >= 0
			if o.Position == n.Position && h.Origin != segment.Born && !beside {
				replaced = true
			}
		}
		if replaced {
			strangers = append(strangers, n)
			continue
		}
		p := &part{l: l, id: id, name: n}
		if h, ok := heads[n]; ok {
			p.id = h.LogID
		}
		chain = append(chain, p)
	}
	return chain, strangers
}

// linkError returns what is wrong when the segment at i of ps, which has the head h, does not follow the
// one before it: a segment is missing between the two. The manifest vouches for those that it names.
func linkError(ps parts, i int, h segment.Head) error {
	if m := ps[i].l.manifest; m != nil && i < len(m.Segments) {
		return nil
	}
	switch {
	case i == 0 && h.Predecessor == nil, i > 0 && h.Predecessor != nil && h.Predecessor.Name == ps[i-1].name:
		return nil
	case i > 0 && h.Predecessor != nil && replaces(ps[i-1], h.Predecessor.Name):
		return nil
	case h.Predecessor == nil:
		return &CorruptError{File: ps[i].name.String(), Position: ps[i].name.Position, Check: "predecessor"}
	}
	return &CorruptError{File: h.Predecessor.Name.String(), Position: h.Predecessor.Name.Position, Check: "missing"}
}

// replaces reports whether a repair made p in place of the segment called name.
func replaces(p *part, name segment.Name) bool {
	if p.name.Position != name.Position || p.name.Generation <= name.Generation {
		return false
	}
	seg, err := p.open()
	if err != nil {
		return false
	}
	h, err := seg.Head()
	return err == nil && h.Origin != segment.Born
}
