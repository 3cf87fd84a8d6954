package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx   = context.Background()
	start = time.Unix(1_700_000_000, 0).UTC()
)

func openLog(t testing.TB, fs vfs.FS, c log.Clock) *log.Log {
	t.Helper()
	l, err := log.Open("data", log.Options{
		FS: fs, Clock: c, SyncInterval: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	require.NoError(t, err)
	return l
}

// newStore returns a store in a log in memory that is closed with the test.
func newStore(t testing.TB) (*aggregate.Store, *clock.Manual) {
	t.Helper()
	c := clock.NewManual(start)
	l := openLog(t, vfs.NewMem(), c)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return openStore(t, l), c
}

func openStore(t testing.TB, l *log.Log) *aggregate.Store {
	t.Helper()
	s, err := aggregate.Open(ctx, l, "events", aggregate.Options{})
	require.NoError(t, err)
	return s
}

func event(data string) aggregate.Event { return aggregate.Event{Type: "happened", Data: []byte(data)} }

func events(data ...string) []aggregate.Event {
	var list []aggregate.Event
	for _, d := range data {
		list = append(list, event(d))
	}
	return list
}

// load returns the events of a stream, as "version data".
func load(t testing.TB, s *aggregate.Store, stream string, o ...aggregate.LoadOptions) []string {
	t.Helper()
	list := []string{}
	for e, err := range s.Load(ctx, stream, o...) {
		require.NoError(t, err)
		require.Equal(t, stream, e.Stream)
		list = append(list, fmt.Sprintf("%d %s", e.Version, e.Data))
	}
	return list
}

func TestAppendExpects(t *testing.T) {
	s, _ := newStore(t)
	for _, tc := range []struct {
		name     string
		expected aggregate.Expected
		actual   uint64 // of the conflict; 0 at version 0
		conflict bool
		version  uint64
	}{
		{"exists", aggregate.Exists, 0, true, 0},
		{"at 1", aggregate.At(1), 0, true, 0},
		{"none yet", aggregate.NoStream, 0, false, 1},
		{"none yet, again", aggregate.NoStream, 1, true, 0},
		{"at 0", aggregate.At(0), 1, true, 0},
		{"at 1, now", aggregate.At(1), 0, false, 2},
		{"at 1, again", aggregate.At(1), 2, true, 0},
		{"at 3", aggregate.At(3), 2, true, 0},
		{"exists, now", aggregate.Exists, 0, false, 3},
		{"any", aggregate.Any, 0, false, 4},
		{"no version at all", aggregate.At(1 << 63), 4, true, 0},
	} {
		r, err := s.Append(ctx, "a-1", tc.expected, event(tc.name))
		if !tc.conflict {
			require.NoError(t, err, tc.name)
			require.Equal(t, []aggregate.Appended{{Stream: "a-1", First: tc.version, Version: tc.version}}, r.Streams, tc.name)
			require.Equal(t, tc.version, r.Version("a-1"))
			continue
		}
		var conflict *aggregate.VersionConflictError
		require.ErrorAs(t, err, &conflict, tc.name)
		require.ErrorIs(t, err, aggregate.ErrVersionConflict)
		require.Equal(t, &aggregate.VersionConflictError{Stream: "a-1", Expected: tc.expected, Actual: tc.actual}, conflict, tc.name)
	}
	require.Equal(t, []string{"1 none yet", "2 at 1, now", "3 exists, now", "4 any"}, load(t, s, "a-1"))
	_, err := s.Append(ctx, "b", aggregate.Any, event("any, none yet"))
	require.NoError(t, err)
	require.Equal(t, []string{"1 any, none yet"}, load(t, s, "b"))
}

// TestNaive_S13_TwoAppendsAtOneVersion makes two appends at version 7 at the same time, many times:
// exactly one happens, and the other is told what it met.
func TestNaive_S13_TwoAppendsAtOneVersion(t *testing.T) {
	s, _ := newStore(t)
	for round := range 50 {
		stream := fmt.Sprintf("race-%d", round)
		_, err := s.Append(ctx, stream, aggregate.NoStream, events("1", "2", "3", "4", "5", "6", "7")...)
		require.NoError(t, err)
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.Append(ctx, stream, aggregate.At(7), event(fmt.Sprint("by ", i))) })
		}
		wg.Wait()
		winner := slices.Index(errs, nil)
		require.NotEqual(t, -1, winner)
		var conflict *aggregate.VersionConflictError
		require.ErrorAs(t, errs[1-winner], &conflict)
		require.Equal(t, &aggregate.VersionConflictError{Stream: stream, Expected: aggregate.At(7), Actual: 8}, conflict)
		require.Equal(t, []string{fmt.Sprint("8 by ", winner)}, load(t, s, stream, aggregate.LoadOptions{From: 8}))
	}
}

