package timer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx   = context.Background()
	start = time.Unix(1_700_000_000, 0).UTC()
)

// open opens a log and its timers.
func open(t testing.TB, fs vfs.FS, c log.Clock) (*log.Log, *timer.Timers) {
	t.Helper()
	l, err := log.Open("data", log.Options{
		FS: fs, Clock: c, SyncInterval: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	require.NoError(t, err)
	ts, err := timer.Open(ctx, l)
	require.NoError(t, err)
	return l, ts
}

// hold commits conditions that must hold.
func hold(t testing.TB, l *log.Log, conditions ...log.Condition) log.Result {
	t.Helper()
	r, err := commit(l, conditions...)
	require.NoError(t, err)
	return r
}

func commit(l *log.Log, conditions ...log.Condition) (log.Result, error) {
	c := l.NewCommit()
	c.Require(conditions...)
	return c.Commit(ctx)
}

// list returns what is set, a line each.
func list(t testing.TB, ts *timer.Timers, owner string) string {
	t.Helper()
	var out strings.Builder
	counts := map[string]int{}
	for d, err := range ts.List(ctx, owner) {
		require.NoError(t, err)
		fmt.Fprintf(&out, "%s/%s +%v %s\n", d.Owner, d.ID, d.Due.Sub(start), d.Payload)
		counts[d.Owner]++
		got, ok, err := ts.Get(ctx, d.Owner, d.ID)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, d.Due, got.Due)
		require.Equal(t, d.Position, got.Position)
		require.Equal(t, string(d.Payload), string(got.Payload))
	}
	for o, n := range counts {
		have, err := ts.Count(ctx, o)
		require.NoError(t, err)
		require.Equal(t, n, have, o)
	}
	return out.String()
}

// TestConditions sets, replaces, cancels and fires, alone and several in one commit.
func TestConditions(t *testing.T) {
	l, ts := open(t, vfs.NewMem(), clock.NewManual(start))
	defer func() { require.NoError(t, l.Close()) }()
	again, err := timer.Open(ctx, l)
	require.NoError(t, err)
	require.Same(t, ts, again)

	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	hold(t, l,
		timer.Set("a", "x", at(3), []byte("one")), timer.Set("a", "y", at(1), nil),
		timer.Set("b", "x", at(2), []byte("other")), timer.Set("a", "z", at(2).Add(1), nil))
	require.Equal(t, "a/y +1s \na/z +2.000001s \na/x +3s one\nb/x +2s other\n", list(t, ts, ""))
	next, ok, err := ts.Next(ctx, "b")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "other", string(next.Payload))
	_, ok, err = ts.Next(ctx, "c")
	require.NoError(t, err)
	require.False(t, ok)
	_, ok, err = ts.Get(ctx, "b", "y")
	require.NoError(t, err)
	require.False(t, ok)

	// An id that is set again is another timer, also when it is due at the same time.
	old, _, err := ts.Get(ctx, "a", "x")
	require.NoError(t, err)
	hold(t, l, timer.Set("a", "x", at(3), []byte("two")))
	refused := func(err error, want timer.NotSetError) {
		t.Helper()
		var e *timer.NotSetError
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, timer.ErrNotSet)
		require.Equal(t, want, *e)
	}
	_, err = commit(l, timer.Cancel("a", "y"), timer.Fire(old))
	refused(err, timer.NotSetError{Owner: "a", ID: "x", Due: at(3), Now: at(3)})
	require.Equal(t, "a/y +1s \na/z +2.000001s \na/x +3s two\n", list(t, ts, "a"), "nothing of a refused commit happens")

	x, _, err := ts.Get(ctx, "a", "x")
	require.NoError(t, err)
	_, err = commit(l, timer.Fire(x), timer.Fire(x))
	refused(err, timer.NotSetError{Owner: "a", ID: "x", Due: at(3)})
	hold(t, l, timer.Fire(x), timer.Set("a", "x", at(9), nil), timer.Cancel("a", "y"), timer.Cancel("a", "none"))
	_, err = commit(l, timer.Fire(x))
	refused(err, timer.NotSetError{Owner: "a", ID: "x", Due: at(3), Now: at(9)})
	require.Contains(t, err.Error(), `"x" of "a"`)
	require.Equal(t, "a/z +2.000001s \na/x +9s \n", list(t, ts, "a"))

	// The same id twice in a commit: the later one stands.
	hold(t, l, timer.Set("a", "x", at(5), []byte("early")), timer.Set("a", "x", at(6), []byte("late")))
	hold(t, l, timer.Set("a", "q", at(5), []byte("1")), timer.Set("a", "q", at(5), []byte("2")))
	hold(t, l, timer.Set("a", "z", time.Time{}, nil), timer.Set("b", "p", at(1), nil), timer.Cancel("b", "p"))
	want := fmt.Sprintf("a/z +%v \na/q +5s 2\na/x +6s late\n", time.Unix(0, 0).Sub(start))
	require.Equal(t, want, list(t, ts, "a"))
	require.Equal(t, "b/x +2s other\n", list(t, ts, "b"))
}

