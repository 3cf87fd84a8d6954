package log_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// tally is a view: for each record it counts the keys, and keeps the last value and its position.
type tally struct {
	name   string
	topics []string
}

func (v tally) Name() string     { return v.name }
func (v tally) Topics() []string { return v.topics }

func (v tally) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	for i := range c.Batches {
		b := &c.Batches[i]
		mine := false
		for _, t := range v.topics {
			mine = mine || t == b.Topic
		}
		if !mine {
			continue
		}
		for r, err := range b.Records() {
			if err != nil {
				return err
			}
			if string(r.Value) == "delete" {
				tx.Delete(r.Key)
				continue
			}
			if string(r.Value) == "poison" {
				return errors.New("poisoned")
			}
			n := 0
			old, err := tx.Get(r.Key)
			if err != nil {
				return err
			}
			if old != nil {
				n, _ = strconv.Atoi(strings.Fields(string(old))[0])
			}
			tx.Set(r.Key, fmt.Appendf(nil, "%d %s %d", n+1, r.Value, r.Position))
		}
	}
	return nil
}

// viewDump returns all of a view.
func viewDump(t testing.TB, h *log.ViewHandle) string {
	t.Helper()
	var out bytes.Buffer
	last := ""
	for kv, err := range h.Scan(ctx, nil, nil) {
		require.NoError(t, err)
		if out.Len() > 0 {
			require.Greater(t, string(kv.Key), last)
		}
		last = string(kv.Key)
		fmt.Fprintf(&out, "%s=%s\n", kv.Key, kv.Value)
	}
	return out.String()
}

// fold derives what tally would, by reading.
func fold(t testing.TB, l *log.Log, topics ...string) string {
	t.Helper()
	count, state := map[string]int{}, map[string]string{}
	for r, err := range l.Read(log.Oldest, log.ReadOptions{Unsynced: true}) {
		require.NoError(t, err)
		mine := false
		for _, name := range topics {
			mine = mine || name == r.Topic
		}
		if !mine {
			continue
		}
		k := string(r.Key)
		if string(r.Value) == "delete" {
			delete(count, k)
			delete(state, k)
			continue
		}
		count[k]++
		state[k] = fmt.Sprintf("%d %s %d", count[k], r.Value, r.Position)
	}
	var keys []string
	for k := range state {
		keys = append(keys, k)
	}
	var out strings.Builder
	for _, k := range sorted(keys) {
		fmt.Fprintf(&out, "%s=%s\n", k, state[k])
	}
	return out.String()
}

// TestViewEqualsFold appends at random to viewed topics and others, registers views at random moments,
// and opens the log again, now with its state, now without: a view is always the fold of the log.
func TestViewEqualsFold(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			fs := vfs.NewMem()
			for range 5 {
				l := open(t, fs, "data", log.Options{SegmentBytes: 64 << 10})
				handles := map[string]*log.ViewHandle{}
				views := map[string][]string{"one": {"a"}, "two": {"a", "b"}, "none": {"empty"}}
				for _, name := range []string{"a", "b", "other", "empty"} {
					_, err := l.CreateTopic(ctx, name, log.TopicOptions{Partitions: 2})
					require.NoError(t, err)
				}
				for i := range 120 {
					if rng.IntN(25) == 0 {
						for name, topics := range views {
							h, err := l.Register(ctx, tally{name, topics})
							require.NoError(t, err)
							again, err := l.Register(ctx, tally{name, topics})
							require.NoError(t, err)
							require.Equal(t, h.Name(), again.Name())
							handles[name] = h
							break
						}
					}
					c := l.NewCommit()
					for range 1 + rng.IntN(3) {
						tp, err := l.Topic([]string{"a", "b", "other"}[rng.IntN(3)])
						require.NoError(t, err)
						value := fmt.Sprint(i, strings.Repeat("x", rng.IntN(600)))
						if rng.IntN(5) == 0 {
							value = "delete"
						}
						c.Append(tp, log.Record{Key: fmt.Append(nil, "k", rng.IntN(20)), Value: []byte(value)})
					}
					c.Durability(log.Durability(rng.IntN(3)))
					_, err := c.Commit(ctx)
					require.NoError(t, err)
					if rng.IntN(20) == 0 {
						for name, h := range handles {
							got := viewDump(t, h)
							require.Equal(t, fold(t, l, views[name]...), got, name)
							break
						}
					}
				}
				for name, h := range handles {
					got := viewDump(t, h)
					require.Equal(t, fold(t, l, views[name]...), got, name)
					require.EqualValues(t, l.Metrics().Written, h.Applied())
				}
				require.NoError(t, l.Close())
				if rng.IntN(3) == 0 {
					require.NoError(t, fs.RemoveAll("data/state"))
				}
			}
		})
	}
}

