package projection_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// TestRebuildBesideTheOld changes the version while readers read: they see the old model or the new one, whole
// each time, and never the old one after the new one. The old one is gone afterwards.
func TestRebuildBesideTheOld(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	s := openStore(t, l)
	const events = 500
	for i := range events {
		add(t, s, "account-"+strconv.Itoa(i%10), 1)
	}
	handle := func(mark string, gate <-chan struct{}) func(tx *projection.Tx, e *projection.Event) error {
		return func(tx *projection.Tx, e *projection.Event) error {
			if gate != nil {
				<-gate
			}
			tx.Set("mark", []byte(mark))
			return sums(tx, e)
		}
	}
	o := projection.Options{BatchEvents: 50}
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, o, handle("old", nil)))
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))

	gate := make(chan struct{})
	m, err = projection.Open(ctx, l, projection.Define("sums", 2, o, handle("new", gate)))
	require.NoError(t, err)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(running) }()
	look := func() (mark string, total int, err error) {
		sn, err := m.Snapshot()
		if err != nil {
			return "", 0, err
		}
		defer func() { err = errors.Join(err, sn.Close()) }()
		keys := 0
		for kv, err := range sn.Range("", "") {
			if err != nil {
				return "", 0, err
			}
			switch keys++; kv.Key {
			case "mark":
				mark = string(kv.Value)
			case "total":
				if total, err = strconv.Atoi(string(kv.Value)); err != nil {
					return "", 0, err
				}
			}
		}
		if version := map[string]int{"old": 1, "new": 2}[mark]; keys != 12 || total < events || version != sn.Version() {
			return "", 0, fmt.Errorf("an empty or half model: %d keys, total %d, mark %q of version %d", keys, total, mark, sn.Version())
		}
		return mark, total, nil
	}
	watch := func() error {
		for mark := "old"; ; {
			now, _, err := look()
			if err != nil {
				return err
			}
			if mark == "new" {
				if now != "new" {
					return fmt.Errorf("%q behind the new one", now)
				}
				return nil
			}
			if mark = now; mark == "old" {
				v, ok, err := m.Get("mark")
				if err != nil || !ok {
					return fmt.Errorf("get: %v, %w", ok, err)
				}
				mark = string(v)
			}
		}
	}
	const readers = 3
	watched := make(chan error, readers)
	for range readers {
		go func() { watched <- watch() }()
	}
	for range events / 2 {
		gate <- struct{}{}
	}
	mark, total, err := look()
	require.NoError(t, err)
	require.Equal(t, "old", mark)
	require.Equal(t, events, total)
	pr := m.Progress()
	require.Equal(t, projection.Building, pr.Phase)
	require.Equal(t, 2, pr.Version)
	require.Equal(t, 1, pr.ActiveVersion)
	require.Less(t, pr.Position, pr.ActivePosition)
	add(t, s, "account-0", 1) // comes while it is built
	close(gate)
	for range readers {
		require.NoError(t, <-watched)
	}
	require.NoError(t, m.WaitForEnd(ctx))
	mark, total, err = look()
	require.NoError(t, err)
	require.Equal(t, "new", mark)
	require.Equal(t, events+1, total)
	stop()
	require.NoError(t, <-done)
	require.NoError(t, l.Close())

	store, err := projection.OpenPebble("data/projections/store", projection.PebbleOptions{FS: fs})
	require.NoError(t, err)
	state, err := store.Load(ctx, "sums")
	require.NoError(t, err)
	require.Len(t, state.Builds, 1)
	require.Equal(t, 2, state.Builds[0].Version)
	require.Equal(t, []string{"sums"}, store.Names())
	require.NoError(t, store.Close())
	db, err := pebble.Open("data/projections/store", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest})
	require.NoError(t, err)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte("d"), UpperBound: []byte("e")})
	require.NoError(t, err)
	left := 0
	for it.First(); it.Valid(); it.Next() {
		left++
	}
	require.Equal(t, 12, left, "values of the old model")
	require.NoError(t, errors.Join(it.Close(), db.Close()))
}