// TestInvalid refuses what cannot be a timer.
func TestInvalid(t *testing.T) {
	l, ts := open(t, vfs.NewMem(), clock.NewManual(start))
	defer func() { require.NoError(t, l.Close()) }()
	for _, c := range []log.Condition{
		timer.Set("", "x", start, nil), timer.Set("a", "", start, nil), timer.Set("a b", "x", start, nil),
		timer.Set(strings.Repeat("a", timer.MaxOwnerBytes+1), "x", start, nil),
		timer.Cancel("a", strings.Repeat("x", timer.MaxIDBytes+1)),
		timer.Set("a", "x", start, make([]byte, timer.MaxPayloadBytes+1)),
		timer.Fire(timer.Timer{}),
	} {
		_, err := commit(l, c)
		require.ErrorIs(t, err, timer.ErrInvalid, "%q", c.Key)
		var e *timer.InvalidError
		require.ErrorAs(t, err, &e)
		require.NotEmpty(t, e.Reason)
	}
	_, err := commit(l, log.Condition{View: "__strata.timers", Kind: 9, Key: []byte("a\x00b")})
	require.ErrorIs(t, err, log.ErrCondition)
	_, _, err = ts.Get(ctx, "a", "")
	require.ErrorIs(t, err, timer.ErrInvalid)
	_, _, err = ts.Next(ctx, "")
	require.ErrorIs(t, err, timer.ErrInvalid)
	_, err = ts.Handle("a\x00", nil)
	require.ErrorIs(t, err, timer.ErrInvalid)
	for _, err := range ts.List(ctx, "no spaces") {
		require.ErrorIs(t, err, timer.ErrInvalid)
	}
	// The largest that can be, with an id of any bytes.
	hold(t, l, timer.Set(strings.Repeat("a", timer.MaxOwnerBytes), "\x00"+strings.Repeat("\xff", timer.MaxIDBytes-1), start,
		make([]byte, timer.MaxPayloadBytes)))
	n := 0
	for d, err := range ts.List(ctx, "") {
		require.NoError(t, err)
		require.Len(t, d.ID, timer.MaxIDBytes)
		n++
	}
	require.Equal(t, 1, n)
}

// firing is a handler that fires, and tells what.
type firing struct {
	l     *log.Log
	fired chan timer.Timer
}

func newFiring(l *log.Log) *firing { return &firing{l, make(chan timer.Timer, 10_000)} }

func (f *firing) handle(ctx context.Context, due []timer.Timer) error {
	now := f.l.Now()
	c := f.l.NewCommit()
	for _, d := range due {
		if d.Due.After(now) {
			panic("fired early")
		}
		c.Require(timer.Fire(d))
	}
	if _, err := c.Commit(ctx); err != nil {
		return err
	}
	for _, d := range due {
		f.fired <- d
	}
	return nil
}

func (f *firing) next(t testing.TB, id string) {
	t.Helper()
	select {
	case d := <-f.fired:
		require.Equal(t, id, d.ID)
	case <-time.After(time.Minute):
		t.Fatalf("%s did not fire", id)
	}
}

// TestHandle fires what is due in order, what was set before and after Handle, what is set for an
// earlier time than what is waited for, and what is overdue.
func TestHandle(t *testing.T) {
	c := clock.NewManual(start)
	l, ts := open(t, vfs.NewMem(), c)
	defer func() { require.NoError(t, l.Close()) }()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	hold(t, l, timer.Set("a", "before", at(10), nil), timer.Set("other", "x", at(0), nil))
	f := newFiring(l)
	stop, err := ts.Handle("a", f.handle)
	require.NoError(t, err)
	_, err = ts.Handle("a", f.handle)
	require.ErrorIs(t, err, timer.ErrHandled)
	hold(t, l, timer.Set("a", "after", at(20), nil))
	hold(t, l, timer.Set("a", "earlier", at(5), nil))
	hold(t, l, timer.Set("a", "overdue", at(-5), nil))
	f.next(t, "overdue")
	c.Advance(4 * time.Second)
	hold(t, l, timer.Set("a", "now", at(4), nil))
	f.next(t, "now")
	c.Advance(time.Second)
	f.next(t, "earlier")
	c.Advance(15 * time.Second)
	f.next(t, "before")
	f.next(t, "after")

	// Cancelled and moved ones.
	hold(t, l, timer.Set("a", "x", at(30), nil), timer.Set("a", "y", at(30), nil), timer.Set("a", "z", at(31), nil))
	hold(t, l, timer.Cancel("a", "x"), timer.Set("a", "y", at(35), nil))
	c.Advance(30 * time.Second)
	f.next(t, "z")
	f.next(t, "y")

	// After stop nothing fires, until there is a handler again.
	stop()
	stop()
	hold(t, l, timer.Set("a", "left", at(0), nil))
	require.Equal(t, "a/left +0s \nother/x +0s \n", list(t, ts, ""))
	_, err = ts.Handle("a", f.handle)
	require.NoError(t, err)
	f.next(t, "left")
	require.Empty(t, f.fired)
	require.Equal(t, "other/x +0s \n", list(t, ts, ""))
}

