package log

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/segment"
)

// RepairOptions configures Repair. The zero value is ready for use.
type RepairOptions struct {
	// FS is the file system. Nil is the operating system's.
	FS vfs.FS
	// DryRun reports what would be done, and does nothing.
	DryRun bool
}

// RepairReport is what Repair found and did, or in a dry run would do.
type RepairReport struct {
	// Findings are those of Verify.
	Findings []Finding
	// Lost are the offsets that are given up. Readers meet each of them once, as this error, and pass.
	Lost []*LostError
	// Written are the base names of the files that were made.
	Written []string
	// MovedAside are the paths, relative to the log's directory, of what was moved to DIR/damaged.
	MovedAside []string
	// Changed says that something was done.
	Changed bool
}

const (
	damagedDir = "damaged"
	stateDir   = "state"
)

// Repair gives up what is damaged in the log in dir, so that the rest can be used again: every intact
// frame, before and behind the damage, stays at its positions and offsets, and what is lost becomes a
// gap, which readers are told of once. No offset or position is given again: where it cannot be known
// of which partitions records were lost, each of them skips as many offsets as positions were lost.
//
// Segments with damage are copied without it to new files, a new manifest names the segments that make
// up the log, and then the old files are moved to DIR/damaged; nothing is deleted. Derived state is
// moved there too, and made again from the log. Partitions whose topic was created by a record that is lost become topics of
// their own, called recovered.NUMBER. After a crash in the middle, Repair can be called again.
//
// Repair needs the directory to itself, and otherwise returns ErrLocked. On a log without damage it
// does nothing.
func Repair(ctx context.Context, dir string, o RepairOptions) (*RepairReport, error) {
	x, err := newExamination(ctx, dir, o.FS)
	if err != nil {
		return nil, err
	}
	defer func() { _ = x.l.files.closeAll() }()
	if _, err := x.l.fs.Stat(x.l.logDir); isNotExist(err) {
		return nil, fmt.Errorf("%w: %s", ErrNoLog, x.l.dir)
	}
	lock, err := lockDirectory(x.l.fs, x.l.dir)
	if err != nil {
		return nil, err
	}
	r := &repair{x: x, dry: o.DryRun, report: &RepairReport{}}
	err = r.run()
	return r.report, errors.Join(err, lock.release())
}

// repair is one run of Repair. It belongs to one goroutine.
type repair struct {
	x      *examination
	dry    bool
	report *RepairReport

	manifest segment.Manifest
	// aside are paths relative to the log's directory, in the order in which they are moved.
	aside []string
}

func (r *repair) run() error {
	x := r.x
	if err := x.run(); err != nil {
		return err
	}
	r.report.Findings = x.report.Findings
	for _, s := range append(x.l.strangers, x.strays...) {
		r.aside = append(r.aside, r.inLog(s.String()))
		if idx := r.inLog(s.Index()); r.exists(idx) {
			r.aside = append(r.aside, idx)
		}
	}
	if len(r.report.Findings) == 0 && len(r.aside) == 0 {
		return nil
	}
	if len(x.chain) == 0 || x.id == (segment.LogID{}) {
		return &CorruptError{File: idName, Check: "missing"} // there is nothing to go by
	}
	r.report.Changed = !r.dry
	if r.onlyIndexes() {
		return r.finish()
	}
	if err := r.rewrite(); err != nil {
		return err
	}
	if err := r.nameAll(); err != nil {
		return err
	}
	return r.finish()
}

// onlyIndexes reports whether no segment and no manifest has to be made anew, and has the damaged
// indexes moved aside, which are made again when they are missed.
func (r *repair) onlyIndexes() bool {
	x := r.x
	for _, base := range x.damagedIndexes {
		r.aside = append(r.aside, r.inLog(base))
	}
	if x.idState == "checksum" {
		r.aside = append(r.aside, idName)
	}
	others := len(x.report.Findings) - len(x.damagedIndexes) - len(x.strays)
	if x.idState == "checksum" {
		others--
	}
	if x.badState != "" {
		r.aside = append(r.aside, x.badState)
		others--
	}
	return others == 0
}

func (r *repair) inLog(base string) string { return r.x.l.fs.PathJoin("log", base) }

