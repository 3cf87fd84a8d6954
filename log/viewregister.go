package log

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// viewInfo is what the catalog knows of a view that was registered once.
type viewInfo struct {
	Topics    []string
	Kinds     []string
	Producers bool
}

// change returns the record that registers the view called name.
func (i viewInfo) change(name string) change {
	return change{Op: "view", Name: name, Topics: i.Topics, Kinds: i.Kinds, Producers: i.Producers}
}

// compare returns a *MismatchError when i is not what the view called name was registered with before.
func (i viewInfo) compare(name string, before viewInfo) error {
	for _, f := range []struct{ field, have, want string }{
		{"topics", strings.Join(before.Topics, ","), strings.Join(i.Topics, ",")},
		{"kinds", strings.Join(before.Kinds, ","), strings.Join(i.Kinds, ",")},
		{"producers", strconv.FormatBool(before.Producers), strconv.FormatBool(i.Producers)},
	} {
		if f.have != f.want {
			return &MismatchError{Name: name, Field: f.field, Have: f.have, Want: f.want}
		}
	}
	return nil
}

// Register makes the log derive view, from where it was left or, when it is new, from the first
// record of its topics, and returns when it is up to date with what was written when the call began. A
// view of that name that is registered already is returned. Its name and topics are recorded in the
// log by its first registration; other topics under the same name are a *MismatchError.
//
// On a log that was opened read-only the view is derived from the first record on, into a temporary
// store that Close removes, and read as of what is visible at each call. The log need not know of it.
//
// Errors are those of reading, a *StateAheadError, and a *ViewError when view itself fails.
func (l *Log) Register(ctx context.Context, def View) (*ViewHandle, error) {
	a := l.applier
	if v := l.findView(def.Name()); v != nil {
		return &ViewHandle{v}, nil
	}
	if l.o.ReadOnly {
		return l.registerReadOnly(ctx, def)
	}
	if err := checkName(def.Name()); err != nil {
		return nil, err
	}
	a.registering.Lock()
	defer a.registering.Unlock()
	if v := l.findView(def.Name()); v != nil {
		return &ViewHandle{v}, nil
	}
	if n := len(a.joined()); n >= maxViews {
		return nil, &LimitError{What: limitOfViews, Limit: maxViews, Got: int64(n) + 1}
	}
	v := newView(l, def)
	known, err := l.recordView(ctx, v)
	if err != nil {
		return nil, err
	}
	from, err := l.resumeView(v, known)
	if err != nil {
		return nil, err
	}
	if err := l.joinView(ctx, v, from); err != nil {
		return nil, err
	}
	return &ViewHandle{v}, nil
}

// recordView notes v in the catalog, and makes the engine's topics that it is derived from. known says
// that it was registered before.
func (l *Log) recordView(ctx context.Context, v *view) (known bool, err error) {
	for _, topic := range v.topics {
		if strings.HasPrefix(topic, SystemPrefix) && topic != topicsTopic {
			if _, err := l.createTopic(ctx, topic, TopicOptions{}, true); err != nil {
				return false, err
			}
		}
	}
	l.topicsMu.Lock()
	defer l.topicsMu.Unlock()
	l.mu.Lock()
	info, known := l.catalog.views[v.name]
	err = l.usableLocked()
	l.mu.Unlock()
	if err != nil {
		return false, err
	}
	now := viewInfo{Topics: v.topics, Kinds: v.kinds, Producers: v.producers}
	if known {
		return true, now.compare(v.name, info)
	}
	return false, l.changeTopics(ctx, now.change(v.name))
}

// resumeView returns the position from which v is to be derived.
func (l *Log) resumeView(v *view, known bool) (uint64, error) {
	exists, err := l.store.exists()
	if err != nil {
		return 0, err
	}
	if exists {
		c, ok, err := l.store.checkpointOf(v.name)
		if err != nil {
			return 0, err
		}
		if ok {
			return c.position, l.checkAhead(c)
		}
		if err := l.store.forget(v.name); err != nil {
			return 0, err
		}
	}
	if end := l.writtenPosition.Load(); known && end > 0 {
		l.o.Logger.Warn("view has no state and is derived again from the log", "view", v.name, "to", end)
	}
	return 0, nil
}