// TestViewRebuildIsByteEqual derives the engine's views and one of the test's again from the log alone.
func TestViewRebuildIsByteEqual(t *testing.T) {
	fs := vfs.NewMem()
	names := []string{"__strata.once", "__strata.producers", "mine"}
	build := func(l *log.Log) (out []string) {
		for _, name := range names {
			var h *log.ViewHandle
			var err error
			if name == "mine" {
				h, err = l.Register(ctx, tally{name, []string{"a"}})
			} else {
				h, err = l.RegisterEngineView(ctx, name)
			}
			require.NoError(t, err)
			out = append(out, viewDump(t, h))
		}
		return out
	}
	l := open(t, fs, "data", log.Options{SegmentBytes: 64 << 10})
	_, err := l.Register(ctx, tally{"mine", []string{"a"}})
	require.NoError(t, err)
	p, err := l.Producer(ctx, "p")
	require.NoError(t, err)
	for i := range 400 {
		_, err := once(l, fmt.Sprint(i%300), strings.Repeat("v", i), log.Buffered)
		require.NoError(t, err)
		b, err := l.Topic("b")
		require.NoError(t, err)
		_, err = p.SendTo(ctx, b.Partition(0), log.Record{Value: []byte("p")})
		require.NoError(t, err)
		if i == 200 {
			p, err = l.Producer(ctx, "p")
			require.NoError(t, err)
		}
	}
	want := build(l)
	require.Greater(t, len(want[0]), 300*20)
	require.Greater(t, l.Metrics().Segments, int64(3))
	require.NoError(t, l.Close())
	for range 2 {
		l = open(t, fs, "data", log.Options{SegmentBytes: 64 << 10})
		require.Equal(t, want, build(l))
		require.NoError(t, l.Close())
		require.NoError(t, fs.RemoveAll("data/state"))
	}
}

// TestViewsSurviveCrashes crashes a log with views at random moments, some data synced and some not:
// state never gets ahead of the log, and every view is the fold of what is there.
func TestViewsSurviveCrashes(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 15
	}
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 3))
		fs := vfs.NewCrashableMem()
		var keys []string
		for range 4 {
			clk := clock.NewManual(time.Unix(1e9, 0))
			l := open(t, fs, "data", log.Options{SegmentBytes: 64 << 10, Clock: clk, SyncInterval: -1})
			a, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
			require.NoError(t, err)
			h, err := l.Register(ctx, tally{"mine", []string{"a"}})
			require.NoError(t, err, "seed %d", seed)
			require.Equal(t, fold(t, l, "a"), viewDump(t, h), "seed %d", seed)
			for _, key := range keys {
				c := l.NewCommit()
				c.Append(a, log.Record{Key: []byte(key), Value: []byte("again")})
				c.Require(log.Once(key))
				r, err := c.Commit(ctx)
				require.NoError(t, err)
				require.True(t, r.Duplicate, "seed %d: %s was acknowledged", seed, key)
			}
			var crashed *vfs.MemFS
			n := 10 + rng.IntN(60)
			for i := range n {
				key := fmt.Sprintf("%d-%d-%d", seed, len(keys), i)
				c := l.NewCommit()
				c.Append(a, log.Record{Key: []byte(key), Value: []byte(strings.Repeat("v", rng.IntN(2000)))})
				c.Require(log.Once(key))
				d := log.Durability(rng.IntN(3))
				c.Durability(d)
				_, err := c.Commit(ctx)
				require.NoError(t, err)
				if d == log.Synced {
					keys = append(keys, key)
				}
				switch rng.IntN(12) {
				case 0:
					clk.Advance(time.Minute) // spills and flushes in the background
				case 1:
					_ = viewDump(t, h) // spills now
				}
				if i == n-1 {
					crashed = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[rng.IntN(3)], RNG: rng})
				}
			}
			if rng.IntN(4) == 0 {
				require.NoError(t, l.Close())
				crashed = fs.CrashClone(vfs.CrashCloneCfg{})
			} else {
				require.NoError(t, l.Close())
			}
			fs = crashed
		}
	}
}

