package projection_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// running runs a model until the test ends.
func running(t testing.TB, m *projection.Model) {
	t.Helper()
	until, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(until) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-done) })
}

// TestWaitForByMany has many writers read their own writes at once.
func TestWaitForByMany(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	running(t, m)
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			account := fmt.Sprint("account-", w)
			for i := range 20 {
				r, err := s.Append(ctx, account, aggregate.Any, aggregate.Event{Type: "added", Data: []byte("1")})
				if !assert.NoError(t, err) || !assert.NoError(t, m.WaitFor(ctx, r.Position)) {
					return
				}
				v, ok, err := m.Get("sum/" + account)
				assert.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, strconv.Itoa(i+1), string(v))
			}
		})
	}
	wg.Wait()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, m.WaitFor(ended, l.Position()+10), context.Canceled)
}

// TestWaitForEndsWithTheLog wakes those who wait when the log is closed.
func TestWaitForEndsWithTheLog(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	openStore(t, l)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	ran, waited := make(chan error, 1), make(chan error, 1)
	go func() { ran <- m.Run(ctx) }()
	require.NoError(t, m.WaitForEnd(ctx))
	go func() { waited <- m.WaitFor(ctx, 1<<40) }()
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-waited, projection.ErrClosed)
	err = <-ran
	require.True(t, errors.Is(err, log.ErrClosed) || errors.Is(err, projection.ErrClosed), err)
	_, _, err = m.Get("total")
	require.ErrorIs(t, err, projection.ErrClosed)
	require.ErrorIs(t, m.Run(ctx), projection.ErrClosed)
}

// TestWatch watches a key while it changes, and while the model is built anew: values only grow, the last one is
// seen, and equal ones are not repeated.
func TestWatch(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	const events = 300
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last, position := -1, uint64(0)
			for v, err := range m.Watch(ctx, "total") {
				if !assert.NoError(t, err) {
					return
				}
				now := 0
				if v.Exists {
					now, err = strconv.Atoi(string(v.Data))
					assert.NoError(t, err)
				}
				assert.Greater(t, now, last)
				assert.GreaterOrEqual(t, v.Position, position)
				if last, position = now, v.Position; now == events {
					return
				}
			}
		})
	}
	for version := range 3 {
		m, err := projection.Open(ctx, l, projection.Define("sums", version+1, projection.Options{BatchEvents: 1}, sums))
		require.NoError(t, err)
		until, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- m.Run(until) }()
		for i := range events / 3 {
			add(t, s, "a", 1)
			if i%10 == 0 {
				require.NoError(t, m.WaitForEnd(ctx))
			}
		}
		require.NoError(t, m.WaitForEnd(ctx))
		stop()
		require.NoError(t, <-done)
	}
	wg.Wait()
	ended, cancel := context.WithCancel(ctx)
	for v, err := range m.Watch(ended, "nothing") {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		require.False(t, v.Exists)
		cancel()
	}
	cancel()
}

// TestPause holds a projection.
func TestPause(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	running(t, m)
	add(t, s, "a", 1)
	require.NoError(t, m.WaitForEnd(ctx))
	m.Pause()
	require.Equal(t, projection.Paused, m.Progress().Phase)
	at := add(t, s, "a", 2)
	soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	require.ErrorIs(t, m.WaitFor(soon, at), context.DeadlineExceeded)
	cancel()
	require.NotZero(t, m.Progress().Lag())
	m.Resume()
	require.NoError(t, m.WaitFor(ctx, at))
	require.Equal(t, folded(map[string][]int{"a": {1, 2}}), content(t, m))
}