func TestCommitSeveralStreams(t *testing.T) {
	s, _ := newStore(t)
	other, err := s.Log().CreateTopic(ctx, "mails", log.TopicOptions{})
	require.NoError(t, err)
	second, err := aggregate.Open(ctx, s.Log(), "ledger", aggregate.Options{Partitions: 3})
	require.NoError(t, err)

	transfer := func(from, to aggregate.Expected) (aggregate.Result, error) {
		return s.Commit(ctx, aggregate.Batch{
			Appends: []aggregate.Append{{"account-a", from, events("-10", "fee")}, {"account-b", to, events("+10")}, {Stream: "lock", Expected: aggregate.NoStream}},
			With: func(c *log.Commit) error {
				c.Append(other, log.Record{Value: []byte("mail")})
				_, err := second.Stage(ctx, c, "book", aggregate.Any, event("entry"))
				return err
			},
		})
	}
	r, err := transfer(aggregate.NoStream, aggregate.Any)
	require.NoError(t, err)
	require.Equal(t, []aggregate.Appended{{"account-a", 1, 2}, {"account-b", 1, 1}, {Stream: "lock"}}, r.Streams)

	_, err = transfer(aggregate.At(1), aggregate.Any)
	require.ErrorIs(t, err, aggregate.ErrVersionConflict)
	_, err = s.Append(ctx, "lock", aggregate.NoStream, event("locked"))
	require.NoError(t, err)
	_, err = transfer(aggregate.At(2), aggregate.Any)
	var conflict *aggregate.VersionConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, "lock", conflict.Stream)

	require.Equal(t, []string{"1 -10", "2 fee"}, load(t, s, "account-a"))
	require.Equal(t, []string{"1 +10"}, load(t, s, "account-b"))
	require.Equal(t, []string{"1 entry"}, load(t, second, "book"))
	require.EqualValues(t, 1, other.Partition(0).Next())

	// What With says ends it.
	stop := errors.New("stop")
	_, err = s.Commit(ctx, aggregate.Batch{
		Appends: []aggregate.Append{{"account-a", aggregate.Any, events("x")}},
		With:    func(*log.Commit) error { return stop },
	})
	require.ErrorIs(t, err, stop)
	require.Len(t, load(t, s, "account-a"), 2)

	// The same stream twice.
	r, err = s.Commit(ctx, aggregate.Batch{Appends: []aggregate.Append{{"twice", aggregate.Any, events("1")}, {"twice", aggregate.Exists, events("2")}, {"twice", aggregate.At(2), events("3")}}})
	require.NoError(t, err)
	require.Equal(t, []string{"1 1", "2 2", "3 3"}, load(t, s, "twice"))
	_, err = s.Commit(ctx, aggregate.Batch{Appends: []aggregate.Append{{"twice", aggregate.Any, events("4")}, {"twice", aggregate.At(9), events("5")}}})
	require.ErrorIs(t, err, aggregate.ErrVersionConflict)
}

