package aggregate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// modelStream is a stream as the naive one keeps it: all events, in a list.
type modelStream struct {
	events    []string
	first     int // version of the first that is left
	tombstone bool
}

// world is a store beside the model.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	fs       *crashfs.FS
	clock    *clock.Manual
	l        *log.Log
	s        *aggregate.Store
	streams  map[string]*modelStream
	commands map[string]map[string]uint64 // by id, the versions that the first one gave
	n        int
}

func (w *world) open() {
	w.l = openLog(w.t, w.fs, w.clock)
	s, err := aggregate.Open(ctx, w.l, "events", aggregate.Options{Partitions: 2})
	require.NoError(w.t, err)
	w.s = s
}

func (w *world) stream(name string) *modelStream {
	if w.streams[name] == nil {
		w.streams[name] = &modelStream{first: 1}
	}
	return w.streams[name]
}

func (w *world) name() string { return fmt.Sprint("s-", w.rng.IntN(4)) }

// expected draws an expectation, mostly one that holds.
func (w *world) expected(m *modelStream) aggregate.Expected {
	switch w.rng.IntN(8) {
	case 0:
		return aggregate.Any
	case 1:
		return aggregate.Exists
	case 2:
		return aggregate.NoStream
	case 3:
		return aggregate.At(uint64(w.rng.IntN(len(m.events) + 2)))
	}
	return aggregate.At(uint64(len(m.events)))
}

func holds(e aggregate.Expected, version int) bool {
	switch e {
	case aggregate.Any:
		return true
	case aggregate.Exists:
		return version > 0
	}
	return e == aggregate.At(uint64(version))
}

// append appends to one or two streams, under a command id now and then.
func (w *world) append() {
	var b aggregate.Batch
	var want []error // any of them
	names := []string{w.name()}
	if other := w.name(); w.rng.IntN(3) == 0 && other != names[0] {
		names = append(names, other)
	}
	if w.rng.IntN(3) == 0 {
		b.CommandID = fmt.Sprint("cmd-", w.rng.IntN(30))
	}
	for _, name := range names {
		m := w.stream(name)
		a := aggregate.Append{Stream: name, Expected: w.expected(m)}
		for range 1 + w.rng.IntN(40)*w.rng.IntN(2) {
			w.n++
			a.Events = append(a.Events, event(fmt.Sprint(w.n)))
		}
		switch {
		case m.tombstone:
			want = append(want, aggregate.ErrTombstone)
		case !holds(a.Expected, len(m.events)):
			want = append(want, aggregate.ErrVersionConflict)
		}
		b.Appends = append(b.Appends, a)
	}
	first, done := w.commands[b.CommandID]
	r, err := w.s.Commit(ctx, b)
	if done {
		for _, name := range names {
			if first[name] == 0 {
				require.ErrorIs(w.t, err, aggregate.ErrCommand)
				return
			}
		}
		require.NoError(w.t, err)
		require.True(w.t, r.Duplicate)
		for _, name := range names {
			require.Equal(w.t, first[name], r.Version(name))
		}
		return
	}
	if want != nil {
		require.True(w.t, slices.ContainsFunc(want, func(e error) bool { return errors.Is(err, e) }), "%v, expected %v", err, want)
		return
	}
	require.NoError(w.t, err)
	versions := map[string]uint64{}
	for _, a := range b.Appends {
		m := w.stream(a.Stream)
		for _, e := range a.Events {
			m.events = append(m.events, string(e.Data))
		}
		versions[a.Stream] = uint64(len(m.events))
		require.Equal(w.t, versions[a.Stream], r.Version(a.Stream))
	}
	if b.CommandID != "" {
		w.commands[b.CommandID] = versions
	}
}

func (w *world) truncate() {
	name := w.name()
	m := w.stream(name)
	before := w.rng.IntN(len(m.events) + 3)
	err := w.s.TruncateBefore(ctx, name, uint64(before))
	if m.tombstone {
		require.ErrorIs(w.t, err, aggregate.ErrTombstone)
		return
	}
	require.NoError(w.t, err)
	if len(m.events) > 0 {
		m.first = max(m.first, min(before, len(m.events)+1))
	}
}

// check compares a drawn load of each stream, and the list of streams.
func (w *world) check() {
	var names []string
	for name, m := range w.streams {
		if len(m.events) == 0 && !m.tombstone {
			continue
		}
		names = append(names, name)
		o := aggregate.LoadOptions{Backward: w.rng.IntN(2) == 0, Unsynced: w.rng.IntN(2) == 0}
		from, to := m.first, len(m.events)
		if w.rng.IntN(2) == 0 {
			o.From = uint64(w.rng.IntN(len(m.events) + 2))
			from = max(from, int(o.From))
		}
		if w.rng.IntN(2) == 0 {
			o.To = uint64(1 + w.rng.IntN(len(m.events)+2))
			to = min(to, int(o.To))
		}
		if m.tombstone {
			for _, err := range w.s.Load(ctx, name, o) {
				require.ErrorIs(w.t, err, aggregate.ErrTombstone)
			}
			continue
		}
		want := []string{}
		for v := from; v <= to; v++ {
			want = append(want, fmt.Sprintf("%d %s", v, m.events[v-1]))
		}
		if o.Backward {
			slices.Reverse(want)
		}
		require.Equal(w.t, want, load(w.t, w.s, name, o), "%s %+v", name, o)
	}
	slices.Sort(names)
	var list []string
	for i, err := range w.s.Streams(ctx, "") {
		require.NoError(w.t, err)
		list = append(list, i.Stream)
		m := w.streams[i.Stream]
		require.Equal(w.t, []any{uint64(len(m.events)), m.tombstone}, []any{i.Version, i.Tombstone}, i.Stream)
	}
	require.Equal(w.t, names, list)
}

// TestModel draws calls, crashes and losses of the state, and compares with the model. Everything is
// synced, so a crash takes nothing back.
func TestModel(t *testing.T) {
	seeds, steps := 20, 150
	if testing.Short() {
		seeds = 5
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := &world{
				t: t, rng: rand.New(rand.NewPCG(seed, 1)), fs: crashfs.New(crashfs.Options{}), clock: clock.NewManual(start),
				streams: map[string]*modelStream{}, commands: map[string]map[string]uint64{},
			}
			w.open()
			for range steps {
				switch w.rng.IntN(20) {
				case 0, 1:
					w.truncate()
				case 2:
					if w.rng.IntN(6) == 0 {
						name := w.name()
						if m := w.stream(name); !m.tombstone {
							require.NoError(t, w.s.End(ctx, name, aggregate.At(uint64(len(m.events)))))
							m.tombstone, m.first = true, len(m.events)+1
						}
					}
				case 3:
					snap := w.fs.Snapshot()
					require.NoError(t, w.l.Close())
					w.fs = snap.Image(crashfs.Cut{Policy: crashfs.Subset, Seed: w.rng.Uint64()})
					if w.rng.IntN(2) == 0 {
						require.NoError(t, w.fs.RemoveAll("data/state"))
					}
					w.open()
				case 4, 5, 6:
					w.check()
				default:
					w.append()
				}
				w.clock.Advance(time.Millisecond)
			}
			w.check()
			require.NoError(t, w.l.Close())
		})
	}
}
