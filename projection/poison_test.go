package projection_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

// appendAll appends events with these data to one stream each, all in one commit.
func appendAll(t testing.TB, s *aggregate.Store, streams []string, data ...string) aggregate.Result {
	t.Helper()
	var b aggregate.Batch
	for i, d := range data {
		b.Appends = append(b.Appends, aggregate.Append{
			Stream: streams[i], Expected: aggregate.Any, Events: []aggregate.Event{{Type: "added", Data: []byte(d)}},
		})
	}
	r, err := s.Commit(ctx, b)
	require.NoError(t, err)
	return r
}

// TestPoisonStops stops in front of the commit that has a bad event, whole commits before it in the model, and
// goes on when a new version takes it.
func TestPoisonStops(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	d := projection.Define("sums", 1, projection.Options{BatchEvents: 1}, sums)
	m, err := projection.Open(ctx, l, d)
	require.NoError(t, err)
	add(t, s, "a", 1)
	require.NoError(t, m.CatchUp(ctx))
	good := add(t, s, "a", 2)
	r := appendAll(t, s, []string{"b", "a", "c"}, "3", "bad", "4")
	err = m.CatchUp(ctx)
	var poison *projection.PoisonError
	require.ErrorAs(t, err, &poison)
	require.ErrorIs(t, err, projection.ErrPoison)
	require.Equal(t, "sums", poison.Projection)
	require.Equal(t, "events", poison.Topic)
	require.Equal(t, 1, poison.Attempts)
	require.Less(t, poison.Position, r.Position)
	rec, err := l.Topic("events")
	require.NoError(t, err)
	at, err := rec.Partition(poison.Partition).Get(poison.Offset)
	require.NoError(t, err)
	require.Equal(t, "bad", string(at.Value))
	require.Equal(t, poison.Position, at.Position)

	require.Equal(t, folded(map[string][]int{"a": {1, 2}}), content(t, m), "no part of the commit")
	sn, err := m.Snapshot()
	require.NoError(t, err)
	require.Equal(t, good, sn.Position())
	require.NoError(t, sn.Close())
	require.Equal(t, projection.Failed, m.Progress().Phase)
	require.Contains(t, m.Progress().Error, "bad")
	require.ErrorAs(t, m.WaitFor(ctx, r.Position), &poison, "who waits is told")
	require.ErrorAs(t, m.Run(ctx), &poison, "and it is met again")

	mended := projection.Define("sums", 2, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		if string(e.Data) == "bad" {
			return nil
		}
		return sums(tx, e)
	})
	m, err = projection.Open(ctx, l, mended)
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, folded(map[string][]int{"a": {1, 2}, "b": {3}, "c": {4}}), content(t, m))
}

// TestPoisonSkips passes over bad events, of which there are many in a row.
func TestPoisonSkips(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	calls := 0
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{Poison: projection.PoisonSkips}, func(tx *projection.Tx, e *projection.Event) error {
		calls++
		tx.Set("last", []byte(e.Stream)) // what a bad event wrote must go
		return sums(tx, e)
	}))
	require.NoError(t, err)
	const bad = 300
	for i := range bad {
		appendAll(t, s, []string{"a", "b"}, "1", fmt.Sprint("bad", i))
	}
	require.NoError(t, m.CatchUp(ctx))
	want := folded(map[string][]int{"a": {bad}})
	want["last"] = "a"
	require.Equal(t, want, content(t, m))
	require.Equal(t, uint64(bad), m.Progress().Skipped)
	require.Less(t, calls, 6*bad, "not all is done again for each")
}