func TestCommandHappensOnce(t *testing.T) {
	fs, c := vfs.NewMem(), clock.NewManual(start)
	l := openLog(t, fs, c)
	s := openStore(t, l)
	batch := func(data string) aggregate.Batch {
		return aggregate.Batch{
			Appends:   []aggregate.Append{{"cart-1", aggregate.At(1), events(data, data+"!")}, {"stock-1", aggregate.Any, events(data)}},
			CommandID: "buy",
		}
	}
	_, done, err := s.Done(ctx, "buy")
	require.NoError(t, err)
	require.False(t, done)
	_, err = s.Append(ctx, "cart-1", aggregate.NoStream, event("new"))
	require.NoError(t, err)
	first, err := s.Commit(ctx, batch("a"))
	require.NoError(t, err)
	require.False(t, first.Duplicate)
	_, err = s.Append(ctx, "cart-1", aggregate.Exists, event("later"))
	require.NoError(t, err)

	for range 2 {
		again, err := s.Commit(ctx, batch("b"))
		require.NoError(t, err)
		require.True(t, again.Duplicate)
		require.Equal(t, first.Streams, again.Streams)
		require.Equal(t, first.Position, again.Position)
		r, done, err := s.Done(ctx, "buy")
		require.NoError(t, err)
		require.True(t, done)
		require.Equal(t, first.Streams, r.Streams)
		require.Equal(t, first.Position, r.Position)
		require.NoError(t, l.Close())
		l = openLog(t, fs, c)
		s = openStore(t, l)
	}
	require.Equal(t, []string{"1 new", "2 a", "3 a!", "4 later"}, load(t, s, "cart-1"))
	require.Equal(t, []string{"1 a"}, load(t, s, "stock-1"))
	for e, err := range s.Load(ctx, "stock-1") {
		require.NoError(t, err)
		require.Equal(t, "buy", e.CommandID)
	}

	_, err = s.Commit(ctx, aggregate.Batch{Appends: []aggregate.Append{{"else", aggregate.Any, events("x")}}, CommandID: "buy"})
	require.ErrorIs(t, err, aggregate.ErrCommand)
	require.Empty(t, load(t, s, "else"))

	// A command may do nothing to streams, and is done all the same.
	nothing := aggregate.Batch{CommandID: "noop"}
	r, err := s.Commit(ctx, nothing)
	require.NoError(t, err)
	require.False(t, r.Duplicate)
	r, err = s.Commit(ctx, nothing)
	require.NoError(t, err)
	require.True(t, r.Duplicate)
	require.NoError(t, l.Close())
}

func TestEventFields(t *testing.T) {
	s, c := newStore(t)
	full := aggregate.Event{
		ID: "id-1", Type: "opened", Schema: 3, Time: start.Add(-time.Hour), CommandID: "cmd", CorrelationID: "corr",
		CausationID: "cause", Tenant: "acme", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		TraceState: "a=b", ContentType: "text/plain", Metadata: map[string]string{"user": "7", "empty": ""}, Data: []byte("hello"),
	}
	r, err := s.Append(ctx, "acc-1", aggregate.NoStream, full, aggregate.Event{Type: "bare"})
	require.NoError(t, err)
	c.Advance(time.Second)
	var got []aggregate.Event
	for e, err := range s.Load(ctx, "acc-1") {
		require.NoError(t, err)
		got = append(got, e.Clone())
	}
	want := full
	want.Stream, want.Version, want.Topic, want.Offset, want.Position = "acc-1", 1, "events", 0, got[0].Position
	require.Equal(t, want, got[0])
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, got[1].ID)
	require.Equal(t, start, got[1].Time)
	require.Nil(t, got[1].Data)
	require.Equal(t, r.Position, got[1].Position+1)

	// Readers of the topic meet ordinary records.
	var records []aggregate.Event
	var decoder aggregate.Decoder
	topic, err := s.Log().Topic("events")
	require.NoError(t, err)
	for rec, err := range topic.Read(log.Oldest) {
		require.NoError(t, err)
		require.Equal(t, "acc-1", string(rec.Key))
		e, err := aggregate.Decode(&rec)
		require.NoError(t, err)
		var same aggregate.Event
		require.NoError(t, decoder.Decode(&rec, &same))
		require.Equal(t, e, same)
		records = append(records, e.Clone())
	}
	require.Equal(t, got, records)
	rec, err := topic.Partition(0).Get(0)
	require.NoError(t, err)
	var names []string
	for _, h := range rec.Headers {
		names = append(names, h.Key+"="+string(h.Value))
	}
	require.Equal(t, []string{
		"strata-event-id=id-1", "strata-event-type=opened", "strata-event-version=1", "strata-event-schema=3",
		"strata-event-command=cmd", "strata-event-correlation=corr", "strata-event-causation=cause", "strata-event-tenant=acme",
		"content-type=text/plain", "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate=a=b",
		"empty=", "user=7",
	}, names)

	_, err = aggregate.Decode(&log.Record{Key: []byte("x")})
	require.ErrorIs(t, err, aggregate.ErrRecord)
	_, err = topic.Append(ctx, log.Record{Key: []byte("acc-1")})
	require.ErrorIs(t, err, log.ErrKind, "only a store appends to its topic")
	require.ErrorIs(t, s.Log().AlterTopic(ctx, "events", log.TopicOptions{Partitions: 2}), log.ErrKind, "a stream stays in its partition")
	require.ErrorIs(t, s.Log().DeleteTopic(ctx, "events"), log.ErrKind)
	require.ErrorIs(t, s.Log().DeleteTopicAs(ctx, aggregate.Kind, "events"), log.ErrViewed)
}