// TestAsOf makes models of the past, by position and by the time of events, and compares.
func TestAsOf(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	d := projection.Define("sums", 1, projection.Options{}, sums)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var positions []uint64
	for i := range 10 {
		when := at.Add(time.Duration(i) * time.Hour)
		if i == 9 {
			when = at.Add(time.Minute) // told late
		}
		r, err := s.Append(ctx, "a", aggregate.Any,
			aggregate.Event{Type: "added", Time: when, Data: []byte("1")}, aggregate.Event{Type: "added", Time: when, Data: []byte("1")})
		require.NoError(t, err)
		positions = append(positions, r.Position)
	}
	total := func(p *projection.Past, err error) string {
		t.Helper()
		require.NoError(t, err)
		defer func() { require.NoError(t, p.Close()); require.NoError(t, p.Close()) }()
		v, _, err := p.Get("total")
		require.NoError(t, err)
		return string(v)
	}
	require.Equal(t, "", total(projection.AsOf(ctx, l, d, 0)))
	for i, p := range positions {
		require.Equal(t, fmt.Sprint(2*i+2), total(projection.AsOf(ctx, l, d, p)))
		require.Equal(t, fmt.Sprint(2*i+1), total(projection.AsOf(ctx, l, d, p-1)), "within a commit")
	}
	require.Equal(t, "8", total(projection.AsOfTime(ctx, l, d, at.Add(2*time.Hour))), "three, and the one that was told late")
	require.Equal(t, "20", total(projection.AsOf(ctx, l, d, 1<<50)))

	m, err := projection.Open(ctx, l, d)
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	sn, err := m.Snapshot()
	require.NoError(t, err)
	past, err := projection.AsOf(ctx, l, projection.Define("next", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		tx.Set("seen", []byte("yes"))
		if e.Version == 3 {
			tx.Set("sum/b", []byte("0"))
			return nil
		}
		return sums(tx, e)
	}), sn.Position())
	require.NoError(t, err)
	diff := map[string]string{}
	for d, err := range projection.Diff(sn, past) {
		require.NoError(t, err)
		diff[d.Key] = fmt.Sprintf("%s %s", d.A, d.B)
	}
	require.Equal(t, map[string]string{"seen": " yes", "sum/a": "20 19", "sum/b": " 0", "total": "20 19"}, diff)
	for d := range projection.Diff(past, sn) {
		require.Equal(t, "seen", d.Key)
		require.Nil(t, d.B)
		break
	}
	for d, err := range projection.Diff(sn, sn) {
		t.Fatal(d, err)
	}
	require.NoError(t, past.Close())
	require.NoError(t, sn.Close())
	_, _, err = sn.Get("total")
	require.ErrorIs(t, err, projection.ErrClosed)
}

// TestTxLikeAMap compares transactions with a map: what they write, delete, get and scan, over what earlier ones
// have left.
func TestTxLikeAMap(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		want := map[string]string{}
		l, err := log.Open("data", log.Options{FS: vfs.NewMem()})
		require.NoError(r, err)
		defer func() { require.NoError(r, l.Close()) }()
		topic, err := l.CreateTopic(ctx, "records", log.TopicOptions{})
		require.NoError(r, err)
		key := rapid.StringMatching(`[ab]{0,3}`)
		o := projection.Options{Topics: []string{"records"}, BatchEvents: rapid.IntRange(1, 6).Draw(r, "batch")}
		m, err := projection.Open(ctx, l, projection.Define("map", 1, o, func(tx *projection.Tx, e *projection.Event) error {
			for range rapid.IntRange(0, 4).Draw(r, "writes") {
				k := key.Draw(r, "key")
				if rapid.Bool().Draw(r, "delete") {
					tx.Delete(k)
					delete(want, k)
				} else {
					v := rapid.StringMatching(`[xyz]{0,5}`).Draw(r, "value")
					tx.Set(k, []byte(v))
					want[k] = v
				}
				probe := key.Draw(r, "probe")
				v, ok, err := tx.Get(probe)
				if w, there := want[probe]; err != nil || ok != there || string(v) != w {
					return fmt.Errorf("%q is %q, %v, %v and should be %q, %v", probe, v, ok, err, w, there)
				}
			}
			prefix := key.Draw(r, "prefix")
			got, last := 0, ""
			for kv, err := range tx.Scan(prefix) {
				if err != nil {
					return err
				}
				if w, there := want[kv.Key]; !there || w != string(kv.Value) || got > 0 && kv.Key <= last {
					return fmt.Errorf("scan of %q shows %q as %q behind %q, and it is %q, %v", prefix, kv.Key, kv.Value, last, w, there)
				}
				got, last = got+1, kv.Key
			}
			for k := range want {
				if len(k) >= len(prefix) && k[:len(prefix)] == prefix {
					got--
				}
			}
			if got != 0 {
				return fmt.Errorf("scan of %q shows %d too many", prefix, got)
			}
			return nil
		}))
		require.NoError(r, err)
		for range rapid.IntRange(1, 15).Draw(r, "records") {
			_, err := topic.Append(ctx, log.Record{})
			require.NoError(r, err)
			if rapid.Bool().Draw(r, "now") {
				require.NoError(r, m.CatchUp(ctx))
			}
		}
		require.NoError(r, m.CatchUp(ctx))
		require.Equal(r, want, content(t, m))
	})
}