// TestPoisonParks parks bad events once, lists them, and retries them.
func TestPoisonParks(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	s := openStore(t, l)
	taken := false
	handle := func(tx *projection.Tx, e *projection.Event) error {
		if taken && string(e.Data) == "bad" {
			tx.Set("mended", e.Data)
			return nil
		}
		return sums(tx, e)
	}
	o := projection.Options{Poison: projection.PoisonParks, Parked: "aside"}
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, o, handle))
	require.NoError(t, err)
	appendAll(t, s, []string{"a", "b", "c"}, "1", "bad", "worse")
	add(t, s, "a", 5)
	require.NoError(t, m.CatchUp(ctx))
	want := folded(map[string][]int{"a": {1, 5}})
	require.Equal(t, want, content(t, m))
	list, err := m.Parked(ctx)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, 2, m.Progress().Parked)

	aside, err := l.Topic("aside")
	require.NoError(t, err)
	i := 0
	for r, err := range aside.Read(log.Oldest) {
		require.NoError(t, err)
		dead, err := record.ParseDead(r.Headers)
		require.NoError(t, err)
		require.Equal(t, list[i].Offset, dead.Offset)
		require.Equal(t, list[i].Cause, dead.Cause)
		require.Equal(t, "sums", dead.Group)
		require.Equal(t, list[i].Time, r.Timestamp, "the time of the event")
		i++
	}
	require.Equal(t, 2, i)

	var poison *projection.PoisonError
	require.ErrorAs(t, m.Retry(ctx, list[0].Position), &poison)
	require.Equal(t, 2, poison.Attempts)
	taken = true
	require.NoError(t, m.Retry(ctx, list[0].Position))
	want["mended"] = "bad"
	require.Equal(t, want, content(t, m))
	require.ErrorIs(t, m.Retry(ctx, list[0].Position), projection.ErrNotParked)
	require.ErrorAs(t, m.Retry(ctx, list[1].Position), &poison)
	require.NoError(t, l.Close())

	l = openLog(t, fs)
	m, err = projection.Open(ctx, l, projection.Define("sums", 1, o, handle))
	require.NoError(t, err)
	left, err := m.Parked(ctx)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, list[1].Position, left[0].Position)
	require.Equal(t, 2, left[0].Attempts)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, want, content(t, m))
}

// TestPastParksNothing looks at the past of a projection that parks: the log is as it was afterwards. On a log that
// was opened read-only the model is made as well.
func TestPastParksNothing(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	s := openStore(t, l)
	appendAll(t, s, []string{"a", "b"}, "1", "bad")
	d := projection.Define("sums", 1, projection.Options{Poison: projection.PoisonParks}, sums)
	end := l.Position()
	past, err := projection.AsOf(ctx, l, d, end)
	require.NoError(t, err)
	want := folded(map[string][]int{"a": {1}})
	require.Equal(t, want, content(t, past))
	require.NoError(t, past.Close())
	require.Equal(t, end, l.Position())
	_, err = l.Topic("sums.parked")
	require.ErrorIs(t, err, log.ErrNoTopic)
	require.NoError(t, l.Close())

	l, err = log.Open("data", log.Options{FS: fs, ReadOnly: true})
	require.NoError(t, err)
	m, err := projection.Open(ctx, l, d)
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, want, content(t, m))
	list, err := m.Parked(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, l.Close())
}

// TestRetryEndsWithTheLog closes the log while an event is to be tried again in a while.
func TestRetryEndsWithTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, vfs.NewMem())
		s := openStore(t, l)
		o := projection.Options{Retry: &timer.Retry{Attempts: 2, First: time.Hour, Even: true}}
		m, err := projection.Open(ctx, l, projection.Define("sums", 1, o, sums))
		require.NoError(t, err)
		appendAll(t, s, []string{"a"}, "bad")
		done := make(chan error, 1)
		began := time.Now()
		go func() { done <- m.Run(ctx) }()
		synctest.Wait()
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-done, projection.ErrClosed)
		require.Less(t, time.Since(began), time.Hour)
	})
}