// TestFailures has a handler fail for some timers: the others of the same owner fire, and those that
// failed are given again, ever later, until they fire or are cancelled.
func TestFailures(t *testing.T) {
	c := clock.NewManual(start)
	l, ts := open(t, vfs.NewMem(), c)
	defer func() { require.NoError(t, l.Close()) }()
	var conditions []log.Condition
	for i := range 600 {
		conditions = append(conditions, timer.Set("a", fmt.Sprintf("id-%03d", i), start, nil))
	}
	hold(t, l, conditions...)
	fired, tried := make(chan string, 1000), make(chan string, 1000)
	broken := errors.New("broken")
	_, err := ts.HandleEach("a", func(_ context.Context, c *log.Commit, due timer.Timer) error {
		if strings.HasSuffix(due.ID, "07") {
			tried <- due.ID
			return broken
		}
		fired <- due.ID
		return nil
	})
	require.NoError(t, err)
	for range 594 {
		<-fired
	}
	for range 12 { // within the batch, and alone
		<-tried
	}
	waitFor(t, func() bool {
		n, err := ts.Count(ctx, "a")
		require.NoError(t, err)
		return n == 6
	})
	hold(t, l, timer.Cancel("a", "id-107"), timer.Set("a", "id-207", start.Add(time.Hour), nil))
	require.Empty(t, tried, "not before the clock moves")
	waitFor(t, func() bool { c.Advance(100 * time.Millisecond); return len(tried) >= 12 })
	for len(tried) > 0 {
		id := <-tried
		require.NotEqual(t, "id-107", id)
		require.NotEqual(t, "id-207", id)
	}
	require.Empty(t, fired)

	// A handler that returns nil and leaves a timer set is called again too.
	calls := make(chan int, 100)
	_, err = ts.Handle("b", func(context.Context, []timer.Timer) error { calls <- 1; return nil })
	require.NoError(t, err)
	hold(t, l, timer.Set("b", "x", start, nil))
	<-calls
	waitFor(t, func() bool { c.Advance(time.Second); return len(calls) > 2 })
}

// waitFor waits until ok is true.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatal("did not come true within a minute")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestReadOnly looks at timers beside the one who sets them.
func TestReadOnly(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := open(t, fs, clock.NewManual(start))
	defer func() { require.NoError(t, l.Close()) }()
	hold(t, l, timer.Set("a", "x", start, []byte("p")))
	hold(t, l, timer.Cancel("a", "y")) // tells a reader that the one before it is durable
	r, err := log.Open("data", log.Options{FS: fs, ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	ts, err := timer.Open(ctx, r)
	require.NoError(t, err)
	require.Equal(t, "a/x +0s p\n", list(t, ts, ""))
	_, err = ts.Handle("a", nil)
	require.ErrorIs(t, err, log.ErrReadOnly)
}

// TestClosed refuses handlers behind Close, which waits for the one that runs.
func TestClosed(t *testing.T) {
	l, ts := open(t, vfs.NewMem(), clock.NewManual(start))
	called, ended := make(chan struct{}), make(chan struct{})
	_, err := ts.Handle("a", func(ctx context.Context, _ []timer.Timer) error {
		close(called)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	})
	require.NoError(t, err)
	hold(t, l, timer.Set("a", "x", start, nil))
	<-called
	require.NoError(t, l.Close())
	select {
	case <-ended:
	default:
		t.Fatal("Close did not wait for the handler")
	}
	_, err = ts.Handle("b", nil)
	require.ErrorIs(t, err, log.ErrClosed)
	_, err = timer.Open(ctx, l)
	require.ErrorIs(t, err, log.ErrClosed)
}
