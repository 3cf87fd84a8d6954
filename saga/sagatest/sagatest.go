// Package sagatest tests definitions of sagas: under a clock that is moved, with a crash at every commit, and
// with the events of a saga in every order.
package sagatest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

// Clock is a clock that stands still until Advance moves it. Give it to log.Options.
type Clock = clock.Manual

// NewClock returns a clock that stands at a fixed time.
func NewClock() *Clock { return clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) }

// Open opens a log in memory, under the clock, which is closed when the test ends.
func Open(t testing.TB, c *Clock) *log.Log { return open(t, vfs.NewMem(), c) }

func open(t testing.TB, fs vfs.FS, c *Clock) *log.Log {
	t.Helper()
	l, err := log.Open("data", log.Options{FS: fs, Clock: c, SyncInterval: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatalf("sagatest: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// patience is how long Settle waits for instances, by the system's clock.
const patience = 30 * time.Second

// Settle runs r until no instance is running or compensating: each is final or parked. It moves the clock
// on, from timer to timer, so that retries and deadlines come at once.
func Settle(t testing.TB, r *saga.Runner, c *Clock, o ...saga.RunOption) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, o...) }()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		busy, next, err := unsettled(ctx, r)
		if err != nil || ctx.Err() != nil {
			cancel()
			t.Fatalf("sagatest: instances have not settled: %v", errors.Join(err, <-done))
		}
		if busy == 0 {
			cancel()
			if err := <-done; err != nil {
				t.Fatalf("sagatest: %v", err)
			}
			return
		}
		if !next.IsZero() {
			c.Advance(max(next.Sub(r.Now()), 0) + time.Millisecond)
		}
		<-look.C
	}
}

// unsettled returns how many instances have something to do, and, when all of these wait, when the first
// one goes on.
func unsettled(ctx context.Context, r *saga.Runner) (busy int, next time.Time, err error) {
	waiting := true
	for in, err := range r.List(ctx, "", 0) {
		if err != nil {
			return 0, next, err
		}
		if in.Status.Final() || in.Status == saga.Parked {
			continue
		}
		busy++
		waiting = waiting && in.Waiting
		if !in.Next.IsZero() && (next.IsZero() || in.Next.Before(next)) {
			next = in.Next
		}
	}
	if !waiting {
		next = time.Time{}
	}
	return busy, next, nil
}

// World makes the definitions anew for a log, as a program does when it starts.
type World func(l *log.Log) ([]saga.Def, error)

// Crash runs a saga once for each of its commits, cuts the power right behind that commit, and runs what is
// left on the disk to its end. begin starts instances; check looks at each outcome. What actions do elsewhere
// outlives the crash, since it is not in the log; begin is called before each run, and may reset it. It
// returns how many crashes there were.
func Crash(t testing.TB, world World, begin func(*saga.Runner) error, check func(testing.TB, *log.Log, *saga.Runner)) (crashes int) {
	t.Helper()
	for n := int64(1); ; n++ {
		fs, c := vfs.NewCrashableMem(), NewClock()
		l := open(t, fs, c)
		r := runner(t, l, world)
		if err := begin(r); err != nil {
			t.Fatalf("sagatest: %v", err)
		}
		var image *vfs.MemFS
		var commits atomic.Int64
		Settle(t, r, c, saga.Workers(1), saga.Observe(func(saga.Instance, []saga.Event) {
			if commits.Add(1) == n {
				image = fs.CrashClone(vfs.CrashCloneCfg{})
			}
		}))
		_ = l.Close()
		if commits.Load() < n {
			return crashes
		}
		crashes++
		l = open(t, image, c)
		r = runner(t, l, world)
		Settle(t, r, c)
		check(t, l, r)
		_ = l.Close()
	}
}

func runner(t testing.TB, l *log.Log, world World) *saga.Runner {
	t.Helper()
	defs, err := world(l)
	if err != nil {
		t.Fatalf("sagatest: %v", err)
	}
	r, err := saga.NewRunner(l, defs...)
	if err != nil {
		t.Fatalf("sagatest: %v", err)
	}
	return r
}

// maxOrders is how many orders Orders tries.
const maxOrders = 5040

// Orders folds the events of one instance in every order, or in the first 5,040, each also with one event
// repeated, and fails the test when two give another status, state or multiset of emitted records.
func Orders(t testing.TB, d saga.Def, id string, events ...log.Record) (orders int) {
	t.Helper()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first, firstOrder := "", ""
	permute(slices.Clone(events), 0, func(order []log.Record) bool {
		orders++
		repeated := append(slices.Clone(order), order[orders%len(order)])
		in, emitted, err := saga.Fold(d, id, now, repeated...)
		if err != nil {
			t.Fatalf("sagatest: %v", err)
		}
		var out []string
		for _, r := range emitted {
			out = append(out, fmt.Sprintf("%q=%q", r.Key, r.Value))
		}
		slices.Sort(out)
		got := fmt.Sprintf("%v, state %s, emitted %v", in.Status, in.State, out)
		if first == "" {
			first, firstOrder = got, text(order)
		}
		if got != first {
			t.Errorf("sagatest: the order of events matters\n%s: %s\n%s: %s", firstOrder, first, text(order), got)
			return false
		}
		return orders < maxOrders
	})
	return orders
}

func text(order []log.Record) string {
	var parts []string
	for _, r := range order {
		parts = append(parts, fmt.Sprintf("%.40q", r.Value))
	}
	return strings.Join(parts, " ")
}

// permute calls f with every order of list[from:], until f returns false.
func permute(list []log.Record, from int, f func([]log.Record) bool) bool {
	if from >= len(list)-1 {
		return len(list) == 0 || f(list)
	}
	for i := from; i < len(list); i++ {
		list[from], list[i] = list[i], list[from]
		more := permute(list, from+1, f)
		list[from], list[i] = list[i], list[from]
		if !more {
			return false
		}
	}
	return true
}