// joinView derives v from position from on and lets the applier go on with it.
func (l *Log) joinView(ctx context.Context, v *view, from uint64) error {
	a := l.applier
	a.start()
	a.active.Store(true) // before the end is looked at, so that no note is missing
	r := replay{l: l, v: v, tx: ViewTx{changes: map[string]cell{}}}
	end := func() place {
		l.endMu.Lock()
		defer l.endMu.Unlock()
		return l.written
	}
	// Without holding up the others, up to near the end.
	for range 3 {
		e := end()
		if e.position <= from {
			break
		}
		if err := r.run(ctx, from, e); err != nil {
			return err
		}
		from = e.position
	}
	a.applyMu.Lock()
	defer a.applyMu.Unlock()
	// Nothing is written while this has the pen: what is written later is noted for v.
	l.takePen()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		l.passPen()
		return ErrClosed
	}
	e := end()
	v.bit = 1 << len(a.joined())
	v.from = e.position
	vs := &views{byName: map[string]*view{v.name: v}}
	if old := l.views.Load(); old != nil {
		maps.Copy(vs.byName, old.byName)
		vs.joined, vs.producers = slices.Clip(old.joined), old.producers
	}
	vs.joined = append(vs.joined, v)
	if v.producers {
		vs.producers |= v.bit
	}
	l.publishViewLocked(vs)
	l.mu.Unlock()
	l.passPen()
	// What is left is read before the applier can go on, since it needs applyMu.
	if err := r.run(ctx, from, e); err != nil {
		return v.kill(err)
	}
	a.changed = a.changed || len(v.layer) > 0
	// The others may be behind e, and one checkpoint stands for all.
	a.drain()
	return nil
}

// publishViewLocked makes vs the registered views, and the writer note what they are derived from.
func (l *Log) publishViewLocked(vs *views) {
	l.views.Store(vs)
	for _, t := range l.catalog.topics {
		l.markViewedLocked(t)
	}
}

// replay derives one view that has not joined yet.
type replay struct {
	l       *Log
	v       *view
	tx      ViewTx
	commit  AppliedCommit
	decoder record.Decoder
	reached uint64 // the position behind the last commit that was applied
}

// run applies the commits of [from, end) that the view is derived from.
func (r *replay) run(ctx context.Context, from uint64, end place) error {
	l := r.l
	if len(*l.parts.Load()) == 0 || from >= end.position {
		return nil
	}
	if r.v.producers {
		first, ok, err := r.firstOfTopics()
		if err != nil || !ok {
			return err
		}
		return r.all(ctx, max(from, first), end)
	}
	ps := *l.parts.Load()
	for i := ps.at(from); i < len(ps); i++ {
		if err := r.part(ctx, ps, i, from, end); err != nil {
			return err
		}
		if ps[i] == end.part {
			return nil
		}
	}
	return nil
}

// partitions returns the partitions of the view's topics.
func (r *replay) partitions() []*Partition {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	var ps []*Partition
	for _, t := range r.l.catalog.topics {
		if r.v.wants(t.name, t.kind) {
			ps = append(ps, *t.partitions.Load()...)
		}
	}
	return ps
}

// firstOfTopics returns the position of the first record of the view's topics. A view that is derived
// from batches with producer ids has nothing to read before: producers are registered there first.
func (r *replay) firstOfTopics() (first uint64, ok bool, err error) {
	for _, p := range r.partitions() {
		if p.written.Load() == 0 {
			continue
		}
		c := cursor{l: r.l, unsynced: true}
		if _, err := c.startAt(p, Oldest); err != nil {
			return 0, false, err
		}
		w := walker{c: &c, want: func(n uint32) bool { return n == p.number }}
		if err := w.nextBatch(); err != nil {
			return 0, false, err
		}
		if !ok || w.entry.Position < first {
			first, ok = w.frame.Position, true
		}
	}
	return first, ok, nil
}

