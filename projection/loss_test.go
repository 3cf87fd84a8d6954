package projection_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// damage changes a byte of the file that holds a text, within it.
func damage(t testing.TB, fs vfs.FS, dir, text string) {
	t.Helper()
	names, err := fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		f, err := fs.OpenReadWrite(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		if at := bytes.Index(b, []byte(text)); at >= 0 {
			_, err = f.WriteAt([]byte{'#'}, int64(at))
			require.NoError(t, err)
			require.NoError(t, f.Close())
			return
		}
		require.NoError(t, f.Close())
	}
	t.Fatalf("no file has %q", text)
}

// TestLoss damages a commit behind a checkpoint. It stops Run, and what lies before is in the model; when a repair
// has given it up that is told as well, also right behind the checkpoint, each time, until the definition says that it
// is to be passed over. A projection of other topics has nothing to do with it.
func TestLoss(t *testing.T) {
	for _, handledBefore := range []bool{true, false} {
		fs := vfs.NewMem()
		quiet := log.Options{FS: fs, SegmentBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler)}
		l, err := log.Open("data", quiet)
		require.NoError(t, err)
		s := openStore(t, l)
		other, err := l.CreateTopic(ctx, "other", log.TopicOptions{})
		require.NoError(t, err)
		open := func(l *log.Log, name string, o projection.Options) *projection.Model {
			m, err := projection.Open(ctx, l, projection.Define(name, 1, o, func(tx *projection.Tx, e *projection.Event) error {
				if e.Topic == "other" {
					tx.Set("other", e.Data)
					return nil
				}
				return sums(tx, e)
			}))
			require.NoError(t, err)
			return m
		}
		add(t, s, "a", 1)
		before := add(t, s, "b", 2)
		if handledBefore {
			require.NoError(t, open(l, "sums", projection.Options{}).CatchUp(ctx))
		}
		lost := add(t, s, "lost-stream", 100)
		add(t, s, "a", 4)
		for _, value := range [][]byte{make([]byte, 30<<10), make([]byte, 30<<10), make([]byte, 30<<10), []byte("here")} { // more than a segment
			_, err = other.Append(ctx, log.Record{Value: value})
			require.NoError(t, err)
		}
		require.NoError(t, l.Close())
		damage(t, fs, "data/log", "lost-stream")

		l, err = log.Open("data", quiet)
		require.NoError(t, err)
		m := open(l, "sums", projection.Options{})
		for range 2 {
			require.ErrorIs(t, m.CatchUp(ctx), log.ErrCorrupt)
			require.Equal(t, before, m.Progress().Position)
		}
		require.NoError(t, l.Close())
		_, err = log.Repair(ctx, "data", log.RepairOptions{FS: fs})
		require.NoError(t, err)

		l, err = log.Open("data", quiet)
		require.NoError(t, err)
		m = open(l, "sums", projection.Options{})
		for range 2 {
			var gone *projection.LostError
			require.ErrorAs(t, m.CatchUp(ctx), &gone)
			require.ErrorIs(t, gone, log.ErrLost)
			require.Equal(t, before, gone.From)
			require.Equal(t, lost, gone.To)
			require.Len(t, gone.Lost, 1)
			require.Equal(t, "events", gone.Lost[0].Topic)
			require.Equal(t, before, m.Progress().Position)
			require.Equal(t, projection.Failed, m.Progress().Phase)
		}
		elsewhere := open(l, "elsewhere", projection.Options{Topics: []string{"other"}})
		require.NoError(t, elsewhere.CatchUp(ctx))
		require.Equal(t, map[string]string{"other": "here"}, content(t, elsewhere))

		m = open(l, "sums", projection.Options{Poison: projection.PoisonSkips})
		require.NoError(t, m.CatchUp(ctx))
		want := folded(map[string][]int{"a": {1, 4}, "b": {2}})
		require.Equal(t, want, content(t, m))
		m = open(l, "sums", projection.Options{})
		require.NoError(t, m.CatchUp(ctx), "behind it nothing is missing")
		require.Equal(t, want, content(t, m))
		require.NoError(t, l.Close())
	}
}

// TestGapIsNotMetYet pauses a projection, and ends its context, far in front of a gap: neither is told of the gap.
func TestGapIsNotMetYet(t *testing.T) {
	fs := vfs.NewMem()
	quiet := log.Options{FS: fs, SegmentBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler)}
	l, err := log.Open("data", quiet)
	require.NoError(t, err)
	s := openStore(t, l)
	for range 5 {
		add(t, s, "a", 1)
	}
	before := l.Position()
	add(t, s, "lost-stream", 100)
	other, err := l.CreateTopic(ctx, "other", log.TopicOptions{})
	require.NoError(t, err)
	for range 4 { // more than a segment
		_, err = other.Append(ctx, log.Record{Value: make([]byte, 30<<10)})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	damage(t, fs, "data/log", "lost-stream")
	_, err = log.Repair(ctx, "data", log.RepairOptions{FS: fs})
	require.NoError(t, err)

	l, err = log.Open("data", quiet)
	require.NoError(t, err)
	var first func() // what the handler does at the first event
	open := func(name string) *projection.Model {
		m, err := projection.Open(ctx, l, projection.Define(name, 1, projection.Options{BatchEvents: 1}, func(tx *projection.Tx, e *projection.Event) error {
			if first != nil {
				first()
				first = nil
			}
			return sums(tx, e)
		}))
		require.NoError(t, err)
		return m
	}

	m := open("paused")
	paused := make(chan struct{})
	first = func() { m.Pause(); close(paused) }
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	<-paused
	m.Resume() // at once, or while it waits: it is not over in either case
	var gone *projection.LostError
	require.ErrorAs(t, <-done, &gone)
	require.Equal(t, before, gone.From)
	require.Equal(t, before, m.Progress().Position, "it stopped in front of the gap, not before")

	m = open("held")
	first = m.Pause
	running, stop := context.WithCancel(ctx)
	go func() { done <- m.Run(running) }()
	for m.Progress().Phase != projection.Paused || m.Progress().Position == 0 {
		select {
		case err := <-done:
			require.FailNow(t, "a paused projection has ended", "%v", err)
		default:
			runtime.Gosched()
		}
	}
	require.Less(t, m.Progress().Position, before)
	stop()
	require.NoError(t, <-done)

	m = open("ended")
	running, stop = context.WithCancel(ctx)
	first = stop
	err = m.CatchUp(running)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, log.ErrLost)
	require.Less(t, m.Progress().Position, before)
	require.NotEqual(t, projection.Failed, m.Progress().Phase)
	require.NoError(t, l.Close())
}
