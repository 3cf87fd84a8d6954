package main

import (
	"context"

	"github.com/stratalog/strata/aggregate"
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