// copyTree returns a copy of dir in fs.
func copyTree(t testing.TB, fs vfs.FS, from, to string) {
	t.Helper()
	ok, err := vfs.Clone(fs, fs, from, to)
	require.NoError(t, err)
	require.True(t, ok)
}

func TestFault_F27_StateAhead(t *testing.T) {
	fs := vfs.NewMem()
	fill := func(dir string, n int, value string) {
		l := open(t, fs, dir, log.Options{})
		for i := range n {
			_, err := once(l, fmt.Sprint(value, i), value, log.Synced)
			require.NoError(t, err)
		}
		require.NoError(t, l.Close())
	}
	fill("data", 10, "x")
	copyTree(t, fs, "data", "backup")
	fill("data", 20, "y")
	fill("other", 30, "z")

	for _, tc := range []struct {
		what  string
		under string // the log that the state of data is put on
		then  int    // commits that are made before, without views
	}{{"position", "backup", 0}, {"log", "other", 0}, {"body", "backup", 100}} {
		t.Run(tc.what, func(t *testing.T) {
			dir := "case-" + tc.what
			copyTree(t, fs, tc.under, dir)
			if tc.then > 0 {
				l := open(t, fs, dir, log.Options{})
				a, err := l.Topic("a")
				require.NoError(t, err)
				for range tc.then {
					_, err := a.Append(ctx, log.Record{Value: []byte("else")})
					require.NoError(t, err)
				}
				require.NoError(t, l.Close())
			}
			require.NoError(t, fs.RemoveAll(dir+"/state"))
			copyTree(t, fs, "data/state", dir+"/state")
			for range 2 {
				_, err := log.Open(dir, log.Options{FS: fs})
				require.ErrorIs(t, err, log.ErrStateAhead)
				var ahead *log.StateAheadError
				require.ErrorAs(t, err, &ahead)
				require.Equal(t, tc.what, ahead.What)
			}
			// Without the file it is the view's own checkpoint that tells.
			require.NoError(t, fs.Remove(dir+"/state/CHECKPOINT"))
			l := open(t, fs, dir, log.Options{})
			_, err := once(l, "new", "new", log.Synced)
			require.ErrorIs(t, err, log.ErrStateAhead)
			require.NoError(t, l.Close())
			// Moving the state away is the way on.
			require.NoError(t, fs.RemoveAll(dir+"/state"))
			l = open(t, fs, dir, log.Options{})
			_, err = once(l, "new", "new", log.Synced)
			require.NoError(t, err)
			require.NoError(t, l.Close())
		})
	}
}

// TestFault_F26_StateOlderThanLog puts old state under a newer log, which catches up.
func TestFault_F26_StateOlderThanLog(t *testing.T) {
	fs := vfs.NewMem()
	for round := range 2 {
		l := open(t, fs, "data", log.Options{})
		for i := range 30 {
			_, err := once(l, fmt.Sprint(round, "-", i), "v", log.Synced)
			require.NoError(t, err)
		}
		require.NoError(t, l.Close())
		if round == 0 {
			copyTree(t, fs, "data/state", "old")
		}
	}
	require.NoError(t, fs.RemoveAll("data/state"))
	copyTree(t, fs, "old", "data/state")
	l := open(t, fs, "data", log.Options{})
	for round := range 2 {
		for i := range 30 {
			r, err := once(l, fmt.Sprint(round, "-", i), "v", log.Synced)
			require.NoError(t, err)
			require.True(t, r.Duplicate)
		}
	}
	require.NoError(t, l.Close())
}