// rewrite copies the intact frames of damaged segments to new ones, and lists all segments in the
// manifest.
func (r *repair) rewrite() error {
	x := r.x
	r.manifest = segment.Manifest{LogID: x.id, Number: x.numbers + 1}
	for i, e := range x.segments {
		ref := segment.Ref{LogID: e.part.id, Name: e.part.name, EndPosition: r.start(i + 1), EndByte: e.end.Byte}
		if e.sealed > 0 {
			ref.EndByte = e.sealed
		}
		switch {
		case e.stray:
			r.aside = append(r.aside, r.inLog(e.part.name.String()))
			continue
		case e.missing:
			continue
		case e.damaged:
			r.aside = append(r.aside, r.inLog(e.part.name.String()))
			if idx := r.inLog(e.part.name.Index()); r.exists(idx) && !slices.Contains(r.aside, idx) {
				r.aside = append(r.aside, idx)
			}
			if e.end.Byte == 0 || e.end.Commits == 0 {
				continue // nothing in it is left
			}
			copied, err := r.copy(e)
			if err != nil {
				return err
			}
			ref.LogID, ref.Name, ref.EndByte = x.id, copied.name, copied.end
		default:
			if err := r.secure(e); err != nil {
				return err
			}
		}
		if n := len(r.manifest.Segments); n > 0 && ref.Name.Position < r.manifest.Segments[n-1].EndPosition {
			return fmt.Errorf("log: repair: %w", x.chainError(ref.Name))
		}
		r.manifest.Segments = append(r.manifest.Segments, ref)
	}
	return nil
}

// chainError says that the segment called name does not fit behind those before it.
func (x *examination) chainError(name segment.Name) error {
	return &CorruptError{File: name.String(), Position: name.Position, Check: "position"}
}

// start returns the position at which the segment at i begins, or the log ends.
func (r *repair) start(i int) uint64 {
	for ; i < len(r.x.segments); i++ {
		if e := r.x.segments[i]; !e.missing {
			return e.part.name.Position
		}
	}
	return r.x.position
}

func (r *repair) exists(path string) bool {
	_, err := r.x.l.fs.Stat(r.x.l.fs.PathJoin(r.x.l.dir, path))
	return err == nil
}

// secure makes the frames of a segment that stays as it is durable: the last one may hold some that
// were never synced, and the manifest is going to vouch for them.
func (r *repair) secure(e *examined) error {
	if r.dry || e.sealed > 0 {
		return nil
	}
	l := r.x.l
	seg, err := segment.Open(l.fs, l.logDir, e.part.id, e.part.name, true)
	if err != nil {
		return err
	}
	_, err = seg.Rewrite(e.end.Durable, e.end.Byte)
	if err == nil {
		err = seg.Sync()
	}
	return errors.Join(err, seg.Close())
}

// nameAll closes the log with an empty segment that carries the topics and the next offsets, and writes
// the manifest, which is the moment from which the repair counts.
func (r *repair) nameAll() error {
	x := r.x
	r.skip()
	if err := r.adopt(); err != nil {
		return err
	}
	tables, err := x.fold.encode()
	if err != nil {
		return err
	}
	name := r.newName(x.position)
	r.report.Written = append(r.report.Written, r.inLog(name.String()), r.inLog(segment.ManifestName))
	r.report.Lost = x.lost
	// Derived state goes before the manifest comes: it may rest on records that are lost.
	if r.exists(stateDir) {
		if err := r.moveAside(stateDir); err != nil {
			return err
		}
		r.aside = slices.DeleteFunc(r.aside, func(path string) bool { return path == x.badState })
	}
	if x.manifest != "" && r.exists(r.inLog(segment.ManifestName)) {
		if err := r.keepManifest(); err != nil {
			return err
		}
	}
	if r.dry {
		return nil
	}
	w, err := r.make(name, x.time, x.epoch, tables)
	if err != nil {
		return err
	}
	end := w.at
	if err := w.publish(); err != nil {
		return err
	}
	r.manifest.Segments = append(r.manifest.Segments, segment.Ref{LogID: x.id, Name: name, EndPosition: x.position, EndByte: end})
	return segment.WriteManifest(x.l.fs, x.l.logDir, &r.manifest)
}