// all reads every frame of [from, end).
func (r *replay) all(ctx context.Context, from uint64, end place) error {
	if from >= end.position {
		return nil
	}
	c := cursor{l: r.l, unsynced: true}
	if err := c.startPosition(from); err != nil {
		return err
	}
	var f segment.Frame
	for {
		err := c.next(&f)
		if isEOF(err) {
			return nil
		}
		if err != nil {
			return &ViewError{View: r.v.name, Cause: err}
		}
		if f.Kind != segment.Commit || f.Position < from {
			continue
		}
		if f.Position >= end.position {
			return nil
		}
		if err := r.apply(ctx, &f); err != nil {
			return err
		}
	}
}

// part reads the frames of one segment that hold records of the view's topics, and nothing of a
// segment that has none.
func (r *replay) part(ctx context.Context, ps parts, i int, from uint64, end place) error {
	limit := int64(1<<63 - 1)
	if ps[i] == end.part {
		limit = end.byte
	}
	var at []int64
	var idx index.Reader
	for _, p := range r.partitions() {
		first, err := r.l.catalogNextOf(ps[i], p.number)
		if err == nil && i+1 < len(ps) {
			var next int64
			if next, err = r.l.catalogNextOf(ps[i+1], p.number); err == nil && next == first {
				continue
			}
		}
		if err == nil && first == p.written.Load() {
			continue
		}
		if idx == nil {
			if idx, err = r.l.index(ps, i); err != nil {
				return err
			}
		}
		for c := idx.Scan(p.number, 0); ; {
			e, more, err := c.Next()
			if err != nil {
				return err
			}
			if !more || e.Byte >= limit {
				break
			}
			at = append(at, e.Byte)
		}
	}
	if len(at) == 0 {
		return nil
	}
	if err := ps[i].damaged(); err != nil {
		return &ViewError{View: r.v.name, Cause: err}
	}
	slices.Sort(at)
	return r.frames(ctx, ps, i, slices.Compact(at), from)
}

// frames applies the frames at these byte positions.
func (r *replay) frames(ctx context.Context, ps parts, i int, at []int64, from uint64) error {
	seg, err := ps[i].open()
	if err != nil {
		return err
	}
	size, err := seg.Size()
	if err != nil {
		return err
	}
	sc := seg.Scan(at[0], size)
	var f segment.Frame
	for _, b := range at {
		sc.MoveTo(b)
		if err := sc.Next(&f); err != nil {
			return &ViewError{View: r.v.name, Cause: err}
		}
		if f.Position < from {
			continue
		}
		if err := r.apply(ctx, &f); err != nil {
			return err
		}
	}
	return nil
}

// apply applies f when the view is derived from it, and hands Pebble what has gathered.
func (r *replay) apply(ctx context.Context, f *segment.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.l.applier.stopping.Load() {
		return ErrClosed
	}
	r.commit.fill(r.l, f, &r.decoder)
	wanted := false
	for i := range r.commit.Batches {
		b := &r.commit.Batches[i]
		wanted = wanted || r.v.wants(b.Topic, b.Kind) || r.v.producers && b.Head.ProducerID >= 0
	}
	if !wanted {
		return nil
	}
	if err := r.v.apply(&r.tx, &r.commit); err != nil {
		return err
	}
	r.reached = f.Position + f.Positions()
	if r.v.bytes < spillBytes {
		return nil
	}
	c := checkpoint{log: r.l.id, position: f.Position + f.Positions(), body: f.Body}
	if err := r.l.store.spill([]*view{r.v}, c); err != nil {
		return err
	}
	r.v.emptyLayer()
	return nil
}