// TestFault_F25_StateUnreadable damages every file of the state in turn.
func TestFault_F25_StateUnreadable(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{})
	for i := range 50 {
		_, err := once(l, fmt.Sprint(i), strings.Repeat("v", 100), log.Written)
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	names, err := fs.List("data/state")
	require.NoError(t, err)
	aside := 0
	for i, name := range names {
		for _, how := range []string{"gone", "random", "empty"} {
			dir := fmt.Sprint("case", i, how)
			copyTree(t, fs, "data", dir)
			path := dir + "/state/" + name
			require.NoError(t, fs.Remove(path))
			if how != "gone" {
				f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
				require.NoError(t, err)
				if how == "random" {
					_, err = f.Write(bytes.Repeat([]byte("garbage"), 100))
					require.NoError(t, err)
				}
				require.NoError(t, f.Close())
			}
			for range 2 { // damage that is met late is moved aside by the next opening
				l := open(t, fs, dir, log.Options{})
				r, err := once(l, "7", "v", log.Synced)
				if err == nil {
					require.True(t, r.Duplicate, "%s %s", name, how)
				} else {
					require.ErrorIs(t, err, log.ErrState, "%s %s", name, how)
				}
				a, topicErr := l.Topic("a")
				require.NoError(t, topicErr)
				_, appendErr := a.Append(ctx, log.Record{Value: []byte("goes on")})
				require.NoError(t, appendErr)
				_ = l.Close()
				if err == nil {
					break
				}
			}
			l := open(t, fs, dir, log.Options{})
			r, err := once(l, "7", "v", log.Synced)
			require.NoError(t, err, "%s %s", name, how)
			require.True(t, r.Duplicate)
			require.NoError(t, l.Close())
			if _, err := fs.Stat(dir + "/state.damaged-1"); err == nil {
				aside++
			}
		}
	}
	require.Greater(t, aside, 3)
}

func TestViewGoesOnWithoutTheOther(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	a, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	b, err := l.CreateTopic(ctx, "b", log.TopicOptions{})
	require.NoError(t, err)
	bad, err := l.Register(ctx, tally{"bad", []string{"b"}})
	require.NoError(t, err)
	good, err := l.Register(ctx, tally{"good", []string{"a"}})
	require.NoError(t, err)
	r, err := b.Append(ctx, log.Record{Key: []byte("k"), Value: []byte("poison")})
	require.NoError(t, err)
	_, err = a.Append(ctx, log.Record{Key: []byte("k"), Value: []byte("v")})
	require.NoError(t, err)
	_, _, err = bad.Get(ctx, []byte("k"))
	var ve *log.ViewError
	require.ErrorAs(t, err, &ve)
	require.ErrorIs(t, err, log.ErrState)
	require.Equal(t, "bad", ve.View)
	require.ErrorIs(t, bad.Wait(ctx, r.Position), log.ErrState)
	v, ok, err := good.Get(ctx, []byte("k"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Contains(t, string(v), "1 v ")
	require.Len(t, l.Metrics().Views, 2)
	require.NoError(t, l.Close())
	_, _, err = good.Get(ctx, []byte("k"))
	require.ErrorIs(t, err, log.ErrClosed)
}

// blind sets a key for each record, and reads nothing.
type blind struct{ tally }

func (v blind) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	for i := range c.Batches {
		for r, err := range c.Batches[i].Records() {
			if err != nil {
				return err
			}
			tx.Set(bytes.Clone(r.Key), []byte("there"))
		}
	}
	return nil
}

// TestDeadStateDerivesNothing: appends go on, and the views, which nothing can be stored of any more, do not grow.
func TestDeadStateDerivesNothing(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{Logger: quiet})
	a, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	v, err := l.Register(ctx, blind{tally{"v", []string{"a"}}})
	require.NoError(t, err)
	append100 := func(prefix string) (last log.Result) {
		for i := range 100 {
			last, err = a.Append(ctx, log.Record{Key: fmt.Append(nil, prefix, i), Value: []byte("v")})
			require.NoError(t, err)
		}
		return last
	}
	r := append100("alive")
	require.NoError(t, v.Wait(ctx, r.Position))
	before := l.LayerBytes()
	require.Positive(t, before)
	l.FailState(errors.New("disk"))
	r = append100("dead")
	require.ErrorIs(t, v.Wait(ctx, r.Position), log.ErrState)
	_, _, err = v.Get(ctx, []byte("alive1"))
	require.ErrorIs(t, err, log.ErrState)
	_, _, err = v.Get(ctx, []byte("dead1"))
	require.ErrorIs(t, err, log.ErrState)
	require.Equal(t, before, l.LayerBytes())
	_ = l.Close()
}