// skip makes partitions skip offsets where it is not known whose records were lost, and takes in what
// is lost at the end.
func (r *repair) skip() {
	x := r.x
	total := uint64(0)
	for _, u := range x.unsure {
		total += u.to - u.from
	}
	if total <= x.jumped || !x.fresh {
		return // all of them are accounted for
	}
	for number, p := range x.fold.partitions {
		lost := uint64(0)
		for _, u := range x.unsure {
			if at, met := x.met[number]; !met || at < u.to {
				lost += u.to - u.from
			}
		}
		if lost = min(lost, total-x.jumped); lost > 0 {
			next := p.next + int64(lost)
			x.lost = append(x.lost, &LostError{Topic: p.topic.name, Partition: p.index, From: p.next, To: next})
			p.setNext(next)
		}
	}
	slices.SortStableFunc(x.lost, func(a, b *LostError) int {
		return slices.Compare([]string{a.Topic, fmt.Sprintf("%010d", a.Partition)}, []string{b.Topic, fmt.Sprintf("%010d", b.Partition)})
	})
}

// adopt gives topics to the partitions whose own was created by a record that is lost, so that their
// records can be read. Each becomes a topic of its own, named by the number of the partition in the log.
func (r *repair) adopt() error {
	x := r.x
	for number, next := range x.orphans {
		name := fmt.Sprintf("recovered.%d", number)
		for x.fold.topics[name] != nil {
			name += "-again"
		}
		id, err := newUUID(x.l.o.Rand)
		if err != nil {
			return err
		}
		x.fold.apply(change{Op: "create", Name: name, ID: id, Extents: []numbers{{First: number, Count: 1}}})
		x.fold.partitions[number].setNext(next)
	}
	return nil
}

// finish moves aside what is not part of the log any more, and puts the id in its place.
func (r *repair) finish() error {
	l := r.x.l
	if err := l.files.closeAll(); err != nil { // not every system moves open files
		return err
	}
	for _, path := range r.aside {
		if err := r.moveAside(path); err != nil {
			return err
		}
	}
	if r.x.idState == "" {
		return nil
	}
	r.report.Written = append(r.report.Written, idName)
	if r.dry {
		return nil
	}
	return segment.WriteFile(l.fs, l.dir, idName, encodeID(r.x.id))
}

// moveAside moves a file or directory to DIR/damaged, under a name that is free there.
func (r *repair) moveAside(path string) error {
	l := r.x.l
	r.report.MovedAside = append(r.report.MovedAside, path)
	if r.dry {
		return nil
	}
	from, aside := l.fs.PathJoin(l.dir, path), l.fs.PathJoin(l.dir, damagedDir)
	to, err := r.freePath(path)
	if err != nil {
		return err
	}
	if err := l.fs.Rename(from, to); err != nil {
		return fmt.Errorf("log: repair: move aside: %w", err)
	}
	return errors.Join(segment.SyncDir(l.fs, aside), segment.SyncDir(l.fs, l.fs.PathDir(from)))
}

// keepManifest gives the manifest, which is about to be replaced, a second name in DIR/damaged.
func (r *repair) keepManifest() error {
	l := r.x.l
	path := r.inLog(segment.ManifestName)
	r.report.MovedAside = append(r.report.MovedAside, path)
	if r.dry {
		return nil
	}
	to, err := r.freePath(path)
	if err != nil {
		return err
	}
	if err := l.fs.Link(l.fs.PathJoin(l.dir, path), to); err != nil {
		return fmt.Errorf("log: repair: keep the manifest: %w", err)
	}
	return segment.SyncDir(l.fs, l.fs.PathDir(to))
}

// freePath returns a path in DIR/damaged, which it makes, for the file or directory at path.
func (r *repair) freePath(path string) (string, error) {
	l := r.x.l
	aside := l.fs.PathJoin(l.dir, damagedDir)
	if err := makeDirs(l.fs, aside); err != nil {
		return "", err
	}
	base := l.fs.PathBase(path)
	to := l.fs.PathJoin(aside, base)
	for n := 1; ; n++ {
		_, err := l.fs.Stat(to)
		if isNotExist(err) {
			return to, nil
		}
		if err != nil {
			return "", fmt.Errorf("log: repair: %w", err)
		}
		to = l.fs.PathJoin(aside, fmt.Sprintf("%s-%d", base, n))
	}
}