// TestFenced refuses a transaction that begins from another checkpoint than the stored one, as of a second
// program, or of one that was overtaken.
func TestFenced(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	store, err := projection.NewMemory()
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	m, err := projection.NewModel(ctx, l, store, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	add(t, s, "a", 1)
	require.NoError(t, m.CatchUp(ctx))
	state, err := store.Load(ctx, "sums")
	require.NoError(t, err)
	late := state.Builds[0]
	add(t, s, "a", 2)
	require.NoError(t, m.CatchUp(ctx))
	want := content(t, m)
	tx, err := store.Begin(ctx, "sums", late)
	require.NoError(t, err)
	tx.Handle().Set("total", []byte("0"))
	var fenced *projection.FencedError
	require.ErrorAs(t, tx.Commit(ctx, projection.Change{From: late.Checkpoint, To: late.Checkpoint}), &fenced)
	require.Equal(t, late.Checkpoint.Position, fenced.Expected)
	require.Equal(t, l.Position(), fenced.Actual)
	require.Equal(t, want, content(t, m))
	late.Number = 99
	_, err = store.Begin(ctx, "sums", late)
	require.ErrorIs(t, err, projection.ErrFenced)
}

// TestRebuildIsResumed ends a rebuild half way, and goes on with it; a third version starts anew.
func TestRebuildIsResumed(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	s := openStore(t, l)
	for i := range 100 {
		add(t, s, "a", i)
	}
	calls := 0
	enough := errors.New("enough")
	limit := 1 << 30
	define := func(version int) *projection.Definition[*projection.Tx] {
		return projection.Define("sums", version, projection.Options{BatchEvents: 10}, func(tx *projection.Tx, e *projection.Event) error {
			if calls >= limit {
				return enough
			}
			calls++
			return sums(tx, e)
		})
	}
	m, err := projection.Open(ctx, l, define(1))
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	want := content(t, m)

	calls, limit = 0, 55
	m, err = projection.Open(ctx, l, define(2))
	require.NoError(t, err)
	require.ErrorIs(t, m.CatchUp(ctx), enough)
	require.Equal(t, want, content(t, m))
	require.NoError(t, l.Close())

	l = openLog(t, fs)
	calls, limit = 0, 1<<30
	m, err = projection.Open(ctx, l, define(2))
	require.NoError(t, err)
	require.Equal(t, want, content(t, m))
	require.NoError(t, m.CatchUp(ctx))
	require.LessOrEqual(t, calls, 50)
	require.Equal(t, want, content(t, m))

	calls, limit = 0, 30
	m, err = projection.Open(ctx, l, define(3))
	require.NoError(t, err)
	require.ErrorIs(t, m.CatchUp(ctx), enough)
	calls, limit = 0, 1<<30
	m, err = projection.Open(ctx, l, define(4))
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, 100, calls)
	require.Equal(t, want, content(t, m))
}

// TestReset marks a projection, which is then built anew once.
func TestReset(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	s := openStore(t, l)
	calls := 0
	define := func(factor int) *projection.Definition[*projection.Tx] {
		return projection.Define("sums", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
			calls++
			tx.Set("factor", strconv.AppendInt(nil, int64(factor), 10))
			return sums(tx, e)
		})
	}
	for i := range 20 {
		add(t, s, "a", i)
	}
	mark := func() error { return projection.MarkReset(fs, l.Dir(), "sums", l.Options().Rand) }
	require.ErrorIs(t, mark(), projection.ErrNoProjection, "nobody has run it")
	m, err := projection.Open(ctx, l, define(1))
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, 20, calls)
	require.NoError(t, mark())
	require.NoError(t, mark(), "twice is once")
	asked, err := projection.ResetAsked(fs, l.Dir(), "sums")
	require.NoError(t, err)
	require.True(t, asked)
	m, err = projection.Open(ctx, l, define(2))
	require.NoError(t, err)
	require.Equal(t, "1", content(t, m)["factor"])
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, "2", content(t, m)["factor"])
	require.Equal(t, 40, calls)
	asked, err = projection.ResetAsked(fs, l.Dir(), "sums")
	require.NoError(t, err)
	require.False(t, asked)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, 40, calls)

	list, err := projection.List(fs, l.Dir())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "sums", list[0].Projection)
	require.Equal(t, projection.Stopped, list[0].Phase)
	require.Equal(t, l.Position(), list[0].ActivePosition)
	none, err := projection.List(fs, "elsewhere")
	require.NoError(t, err)
	require.Empty(t, none)
}

// TestStateAhead refuses a store of another log, of one that had more records, and of one that had others.
func TestStateAhead(t *testing.T) {
	d := projection.Define("sums", 1, projection.Options{}, sums)
	fs := vfs.NewMem()
	store, err := projection.OpenPebble("store", projection.PebbleOptions{FS: fs})
	require.NoError(t, err)
	l, err := log.Open("data", log.Options{FS: fs})
	require.NoError(t, err)
	add(t, openStore(t, l), "a", 1)
	require.NoError(t, l.Close())
	_, err = vfs.Clone(fs, fs, "data", "copy")
	require.NoError(t, err)
	l, err = log.Open("data", log.Options{FS: fs})
	require.NoError(t, err)
	add(t, openStore(t, l), "a", 2)
	m, err := projection.NewModel(ctx, l, store, d)
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.NoError(t, l.Close())

	refused := func(dir, what string) {
		t.Helper()
		l, err := log.Open(dir, log.Options{FS: fs})
		require.NoError(t, err)
		_, err = projection.NewModel(ctx, l, store, d)
		var ahead *log.StateAheadError
		require.ErrorAs(t, err, &ahead)
		require.Equal(t, what, ahead.What)
		require.NoError(t, l.Close())
	}
	refused("copy", "position")
	l, err = log.Open("copy", log.Options{FS: fs})
	require.NoError(t, err)
	add(t, openStore(t, l), "a", 3, 4, 5)
	require.NoError(t, l.Close())
	refused("copy", "body")
	l, err = log.Open("stranger", log.Options{FS: fs})
	require.NoError(t, err)
	add(t, openStore(t, l), "a", 3, 4, 5)
	require.NoError(t, l.Close())
	refused("stranger", "log")
	require.NoError(t, store.Close())
}