func TestRegisterRefuses(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	_, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	_, err = l.Register(ctx, tally{"no good", []string{"a"}})
	require.ErrorIs(t, err, log.ErrName)
	_, err = l.Register(ctx, tally{"v", []string{"a"}})
	require.NoError(t, err)
	var viewed *log.ViewedError
	require.ErrorAs(t, l.DeleteTopic(ctx, "a"), &viewed)
	require.Equal(t, log.ViewedError{Topic: "a", View: "v"}, *viewed)
	require.NoError(t, l.Close())
	_, err = l.Register(ctx, tally{"w", []string{"a"}})
	require.ErrorIs(t, err, log.ErrClosed)
}

func TestRegisterOtherTopics(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{})
	_, err := l.Register(ctx, tally{"v", []string{"a"}})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	l = open(t, fs, "data", log.Options{})
	_, err = l.Register(ctx, tally{"v", []string{"a", "b"}})
	var mismatch *log.MismatchError
	require.ErrorAs(t, err, &mismatch)
	require.Equal(t, log.MismatchError{Name: "v", Field: "topics", Have: "a", Want: "a,b"}, *mismatch)
	require.NoError(t, l.Close())
}

func TestViewWait(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	a, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	h, err := l.Register(ctx, tally{"v", []string{"a"}})
	require.NoError(t, err)
	next := l.Metrics().Written
	waited := make(chan error)
	go func() { waited <- h.Wait(ctx, next+1) }()
	c := l.NewCommit()
	c.Append(a, log.Record{Key: []byte("k"), Value: []byte("v")})
	c.Durability(log.Buffered)
	_, err = c.Commit(ctx)
	require.NoError(t, err)
	require.NoError(t, <-waited)
	require.GreaterOrEqual(t, h.Applied(), next+1)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, h.Wait(ended, next+100), context.Canceled)
	go func() { waited <- h.Wait(ctx, next+100) }()
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-waited, log.ErrClosed)
}

// TestViewIsNotAheadOfReaders looks at a view, and then reads the log: what the view has seen is there.
func TestViewIsNotAheadOfReaders(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{SyncInterval: -1})
	a, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	h, err := l.Register(ctx, tally{"v", []string{"a"}})
	require.NoError(t, err)
	const n = 3000
	wrote := make(chan error, 1)
	go func() {
		for range n {
			c := l.NewCommit()
			c.Durability(log.Written)
			c.Append(a, log.Record{Key: []byte("k"), Value: []byte("v")})
			if _, err := c.Commit(ctx); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	for at := int64(0); at < n; {
		seen, ok, err := h.Get(ctx, []byte("k"))
		require.NoError(t, err)
		if !ok {
			continue
		}
		count, err := strconv.ParseInt(strings.Fields(string(seen))[0], 10, 64)
		require.NoError(t, err)
		for r, err := range a.Partition(0).Read(log.AtOffset(at), log.ReadOptions{Unsynced: true}) {
			require.NoError(t, err)
			at = r.Offset + 1
		}
		require.GreaterOrEqual(t, at, count, "the view has seen more than readers see")
	}
	require.NoError(t, <-wrote)
	require.NoError(t, l.Close())
}