func TestInvalid(t *testing.T) {
	s, _ := newStore(t)
	for name, e := range map[string]aggregate.Event{
		"no type":           {},
		"schema":            {Type: "a", Schema: -1},
		"long type":         {Type: strings.Repeat("a", 1025)},
		"bad UTF-8":         {Type: "\xff"},
		"trace":             {Type: "a", TraceParent: "00"},
		"reserved metadata": {Type: "a", Metadata: map[string]string{"strata-event-type": "b"}},
		"named metadata":    {Type: "a", Metadata: map[string]string{"content-type": "b"}},
		"empty metadata":    {Type: "a", Metadata: map[string]string{"": "b"}},
	} {
		_, err := s.Append(ctx, "a", aggregate.Any, e)
		require.ErrorIs(t, err, aggregate.ErrInvalid, name)
	}
	for name, stream := range map[string]string{"empty": "", "zero": "a\x00b", "long": strings.Repeat("a", 1025), "bad UTF-8": "\xff"} {
		_, err := s.Append(ctx, stream, aggregate.Any, event("x"))
		require.ErrorIs(t, err, aggregate.ErrInvalid, name)
		_, err = s.Info(ctx, stream)
		require.ErrorIs(t, err, aggregate.ErrInvalid, name)
		for _, err := range s.Load(ctx, stream) {
			require.ErrorIs(t, err, aggregate.ErrInvalid, name)
		}
	}
	_, err := s.Append(ctx, "a", aggregate.Expected(-3), event("x"))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = s.Commit(ctx, aggregate.Batch{CommandID: strings.Repeat("a", 1025)})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	_, err = s.Append(ctx, "a", aggregate.Any)
	require.ErrorIs(t, err, log.ErrEmpty)
	_, err = aggregate.Open(ctx, s.Log(), "events", aggregate.Options{Partitions: 2})
	require.ErrorIs(t, err, log.ErrMismatch)
	_, err = s.Log().CreateTopic(ctx, "plain", log.TopicOptions{})
	require.NoError(t, err)
	_, err = aggregate.Open(ctx, s.Log(), "plain", aggregate.Options{})
	require.ErrorIs(t, err, log.ErrMismatch)
	require.Equal(t, []string{"events"}, aggregate.Stores(s.Log()))
}

