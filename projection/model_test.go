package projection_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// life is a projection under random calls, crashes and changes of its definition.
type life struct {
	t    *testing.T
	rng  *rand.Rand
	what string

	fs *crashfs.FS
	l  *log.Log
	s  *aggregate.Store
	m  *projection.Model

	version    int
	takes      bool // the handler takes bad events
	acked      int  // events that are appended
	generation int  // of the definition: each build keeps that under which it began
	wanted     int  // the one that the last request for a rebuild asked for
	seen       uint64
}

func (x *life) open() {
	x.t.Helper()
	l, err := log.Open("data", log.Options{FS: x.fs, SyncInterval: -1, SegmentBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(x.t, err, x.what)
	x.l = l
	x.s, err = aggregate.Open(ctx, l, "events", aggregate.Options{Partitions: 2})
	require.NoError(x.t, err, x.what)
	x.seen = 0 // a crash may take transactions back
	x.define()
}

// define makes the projection as the definition is now.
func (x *life) define() {
	x.t.Helper()
	o := projection.Options{BatchEvents: 1 + x.rng.IntN(5), Poison: projection.PoisonParks, Parallel: 1}
	generation := x.generation
	version := x.version
	m, err := projection.Open(ctx, x.l, projection.Define("sums", version, o, func(tx *projection.Tx, e *projection.Event) error {
		if _, begun, err := tx.Get("generation"); err != nil {
			return err
		} else if !begun {
			tx.Set("generation", strconv.AppendInt(nil, int64(generation), 10))
		}
		if string(e.Data) == "bad" && x.takes {
			tx.Set(fmt.Sprint("mended/", e.Position), nil)
			return nil
		}
		if version%2 == 0 {
			return counts(tx, e)
		}
		return sums(tx, e)
	}))
	require.NoError(x.t, err, x.what)
	x.m = m
}

func (x *life) append() uint64 {
	stream := string(rune('a' + x.rng.IntN(4)))
	var events []aggregate.Event
	for range 1 + x.rng.IntN(3) {
		data := strconv.Itoa(x.rng.IntN(100) - 50)
		if x.rng.IntN(6) == 0 {
			data = "bad"
		}
		events = append(events, aggregate.Event{Type: "added", Data: []byte(data)})
	}
	r, err := x.s.Append(ctx, stream, aggregate.Any, events...)
	require.NoError(x.t, err, x.what)
	x.acked += len(events)
	return r.Position
}

// run has Run carry the model on for a while, paused for some of it.
func (x *life) run() {
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- x.m.Run(running) }()
	at := x.append()
	if x.rng.IntN(2) == 0 {
		x.m.Pause()
		at = x.append()
		x.m.Resume()
	}
	if x.rng.IntN(3) > 0 {
		require.NoError(x.t, x.m.WaitFor(ctx, at), x.what)
		require.GreaterOrEqual(x.t, x.m.Progress().ActivePosition, at, x.what)
	}
	stop()
	require.NoError(x.t, <-done, x.what)
}

// crash leaves the process behind: of what was not synced all is left, or whatever the draw leaves.
func (x *life) crash(power bool) {
	after := x.fs.Snapshot().Clone()
	if power {
		policies := []crashfs.Policy{crashfs.None, crashfs.Subset, crashfs.SubsetEntries}
		after = x.fs.Snapshot().Image(crashfs.Cut{Policy: policies[x.rng.IntN(len(policies))], Seed: x.rng.Uint64()})
	}
	x.fs.Kill()
	_ = x.l.Close()
	x.fs = after
	x.open()
}

// damage garbles or removes a file of the store while no program has it open.
func (x *life) damage() {
	require.NoError(x.t, x.l.Close(), x.what)
	const dir = "data/projections/store"
	names, err := x.fs.List(dir)
	require.NoError(x.t, err, x.what)
	slices.Sort(names)
	name := x.fs.PathJoin(dir, names[x.rng.IntN(len(names))])
	require.NoError(x.t, x.fs.Remove(name), x.what)
	if x.rng.IntN(2) == 0 {
		f, err := x.fs.Create(name, vfs.WriteCategoryUnspecified)
		require.NoError(x.t, err, x.what)
		_, err = f.Write([]byte("this is not what was here"))
		require.NoError(x.t, err, x.what)
		require.NoError(x.t, f.Close(), x.what)
	}
	x.open()
}

func (x *life) retry() {
	list, err := x.m.Parked(ctx)
	require.NoError(x.t, err, x.what)
	if len(list) == 0 {
		return
	}
	at := list[x.rng.IntN(len(list))].Position
	switch err := x.m.Retry(ctx, at); {
	case x.takes && err != nil:
		require.ErrorIs(x.t, err, projection.ErrNotReady, x.what) // the model is of another version
	case !x.takes && err == nil:
		require.Fail(x.t, "a bad event was taken", x.what)
	}
}

func (x *life) step() {
	switch op := x.rng.IntN(20); {
	case op < 7:
		x.append()
	case op < 11:
		x.catchUp()
	case op < 13:
		x.run()
	case op < 14:
		x.version = 1 + x.rng.IntN(4)
		x.generation++
		x.define()
	case op < 15:
		if list, err := projection.List(x.fs, "data"); err == nil && len(list) > 0 {
			require.NoError(x.t, projection.MarkReset(x.fs, "data", "sums", x.l.Options().Rand), x.what)
			x.generation++
			x.wanted = x.generation
			x.define()
		}
	case op < 16:
		x.takes = !x.takes
	case op < 17:
		x.retry()
	case op < 18:
		x.crash(x.rng.IntN(2) == 0)
	case op < 19:
		require.NoError(x.t, x.l.Close(), x.what)
		x.open()
	default:
		x.damage()
	}
}

func (x *life) catchUp() {
	end := x.l.Position()
	require.NoError(x.t, x.m.CatchUp(ctx), x.what)
	sn, err := x.m.Snapshot()
	require.NoError(x.t, err, x.what)
	require.GreaterOrEqual(x.t, sn.Position(), end, x.what)
	require.Equal(x.t, x.version, sn.Version(), x.what)
	require.NoError(x.t, sn.Close(), x.what)
	asked, err := projection.ResetAsked(x.fs, "data", "sums")
	require.NoError(x.t, err, x.what)
	require.False(x.t, asked, x.what)
	if v, ok, err := x.m.Get("generation"); ok {
		require.NoError(x.t, err, x.what)
		n, err := strconv.Atoi(string(v))
		require.NoError(x.t, err, x.what)
		require.GreaterOrEqual(x.t, n, x.wanted, "%s: a rebuild was asked for, and is gone", x.what)
	}
}

// check compares what readers see with the fold of the events before its checkpoint.
func (x *life) check() {
	sn, err := x.m.Snapshot()
	if err != nil {
		require.ErrorIs(x.t, err, projection.ErrNotReady, x.what)
		return
	}
	defer func() { require.NoError(x.t, sn.Close(), x.what) }()
	require.GreaterOrEqual(x.t, sn.Position(), x.seen, "%s: readers have seen more", x.what)
	x.seen = sn.Position()
	parked := map[uint64]bool{}
	list, err := x.m.Parked(ctx)
	require.NoError(x.t, err, x.what)
	for _, p := range list {
		require.Less(x.t, p.Position, sn.Position(), x.what)
		parked[p.Position] = true
	}
	got := content(x.t, sn)
	delete(got, "generation")
	want, err := fold(x.l, 2-sn.Version()%2, sn.Position())
	require.NoError(x.t, err, x.what)
	events := 0
	t, err := x.l.Topic("events")
	require.NoError(x.t, err, x.what)
	for r, err := range t.Read(log.Oldest) {
		require.NoError(x.t, err, x.what)
		events++
		if string(r.Value) != "bad" {
			require.False(x.t, parked[r.Position], x.what)
		} else if r.Position < sn.Position() && !parked[r.Position] {
			want[fmt.Sprint("mended/", r.Position)] = "" // it is parked, or was taken: never both, never neither
		}
	}
	require.Equal(x.t, x.acked, events, x.what)
	if !maps.Equal(want, got) {
		require.Equal(x.t, want, got, "%s: model of version %d at position %d", x.what, sn.Version(), sn.Position())
	}
}

// TestLikeAFold makes random calls: events come, some of them bad; the model is carried on by CatchUp and by a Run that
// is paused; events are parked and tried again; the program is reopened, killed, or loses power; the version changes,
// rebuilds are asked for, files of the store are damaged. After each, what readers see is the fold of the events before
// its checkpoint, no older than what they saw, and each bad event is parked or was taken; behind each CatchUp it is the
// version that is defined, and made by no handler from before the last request for a rebuild.
func TestLikeAFold(t *testing.T) {
	givesUp(t) // a process that is killed cannot close its Pebble
	lives := 60
	if testing.Short() {
		lives = 15
	}
	steps := 0
	for seed := range uint64(lives) {
		x := &life{t: t, rng: rand.New(rand.NewPCG(seed, 6)), fs: crashfs.New(crashfs.Options{}), version: 1}
		x.what = fmt.Sprint("seed ", seed)
		x.open()
		for i := range 60 {
			x.what = fmt.Sprintf("seed %d step %d", seed, i)
			x.step()
			x.check()
			steps++
		}
		x.catchUp()
		x.check()
		require.NoError(t, x.l.Close())
	}
	t.Logf("T11 projection lives=%d steps=%d", lives, steps)
}