// TestFilter handles what the options ask for.
func TestFilter(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	other, err := aggregate.Open(ctx, l, "other", aggregate.Options{})
	require.NoError(t, err)
	plain, err := l.CreateTopic(ctx, "plain", log.TopicOptions{})
	require.NoError(t, err)
	for _, stream := range []string{"order-1", "order-2", "customer-1"} {
		for _, typ := range []string{"placed", "paid"} {
			_, err := s.Append(ctx, stream, aggregate.Any, aggregate.Event{Type: typ})
			require.NoError(t, err)
		}
	}
	_, err = other.Append(ctx, "order-9", aggregate.Any, aggregate.Event{Type: "paid"})
	require.NoError(t, err)
	_, err = plain.Append(ctx, log.Record{Key: []byte("k"), Value: []byte("v")})
	require.NoError(t, err)
	i := 0
	for _, tc := range []struct {
		o    projection.Options
		want []string
	}{
		{projection.Options{}, []string{"order-1 placed", "order-1 paid", "order-2 placed", "order-2 paid", "customer-1 placed", "customer-1 paid", "order-9 paid"}},
		{projection.Options{Topics: []string{"other", "plain"}}, []string{"order-9 paid", "record k=v"}},
		{projection.Options{Categories: []string{"order"}}, []string{"order-1 placed", "order-1 paid", "order-2 placed", "order-2 paid", "order-9 paid"}},
		{projection.Options{Types: []string{"paid", "odd"}, Topics: []string{"events", "plain"}}, []string{"order-1 paid", "order-2 paid", "customer-1 paid"}},
		{projection.Options{Types: []string{"paid"}, Categories: []string{"customer"}}, []string{"customer-1 paid"}},
		{projection.Options{Topics: []string{"none"}}, nil},
	} {
		var got []string
		i++
		m, err := projection.Open(ctx, l, projection.Define(fmt.Sprint("filter", i), 1, tc.o, func(tx *projection.Tx, e *projection.Event) error {
			if e.Type == "" {
				got = append(got, fmt.Sprintf("record %s=%s", e.Record.Key, e.Data))
			} else {
				got = append(got, e.Stream+" "+e.Type)
			}
			return nil
		}))
		require.NoError(t, err)
		require.NoError(t, m.CatchUp(ctx))
		require.ElementsMatch(t, tc.want, got)
	}
}