func TestLoadRanges(t *testing.T) {
	s, c := newStore(t)
	// 150 events, by ones and threes, among those of another stream: pages begin within runs.
	var times []time.Time
	for v := 1; v <= 150; {
		n := 1 + 2*(v%2)
		var list []aggregate.Event
		for range n {
			list = append(list, event(fmt.Sprint("e", v)))
			times = append(times, start.Add(c.Now().Sub(start)))
			v++
		}
		_, err := s.Append(ctx, "a", aggregate.Exists, list...)
		if v-n == 1 {
			_, err = s.Append(ctx, "a", aggregate.NoStream, list...)
		}
		require.NoError(t, err)
		if v%5 < 2 {
			_, err = s.Append(ctx, "b", aggregate.Any, event("b"))
			require.NoError(t, err)
		}
		c.Advance(time.Millisecond)
	}
	all := load(t, s, "a")
	n := len(all)
	require.GreaterOrEqual(t, n, 150)
	for i := range all {
		require.Equal(t, fmt.Sprintf("%d e%d", i+1, i+1), all[i])
	}
	reversed := func(list []string) []string {
		list = slices.Clone(list)
		slices.Reverse(list)
		return list
	}
	for _, r := range [][2]int{{1, n}, {1, 1}, {2, 2}, {63, 66}, {64, 64}, {65, 128}, {128, 129}, {100, n}, {n, n}, {3, 147}} {
		o := aggregate.LoadOptions{From: uint64(r[0]), To: uint64(r[1])}
		want := all[r[0]-1 : r[1]]
		require.Equal(t, want, load(t, s, "a", o), r)
		o.Backward = true
		require.Equal(t, reversed(want), load(t, s, "a", o), r)
	}
	require.Empty(t, load(t, s, "a", aggregate.LoadOptions{From: uint64(n) + 1}))
	require.Empty(t, load(t, s, "a", aggregate.LoadOptions{From: 5, To: 4}))
	require.Equal(t, all[9:], load(t, s, "a", aggregate.LoadOptions{From: 10, To: 1000}))
	require.Empty(t, load(t, s, "none"))

	for _, v := range []int{1, 2, 64, 65, 150} {
		at := times[v-1]
		last := v
		for last < n && !times[last].After(at) {
			last++
		}
		require.Equal(t, all[:last], load(t, s, "a", aggregate.LoadOptions{Until: at}))
		require.Equal(t, reversed(all[:last]), load(t, s, "a", aggregate.LoadOptions{Until: at, Backward: true}))
		got, err := s.VersionAt(ctx, "a", at)
		require.NoError(t, err)
		require.EqualValues(t, last, got)
	}
	require.Empty(t, load(t, s, "a", aggregate.LoadOptions{Until: start.Add(-1), Backward: true}))
	var positions []uint64
	for e, err := range s.Load(ctx, "a") {
		require.NoError(t, err)
		positions = append(positions, e.Position)
	}
	require.True(t, slices.IsSorted(positions))
	require.Equal(t, all[:70], load(t, s, "a", aggregate.LoadOptions{Before: positions[70]}))
	require.Equal(t, reversed(all[20:70]), load(t, s, "a", aggregate.LoadOptions{From: 21, Before: positions[70], Backward: true}))

	last, err := s.Last(ctx, "a")
	require.NoError(t, err)
	require.EqualValues(t, n, last.Version)
	_, err = s.Last(ctx, "none")
	require.ErrorIs(t, err, aggregate.ErrNoStream)
}

func TestLoadWaitsForSync(t *testing.T) {
	s, _ := newStore(t)
	written := func(data string) {
		_, err := s.Commit(ctx, aggregate.Batch{
			Appends: []aggregate.Append{{"a", aggregate.Any, events(data)}},
			With:    func(c *log.Commit) error { c.Durability(log.Written); return nil },
		})
		require.NoError(t, err)
	}
	written("1")
	require.EqualValues(t, 0, s.Log().Metrics().Synced-s.Log().Position())
	before := s.Log().Position()
	require.Equal(t, []string{"1 1"}, load(t, s, "a", aggregate.LoadOptions{Unsynced: true}))
	require.Equal(t, before, s.Log().Position(), "nothing was synced for it")
	require.Equal(t, []string{"1 1"}, load(t, s, "a"))
	require.Greater(t, s.Log().Position(), before)
}

