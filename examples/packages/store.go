package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// importer appends the events of lines that are not in the store yet.
type importer struct {
	store *aggregate.Store
	seen  map[string]int // how often a line was met
	known map[string]*stream
	batch map[string]*aggregate.Append
	order []string // of the streams in batch
	lines int      // events in batch
}

// stream is what the store has of a package.
type stream struct {
	version uint64
	ids     map[string]bool
}

// batchLines is how many events are committed together.
const batchLines = 500

func newImporter(s *aggregate.Store) *importer {
	return &importer{store: s, seen: map[string]int{}, known: map[string]*stream{}, batch: map[string]*aggregate.Append{}}
}

// add takes up the event of a line, if there is one and the store has not got it.
func (im *importer) add(ctx context.Context, line string) error {
	v, name, at, ok := parseLine(line)
	if !ok {
		return nil
	}
	im.seen[line]++
	id := lineID(line, im.seen[line])
	key := category + aggregate.Separator + name
	st, err := im.stream(ctx, key)
	if err != nil || st.ids[id] {
		return err
	}
	e, err := packageEvents.Encode(v)
	if err != nil {
		return err
	}
	e.ID, e.Time = id, at
	a := im.batch[key]
	if a == nil {
		a = &aggregate.Append{Stream: key, Expected: aggregate.At(st.version)}
		im.batch[key], im.order = a, append(im.order, key)
	}
	a.Events = append(a.Events, e)
	st.ids[id] = true
	if im.lines++; im.lines >= batchLines {
		return im.flush(ctx)
	}
	return nil
}

// stream looks up what the store has of a stream when it is met for the first time.
func (im *importer) stream(ctx context.Context, key string) (*stream, error) {
	if st := im.known[key]; st != nil {
		return st, nil
	}
	st := &stream{ids: map[string]bool{}}
	for e, err := range im.store.Load(ctx, key) {
		if err != nil {
			return nil, err
		}
		st.version, st.ids[e.ID] = e.Version, true
	}
	im.known[key] = st
	return st, nil
}

// flush appends what was collected, all streams in one commit.
func (im *importer) flush(ctx context.Context) error {
	var b aggregate.Batch
	for _, key := range im.order {
		b.Appends = append(b.Appends, *im.batch[key])
		im.known[key].version += uint64(len(im.batch[key].Events))
	}
	clear(im.batch)
	im.order, im.lines = nil, 0
	if len(b.Appends) == 0 {
		return nil
	}
	_, err := im.store.Commit(ctx, b)
	return err
}

// report is what the program finds.
type report struct {
	Files     int     `json:"files"`
	Events    uint64  `json:"events"`
	Streams   int     `json:"streams"`
	Installed []entry `json:"installed"`
}

// entry is an installed package.
type entry struct {
	Package string `json:"package"`
	Version string `json:"version"`
}

// process puts the events of files into the log in dir, and folds what is there.
func process(ctx context.Context, dir string, files []file) (r report, err error) {
	l, err := log.Open(dir, log.Options{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	store, err := aggregate.Open(ctx, l, "packages", aggregate.Options{})
	if err != nil {
		return r, err
	}
	im := newImporter(store)
	for _, f := range files {
		for _, line := range f.lines {
			if err := im.add(ctx, line); err != nil {
				return r, err
			}
		}
	}
	if err := im.flush(ctx); err != nil {
		return r, err
	}
	r.Files = len(files)
	return r, r.fold(ctx, store)
}

// fold makes the read model: which packages are installed.
func (r *report) fold(ctx context.Context, store *aggregate.Store) error {
	topic, err := store.Log().Topic(store.Topic())
	if err != nil {
		return err
	}
	installed := map[string]string{}
	for rec, err := range topic.Read(log.Oldest) {
		if err != nil {
			return err
		}
		e, err := aggregate.Decode(&rec)
		if err != nil {
			return err
		}
		v, err := packageEvents.Decode(e)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(e.Stream, category+aggregate.Separator)
		if s, ok := v.(StatusChanged); ok && s.Status == "installed" {
			installed[name] = s.Version
		} else if ok {
			delete(installed, name)
		}
	}
	r.Installed = []entry{}
	for name, version := range installed {
		r.Installed = append(r.Installed, entry{name, version})
	}
	slices.SortFunc(r.Installed, func(a, b entry) int { return strings.Compare(a.Package, b.Package) })
	for i, err := range store.Category(ctx, category) {
		if err != nil {
			return err
		}
		r.Streams++
		r.Events += i.Events()
	}
	return nil
}