// TestDefinitionIsChecked refuses what cannot be.
func TestDefinitionIsChecked(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	for _, d := range []*projection.Definition[*projection.Tx]{
		projection.Define("", 1, projection.Options{}, sums),
		projection.Define("a/b", 1, projection.Options{}, sums),
		projection.Define("a", 0, projection.Options{}, sums),
		projection.Define[*projection.Tx]("a", 1, projection.Options{}, nil),
		projection.Define("a", 1, projection.Options{Poison: 9}, sums),
		projection.Define("a", 1, projection.Options{BatchEvents: -1}, sums),
		projection.Define("a", 1, projection.Options{Topics: []string{"a.parked"}}, sums),
	} {
		_, err := projection.Open(ctx, l, d)
		require.ErrorIs(t, err, projection.ErrDefinition)
	}
}

type product struct {
	Name string
	Tags []string
}

// TestTable reads rows by key, prefix and index, within transactions and afterwards.
func TestTable(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	topic, err := l.CreateTopic(ctx, "changes", log.TopicOptions{})
	require.NoError(t, err)
	products := projection.NewTable[product]("products").Index("tag", func(_ string, p product) []string { return p.Tags })
	other := projection.NewTable[int]("product")
	find := func(r projection.Reader, tag string) []string {
		var keys []string
		for row, err := range products.Find(r, "tag", tag) {
			require.NoError(t, err)
			keys = append(keys, row.Key+" "+row.Value.Name)
		}
		return keys
	}
	m, err := projection.Open(ctx, l, projection.Define("products", 1, projection.Options{Topics: []string{"changes"}}, func(tx *projection.Tx, e *projection.Event) error {
		key := string(e.Record.Key)
		if err := other.Update(tx, "changes", func(n *int) error { *n++; return nil }); err != nil {
			return err
		}
		if len(e.Data) == 0 {
			return products.Delete(tx, key)
		}
		before := len(find(tx, string(e.Data[:1])))
		err := products.Update(tx, key, func(p *product) error {
			p.Name = string(e.Data)
			p.Tags = []string{p.Name[:1], "all"}
			return nil
		})
		require.GreaterOrEqual(t, len(find(tx, string(e.Data[:1]))), before)
		return err
	}))
	require.NoError(t, err)
	for _, kv := range []string{"1 ax", "2 ay", "3 bx", "1 bz", "2 ", "4 a", "9 "} {
		_, err := topic.Append(ctx, log.Record{Key: []byte(kv[:1]), Value: []byte(kv[2:])})
		require.NoError(t, err)
	}
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, []string{"4 a"}, find(m, "a"))
	require.Equal(t, []string{"1 bz", "3 bx"}, find(m, "b"))
	require.Equal(t, []string{"1 bz", "3 bx", "4 a"}, find(m, "all"))
	require.Empty(t, find(m, "al"))
	v, ok, err := products.Get(m, "3")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, product{"bx", []string{"b", "all"}}, v)
	_, ok, err = products.Get(m, "2")
	require.NoError(t, err)
	require.False(t, ok)
	var keys []string
	for row, err := range products.Scan(m, "") {
		require.NoError(t, err)
		keys = append(keys, row.Key)
	}
	require.Equal(t, []string{"1", "3", "4"}, keys)
	n, _, err := other.Get(m, "changes")
	require.NoError(t, err)
	require.Equal(t, 7, n)
	tx := projection.NewTx()
	require.Error(t, products.Put(tx, "a\x00b", product{}))
	require.Error(t, products.Put(tx, "a", product{Tags: []string{"\x00"}}))
}

// TestLoopsEndWithTheLog closes the log inside a loop over the model.
func TestLoopsEndWithTheLog(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	add(t, s, "a", 1)
	require.NoError(t, m.CatchUp(ctx))
	sn, err := m.Snapshot()
	require.NoError(t, err)
	var last error
	n := 0
	for _, err := range m.Scan("") {
		if n++; n == 1 {
			require.NoError(t, l.Close())
		}
		last = err
	}
	require.ErrorIs(t, last, projection.ErrClosed)
	_, _, err = sn.Get("total")
	require.ErrorIs(t, err, projection.ErrClosed)
	require.NoError(t, sn.Close())
}