func TestTruncateAndTombstone(t *testing.T) {
	fs, c := vfs.NewMem(), clock.NewManual(start)
	l := openLog(t, fs, c)
	s := openStore(t, l)
	for v := range 200 {
		_, err := s.Append(ctx, "a", aggregate.At(uint64(v)), event("x"))
		require.NoError(t, err)
	}
	check := func(first, version uint64) {
		t.Helper()
		list := load(t, s, "a")
		require.Len(t, list, int(version-first+1))
		if first <= version {
			require.Equal(t, fmt.Sprintf("%d x", first), list[0])
			back := load(t, s, "a", aggregate.LoadOptions{Backward: true})
			require.Equal(t, list[0], back[len(back)-1])
		}
		i, err := s.Info(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, aggregate.Info{Stream: "a", Version: version, First: first}, i)
		require.EqualValues(t, len(list), i.Events())
	}
	for _, before := range []uint64{0, 1, 2, 64, 65, 66, 10, 150} {
		require.NoError(t, s.TruncateBefore(ctx, "a", before))
		check(max(1, before), 200)
		if before == 10 {
			t.Fatal("unreachable: 10 lies before 66")
		}
		if before == 66 {
			break
		}
	}
	require.NoError(t, s.TruncateBefore(ctx, "a", 10))
	check(66, 200)
	require.ErrorIs(t, require1(l, s.Truncate("a", aggregate.At(199), 100)), aggregate.ErrVersionConflict)
	check(66, 200)
	require.NoError(t, require1(l, s.Truncate("a", aggregate.At(200), 1000)))
	check(201, 200)
	_, err := s.Append(ctx, "a", aggregate.At(200), event("x"))
	require.NoError(t, err)
	check(201, 201)

	// Together with an append, as when books are closed.
	_, err = s.Commit(ctx, aggregate.Batch{
		Appends: []aggregate.Append{{"a", aggregate.At(201), events("x")}},
		With:    func(c *log.Commit) error { c.Require(s.Truncate("a", aggregate.At(202), 202)); return nil },
	})
	require.NoError(t, err)
	check(202, 202)
	require.NoError(t, s.TruncateBefore(ctx, "none", 5))
	_, err = s.Info(ctx, "none")
	require.ErrorIs(t, err, aggregate.ErrNoStream)

	require.ErrorIs(t, s.End(ctx, "a", aggregate.At(1)), aggregate.ErrVersionConflict)
	require.NoError(t, s.End(ctx, "a", aggregate.At(202)))
	require.NoError(t, s.End(ctx, "never", aggregate.Any))
	for range 2 {
		for _, stream := range []string{"a", "never"} {
			_, err = s.Append(ctx, stream, aggregate.Any, event("x"))
			var dead *aggregate.TombstoneError
			require.ErrorAs(t, err, &dead)
			require.Equal(t, stream, dead.Stream)
			_, err = s.Append(ctx, stream, aggregate.NoStream, event("x"))
			require.ErrorIs(t, err, aggregate.ErrTombstone)
			for _, err := range s.Load(ctx, stream) {
				require.ErrorIs(t, err, aggregate.ErrTombstone)
			}
			require.ErrorIs(t, s.End(ctx, stream, aggregate.Any), aggregate.ErrTombstone)
			i, err := s.Info(ctx, stream)
			require.NoError(t, err)
			require.True(t, i.Tombstone)
		}
		require.NoError(t, l.Close())
		l = openLog(t, fs, c)
		s = openStore(t, l)
	}
	require.NoError(t, l.Close())
}

// require1 commits one condition.
func require1(l *log.Log, c log.Condition) error {
	commit := l.NewCommit()
	commit.Require(c)
	_, err := commit.Commit(ctx)
	return err
}

func TestListStreams(t *testing.T) {
	s, _ := newStore(t)
	for _, name := range []string{"order-2", "order-10", "order-1", "order", "orders-1", "customer-1", "x-a-b", "order.old", "ж-1"} {
		_, err := s.Append(ctx, name, aggregate.NoStream, event("x"))
		require.NoError(t, err)
	}
	require.NoError(t, s.End(ctx, "order-2", aggregate.Any))
	names := func(seq func(func(aggregate.Info, error) bool)) []string {
		list := []string{}
		for i, err := range seq {
			require.NoError(t, err)
			list = append(list, i.Stream)
		}
		return list
	}
	require.Equal(t, []string{"customer-1", "order", "order-1", "order-10", "order-2", "order.old", "orders-1", "x-a-b", "ж-1"}, names(s.Streams(ctx, "")))
	require.Equal(t, []string{"order-1", "order-10"}, names(s.Streams(ctx, "order-1")))
	require.Empty(t, names(s.Streams(ctx, "zzz")))
	require.Equal(t, []string{"order", "order-1", "order-10", "order-2"}, names(s.Category(ctx, "order")))
	require.Equal(t, []string{"x-a-b"}, names(s.Category(ctx, "x")))
	require.Empty(t, names(s.Category(ctx, "none")))
	require.Empty(t, names(s.Category(ctx, "x-a")), "x-a-b is in the category x")
	for _, err := range s.Category(ctx, "") {
		require.ErrorIs(t, err, aggregate.ErrInvalid)
	}
	categories, err := s.Categories(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"customer", "order", "order.old", "orders", "x", "ж"}, categories)
}