// TestRetryWaits tries an event again, with growing waits, before it is given up.
func TestRetryWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, vfs.NewMem())
		defer l.Close() // within the bubble
		s := openStore(t, l)
		var at []time.Duration
		began := time.Now()
		o := projection.Options{Retry: &timer.Retry{Attempts: 4, First: time.Second, Even: true}}
		m, err := projection.Open(ctx, l, projection.Define("sums", 1, o, func(tx *projection.Tx, e *projection.Event) error {
			at = append(at, time.Since(began))
			if string(e.Data) == "flaky" && len(at) > 2 {
				return nil
			}
			return sums(tx, e)
		}))
		require.NoError(t, err)
		appendAll(t, s, []string{"a"}, "flaky")
		began = time.Now()
		require.NoError(t, m.CatchUp(ctx))
		require.Equal(t, []time.Duration{0, time.Second, 3 * time.Second}, at)

		appendAll(t, s, []string{"a"}, "bad")
		at = nil
		var poison *projection.PoisonError
		require.ErrorAs(t, m.CatchUp(ctx), &poison)
		require.Equal(t, 4, poison.Attempts)
		ended, cancel := context.WithCancel(ctx)
		go func() { time.Sleep(time.Second / 2); cancel() }()
		require.NoError(t, m.Run(ended), "the wait ends with ctx")
	})
}

// TestEffects calls effects before the commit, treats their errors as the handler's, and holds them back for
// what the model that readers see has handled.
func TestEffects(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	var done []string
	fail := errors.New("no mail today")
	refuse := ""
	handle := func(tx *projection.Tx, e *projection.Event) error {
		id := e.Stream + string(e.Data)
		e.Effect(func(context.Context) error {
			if id == refuse {
				return fail
			}
			done = append(done, id)
			return nil
		})
		return sums(tx, e)
	}
	define := func(version int) *projection.Model {
		m, err := projection.Open(ctx, l, projection.Define("sums", version, projection.Options{}, handle))
		require.NoError(t, err)
		return m
	}
	add(t, s, "a", 1)
	add(t, s, "a", 2)
	require.NoError(t, define(1).CatchUp(ctx))
	require.Equal(t, []string{"a1", "a2"}, done)
	end := add(t, s, "a", 3)
	require.NoError(t, define(2).CatchUp(ctx))
	require.Equal(t, []string{"a1", "a2", "a3"}, done, "only what the first version has not handled")

	past, err := projection.AsOf(ctx, l, projection.Define("other", 1, projection.Options{}, handle), end)
	require.NoError(t, err)
	require.NoError(t, past.Close())
	require.Len(t, done, 3)

	done = nil
	add(t, s, "a", 4)
	add(t, s, "b", 5)
	add(t, s, "a", 6)
	refuse = "b5"
	var poison *projection.PoisonError
	require.ErrorAs(t, define(2).CatchUp(ctx), &poison)
	require.ErrorIs(t, poison, fail)
	require.Equal(t, folded(map[string][]int{"a": {1, 2, 3, 4}}), content(t, define(2)))
	refuse = ""
	require.NoError(t, define(2).CatchUp(ctx))
	require.Equal(t, []string{"a4", "a4", "b5", "a6"}, done, "at least once")
}

// TestRetryInTrouble retries a parked event while the store is in trouble, and with a context that has ended: neither is the
// event's fault, and counts as an attempt.
func TestRetryInTrouble(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	add(t, s, "a", 1)
	fails := errors.New("not yet")
	d := projection.Define("sums", 1, projection.Options{Poison: projection.PoisonParks}, func(tx *projection.Tx, e *projection.Event) error {
		if fails != nil {
			return fails
		}
		return sums(tx, e)
	})
	m, err := projection.Open(ctx, l, d)
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	parked := func() projection.Parked {
		list, err := m.Parked(ctx)
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0]
	}
	first := parked()
	fails = fmt.Errorf("a full disk: %w", projection.ErrStore)
	var poison *projection.PoisonError
	err = m.Retry(ctx, first.Position)
	require.ErrorIs(t, err, projection.ErrStore)
	require.False(t, errors.As(err, &poison))
	fails = errors.New("asked too late")
	over, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, m.Retry(over, first.Position), context.Canceled)
	require.Equal(t, first, parked())
	require.ErrorAs(t, m.Retry(ctx, first.Position), &poison)
	require.Equal(t, first.Attempts+1, parked().Attempts)
	fails = nil
	require.NoError(t, m.Retry(ctx, first.Position))
	require.Equal(t, folded(map[string][]int{"a": {1}}), content(t, m))
}