// TestDamagedStore moves a store aside that does not open, and builds the model anew.
func TestDamagedStore(t *testing.T) {
	fs := vfs.NewMem()
	d := projection.Define("sums", 1, projection.Options{}, sums)
	l := openLog(t, fs)
	add(t, openStore(t, l), "a", 1)
	m, err := projection.Open(ctx, l, d)
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	want := content(t, m)
	require.NoError(t, l.Close())
	names, err := fs.List("data/projections/store")
	require.NoError(t, err)
	for _, name := range names {
		if len(name) > 8 && name[:8] == "MANIFEST" {
			f, err := fs.Create("data/projections/store/"+name, vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			_, err = f.Write([]byte("garbage that is no manifest at all"))
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}
	l = openLog(t, fs)
	m, err = projection.Open(ctx, l, d)
	require.NoError(t, err)
	_, _, err = m.Get("total")
	require.ErrorIs(t, err, projection.ErrNotReady)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, want, content(t, m))
	_, err = fs.Stat("data/projections/store.damaged-1")
	require.NoError(t, err)
}

// TestOpenTwice opens a store that is open. That is an error, and the store stays where it is, in use.
func TestOpenTwice(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"system": nil, "memory": vfs.NewMem()} {
		dir := filepath.Join(t.TempDir(), "store")
		require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o700))
		if fs != nil {
			dir = "store"
		}
		first, err := projection.OpenPebble(dir, projection.PebbleOptions{FS: fs})
		require.NoError(t, err, name)
		_, err = projection.OpenPebble(dir, projection.PebbleOptions{FS: fs})
		require.ErrorIs(t, err, projection.ErrStore, name)
		b, err := first.Create(ctx, "sums", 1, "", projection.Checkpoint{})
		require.NoError(t, err, name)
		require.NoError(t, first.Close(), name)
		again, err := projection.OpenPebble(dir, projection.PebbleOptions{FS: fs})
		require.NoError(t, err, name)
		state, err := again.Load(ctx, "sums")
		require.NoError(t, err, name)
		require.Equal(t, []projection.Build{b}, state.Builds, name)
		require.NoError(t, again.Close(), name)
	}
}

// TestReadOnly builds a model of a log that was opened read-only in memory.
func TestReadOnly(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, fs)
	add(t, openStore(t, l), "a", 1, 2)
	require.NoError(t, l.Close())
	l, err := log.Open("data", log.Options{FS: fs, ReadOnly: true})
	require.NoError(t, err)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, folded(map[string][]int{"a": {1, 2}}), content(t, m))
	require.NoError(t, l.Close())
	_, err = fs.Stat("data/projections")
	require.Error(t, err)
}

type placed struct{ Amount int }
type paid struct{ By string }

// TestHandlers brings typed events to their functions.
func TestHandlers(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	types := aggregate.NewTypes(aggregate.EventType[placed]("placed"), aggregate.EventType[paid]("paid"))
	h := projection.NewHandlers[*projection.Tx](types)
	projection.On(h, func(tx *projection.Tx, e *projection.Event, v placed) error {
		tx.Set(e.Stream, strconv.AppendInt(nil, int64(v.Amount), 10))
		return nil
	})
	for _, v := range []any{placed{7}, paid{"me"}} {
		e, err := types.Encode(v)
		require.NoError(t, err)
		_, err = s.Append(ctx, "order-1", aggregate.Any, e)
		require.NoError(t, err)
	}
	m, err := projection.Open(ctx, l, projection.Define("orders", 1, projection.Options{}, h.Handle))
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, map[string]string{"order-1": "7"}, content(t, m))
	_, err = s.Append(ctx, "order-1", aggregate.Any, aggregate.Event{Type: "odd"})
	require.NoError(t, err)
	require.ErrorIs(t, m.CatchUp(ctx), aggregate.ErrUnknownType)
}