// TestWithAsksForAnotherVersion appends to a stream at any version, in a commit that also asks for another
// version of that stream: this is a conflict, and not tried for ever.
func TestWithAsksForAnotherVersion(t *testing.T) {
	s, _ := newStore(t)
	_, err := s.Append(ctx, "a", aggregate.NoStream, events("1", "2")...)
	require.NoError(t, err)
	for _, expected := range []aggregate.Expected{aggregate.At(1), aggregate.At(2), aggregate.At(7)} {
		calls := 0
		_, err = s.Commit(ctx, aggregate.Batch{
			Appends: []aggregate.Append{{"a", aggregate.Any, events("3")}},
			With: func(c *log.Commit) error {
				calls++
				c.Require(s.Expect("a", expected))
				return nil
			},
		})
		var conflict *aggregate.VersionConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, aggregate.VersionConflictError{Stream: "a", Expected: expected, Actual: 3}, *conflict)
		require.Equal(t, 2, calls)
	}
	_, err = s.Commit(ctx, aggregate.Batch{
		Appends: []aggregate.Append{{"a", aggregate.Any, events("3")}},
		With:    func(c *log.Commit) error { c.Require(s.Expect("a", aggregate.At(3))); return nil },
	})
	require.NoError(t, err, "conditions of With are answered behind the appends")
}

// TestRebuild derives the index again from the log, and compares all keys and values.
func TestRebuild(t *testing.T) {
	fs, c := vfs.NewMem(), clock.NewManual(start)
	l := openLog(t, fs, c)
	s, err := aggregate.Open(ctx, l, "events", aggregate.Options{Partitions: 3})
	require.NoError(t, err)
	for i := range 300 {
		stream := fmt.Sprintf("s-%d", i%7)
		_, err := s.Commit(ctx, aggregate.Batch{
			Appends:   []aggregate.Append{{stream, aggregate.Any, events("a", "b")}, {"all", aggregate.Any, events("c")}},
			CommandID: fmt.Sprint("cmd-", i%290),
		})
		if i%290 < 10 && i >= 290 {
			require.ErrorIs(t, err, aggregate.ErrCommand)
			continue
		}
		require.NoError(t, err)
	}
	require.NoError(t, s.TruncateBefore(ctx, "s-3", 70))
	require.NoError(t, s.End(ctx, "s-4", aggregate.Any))
	before := dumpView(t, l)
	require.Greater(t, len(before), 15)
	require.NoError(t, l.Close())
	require.NoError(t, fs.RemoveAll("data/state"))
	l = openLog(t, fs, c)
	s = openStore(t, l)
	require.Equal(t, before, dumpView(t, l))
	require.Len(t, load(t, s, "s-0"), 84)
	require.NoError(t, l.Close())
}

func dumpView(t testing.TB, l *log.Log) []string {
	h, err := l.Register(ctx, aggregate.View("events"))
	require.NoError(t, err)
	var list []string
	for kv, err := range h.Scan(ctx, nil, nil) {
		require.NoError(t, err)
		list = append(list, fmt.Sprintf("%q %x", kv.Key, kv.Value))
	}
	return list
}

func TestReadOnly(t *testing.T) {
	fs, c := vfs.NewMem(), clock.NewManual(start)
	l := openLog(t, fs, c)
	s := openStore(t, l)
	_, err := s.Append(ctx, "a", aggregate.NoStream, events("1", "2")...)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = s.Append(ctx, "a", aggregate.Any, event("x"))
	require.ErrorIs(t, err, log.ErrClosed)
	ro, err := log.Open("data", log.Options{FS: fs, Clock: c, ReadOnly: true})
	require.NoError(t, err)
	reader, err := aggregate.Open(ctx, ro, "events", aggregate.Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"1 1", "2 2"}, load(t, reader, "a"))
	require.Equal(t, []string{"2 2", "1 1"}, load(t, reader, "a", aggregate.LoadOptions{Backward: true}))
	_, err = reader.Append(ctx, "a", aggregate.At(3), event("4"))
	require.ErrorIs(t, err, log.ErrReadOnly)
	_, err = aggregate.Open(ctx, ro, "none", aggregate.Options{})
	require.ErrorIs(t, err, log.ErrNoTopic)
	_, err = aggregate.Open(ctx, ro, "events", aggregate.Options{Partitions: 2})
	var other *log.MismatchError
	require.ErrorAs(t, err, &other)
	require.Equal(t, log.MismatchError{Name: "events", Field: "partitions", Have: "1", Want: "2"}, *other)
	require.NoError(t, ro.Close())
}
