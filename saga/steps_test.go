package saga_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
	"github.com/stratalog/strata/timer"
)

// TestSteps runs a saga through: its history is what it says, a repeated Start does nothing, and records
// of the actions are there.
func TestSteps(t *testing.T) {
	l := inMemory(t)
	mails, err := l.CreateTopic(ctx, "mails", log.TopicOptions{})
	require.NoError(t, err)
	b := newLedger()
	r := newRunner(t, l, saga.Define[order]("order").
		Step("reserve", b.does("reserve"), b.does("release")).
		Step("pay", b.does("pay"), b.does("refund")).
		Step("ship", func(_ context.Context, o *order, t *saga.Task) error {
			t.Emit(mails, log.Record{Value: []byte("shipped " + o.Item)})
			return nil
		}, nil, saga.Pivot()))
	require.NoError(t, r.Start(ctx, "7", order{Item: "book"}))
	require.NoError(t, r.Start(ctx, "7", order{Item: "another"}))
	running(t, r)
	in := settled(t, r.Store, "order", "7")
	require.Equal(t, saga.Completed, in.Status)
	o, err := saga.State[order](&in)
	require.NoError(t, err)
	require.Equal(t, order{"book", []string{"reserve", "pay"}}, o)
	require.Equal(t, []string{
		"started", "intended reserve", "done reserve", "intended pay", "done pay", "intended ship", "done ship", "completed",
	}, history(t, r.Store, "order", "7"))
	require.Equal(t, []string{"order/7/reserve", "order/7/pay"}, b.keys())
	n := 0
	for rec, err := range mails.Read(log.Oldest) {
		require.NoError(t, err)
		require.Equal(t, "shipped book", string(rec.Value))
		n++
	}
	require.Equal(t, 1, n)
	counts, err := r.Count(ctx, "order")
	require.NoError(t, err)
	require.Equal(t, map[saga.Status]int{saga.Completed: 1}, counts)
}

// TestCompensation fails the last step: what was done is undone, the last one first, and what a failed
// attempt emitted is nowhere.
func TestCompensation(t *testing.T) {
	l := inMemory(t)
	topic, err := l.CreateTopic(ctx, "out", log.TopicOptions{})
	require.NoError(t, err)
	b := newLedger()
	tries := atomic.Int32{}
	r := newRunner(t, l, saga.Define[order]("order").
		Step("reserve", b.does("reserve"), b.does("release")).
		Step("look", func(context.Context, *order, *saga.Task) error { return nil }, nil, saga.NoUndo()).
		Step("pay", b.does("pay"), b.does("refund")).
		Step("ship", func(_ context.Context, _ *order, t *saga.Task) error {
			tries.Add(1)
			t.Emit(topic, log.Record{Value: []byte("never")})
			return errBroken
		}, nil, saga.Pivot(), saga.RetryPolicy(quick)))
	running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{Item: "book"}))
	in := settled(t, r.Store, "order", "7")
	require.Equal(t, saga.Compensated, in.Status)
	require.Equal(t, "ship: out of order", in.Cause)
	require.EqualValues(t, 3, tries.Load())
	require.Equal(t, []string{"order/7/reserve", "order/7/pay", "order/7/pay/undo", "order/7/reserve/undo"}, b.keys())
	require.EqualValues(t, 0, topic.Partition(0).Next())
	require.Equal(t, 3, in.StepState("ship").Attempts)
	require.Equal(t, saga.Undone, in.StepState("pay").Phase)
}

// TestFinal tries what cannot be mended once only.
func TestFinal(t *testing.T) {
	r := newRunner(t, inMemory(t), saga.Define[order]("order").
		Step("pay", func(context.Context, *order, *saga.Task) error { return saga.Final(errBroken) }, nil, saga.Retry(-1)))
	running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{}))
	in := settled(t, r.Store, "order", "7")
	require.Equal(t, saga.Compensated, in.Status)
	require.Equal(t, 1, in.StepState("pay").Attempts)
}

// TestFault_S29_CompensationThatNeverSucceeds parks one instance among a thousand others, which complete;
// once it is repaired, Retry finishes it.
func TestFault_S29_CompensationThatNeverSucceeds(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, nil)
	n := 1000
	if testing.Short() {
		n = 100
	}
	var repaired atomic.Bool
	b := newLedger()
	definition := func() saga.Def {
		return saga.Define[order]("order").
			Step("reserve", b.does("reserve"), func(_ context.Context, _ *order, t *saga.Task) error {
				if !repaired.Load() {
					return errBroken
				}
				b.book(t.Key)
				return nil
			}, saga.UndoPolicy(quick)).
			Step("pay", func(_ context.Context, o *order, _ *saga.Task) error {
				if o.Item == "bad" {
					return saga.Final(errors.New("declined"))
				}
				return nil
			}, nil)
	}
	r := newRunner(t, l, definition())
	require.NoError(t, r.Start(ctx, "bad", order{Item: "bad"}))
	for i := range n {
		c := l.NewCommit()
		c.Durability(log.Buffered)
		cond, err := r.Starting(fmt.Sprint(i), order{Item: "good"})
		require.NoError(t, err)
		c.Require(cond)
		c.CommitAsync(ctx)
	}
	stop := running(t, r)
	in := settled(t, r.Store, "order", "bad")
	require.Equal(t, saga.Parked, in.Status)
	require.Equal(t, "reserve", in.Step)
	require.Equal(t, "reserve: out of order", in.Cause)
	until(t, func() bool {
		counts, err := r.Count(ctx, "order")
		require.NoError(t, err)
		return counts[saga.Completed] == n
	})
	stop()
	require.NoError(t, l.Close())

	// As the tool does: without a definition. The program does it when it next runs.
	l = open(t, fs, nil)
	s, err := saga.Open(ctx, l)
	require.NoError(t, err)
	require.NoError(t, s.Retry(ctx, "order", "bad"))
	require.ErrorIs(t, s.Retry(ctx, "order", "bad"), saga.ErrStatus)
	require.ErrorIs(t, s.Retry(ctx, "order", "nobody"), saga.ErrInstance)
	require.NoError(t, l.Close())
	repaired.Store(true)
	l = open(t, fs, nil)
	r = newRunner(t, l, definition())
	running(t, r)
	in = settled(t, r.Store, "order", "bad")
	require.Equal(t, saga.Compensated, in.Status)
	require.Equal(t, 1, b.times("order/bad/reserve/undo"))
}

// TestParkedByHand passes and gives up parked instances, before and behind the pivot.
func TestParkedByHand(t *testing.T) {
	r := newRunner(t, inMemory(t),
		saga.Define[order]("back").
			Step("reserve", func(context.Context, *order, *saga.Task) error { return nil }, fails, saga.UndoPolicy(quick)).
			Step("pay", fails, nil, saga.RetryPolicy(quick)),
		saga.Define[string]("forth").
			Step("pay", func(context.Context, *string, *saga.Task) error { return nil }, nil, saga.Pivot()).
			Step("ship", func(context.Context, *string, *saga.Task) error { return errBroken }, nil, saga.RetryPolicy(quick)))
	running(t, r)
	for _, id := range []string{"passed", "given up"} {
		require.NoError(t, r.Start(ctx, id, order{}))
		require.NoError(t, r.Start(ctx, id, "text"))
		for _, name := range []string{"back", "forth"} {
			require.Equal(t, saga.Parked, settled(t, r.Store, name, id).Status)
		}
	}
	var parked []string
	for in, err := range r.List(ctx, "", saga.Parked) {
		require.NoError(t, err)
		parked = append(parked, in.Saga+" "+in.ID+" "+in.Step)
	}
	require.Equal(t, []string{"back given up reserve", "back passed reserve", "forth given up ship", "forth passed ship"}, parked)
	for name, want := range map[string]saga.Status{"back": saga.Compensated, "forth": saga.Completed} {
		require.NoError(t, r.Resume(ctx, name, "passed"))
		until(t, func() bool {
			in, err := r.Get(ctx, name, "passed")
			require.NoError(t, err)
			return in.Status == want
		})
		require.NoError(t, r.Abort(ctx, name, "given up"))
		in, err := r.Get(ctx, name, "given up")
		require.NoError(t, err)
		require.Equal(t, saga.Aborted, in.Status)
	}
}

// TestRetryByTheClock waits for a retry with nothing but a durable timer, across a restart.
func TestRetryByTheClock(t *testing.T) {
	fs, c := vfs.NewMem(), clock.NewManual(start)
	var calls atomic.Int32
	d := func() saga.Def {
		return saga.Define[order]("order").Step("pay", func(_ context.Context, _ *order, t *saga.Task) error {
			if calls.Add(1); t.Attempt < 3 {
				return errBroken
			}
			return nil
		}, nil, saga.RetryPolicy(timer.Retry{First: time.Hour, Longest: 10 * time.Hour, Even: true}))
	}
	l := open(t, fs, c)
	r := newRunner(t, l, d())
	stop := running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{}))
	waits := func(attempts int) saga.Instance {
		var in saga.Instance
		until(t, func() bool {
			var err error
			in, err = r.Get(ctx, "order", "7")
			require.NoError(t, err)
			return in.Waiting && in.StepState("pay").Attempts == attempts
		})
		return in
	}
	in := waits(1)
	require.WithinDuration(t, start.Add(time.Hour), in.Next, time.Second)
	require.Equal(t, in.Next, in.StepState("pay").Due)
	stop()
	require.NoError(t, l.Close())
	c.Advance(30 * time.Minute)
	l = open(t, fs, c)
	r = newRunner(t, l, d())
	running(t, r)
	c.Jump(-5 * time.Hour) // the wall clock is no reason
	require.EqualValues(t, 1, calls.Load())
	for calls.Load() < 2 {
		c.Advance(time.Minute)
		time.Sleep(time.Millisecond)
	}
	waits(2)
	for calls.Load() < 3 {
		c.Advance(10 * time.Minute)
		time.Sleep(time.Millisecond)
	}
	require.Equal(t, saga.Completed, settled(t, r.Store, "order", "7").Status)
	require.EqualValues(t, 3, calls.Load())
}

// TestTimeout ends an attempt that takes too long: since nobody knows whether it took effect, it is undone.
func TestTimeout(t *testing.T) {
	c := clock.NewManual(start)
	b := newLedger()
	began := make(chan struct{}, 10)
	var uncertain atomic.Bool
	r := newRunner(t, open(t, vfs.NewMem(), c), saga.Define[order]("order").
		Step("reserve", b.does("reserve"), b.does("release")).
		Step("pay", func(ctx context.Context, _ *order, _ *saga.Task) error {
			began <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}, func(_ context.Context, _ *order, t *saga.Task) error {
			uncertain.Store(t.Uncertain)
			b.book(t.Key)
			return nil
		}, saga.Timeout(time.Minute), saga.Retry(1)).
		Step("ship", b.does("ship"), nil))
	running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{}))
	<-began
	until(t, func() bool {
		c.Advance(time.Minute)
		in, err := r.Get(ctx, "order", "7")
		require.NoError(t, err)
		return in.Status == saga.Compensated
	})
	in := settled(t, r.Store, "order", "7")
	require.Contains(t, in.Cause, "pay: saga: step timed out after 1m0s")
	require.True(t, uncertain.Load())
	require.Equal(t, []string{"order/7/reserve", "order/7/pay/undo", "order/7/reserve/undo"}, b.keys())
}

// TestUncertainPivot parks an instance whose pivot may have taken effect.
func TestUncertainPivot(t *testing.T) {
	r := newRunner(t, inMemory(t), saga.Define[order]("order").
		Step("reserve", newLedger().does("reserve"), fails).
		Step("ship", func(_ context.Context, _ *order, t *saga.Task) error {
			t.Unsure()
			return saga.Final(errBroken)
		}, nil, saga.Pivot()))
	running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{}))
	in := settled(t, r.Store, "order", "7")
	require.Equal(t, saga.Parked, in.Status)
	require.Contains(t, in.Cause, "whether ship took effect is not known")
}

// TestParallel runs the steps of a group at once, and puts the fields together that they have changed.
func TestParallel(t *testing.T) {
	type trip struct{ Flight, Hotel, Car string }
	meet := make(chan struct{})
	together := func() {
		select {
		case meet <- struct{}{}:
		case <-meet:
		}
	}
	undo := func(context.Context, *trip, *saga.Task) error { return nil }
	var fail atomic.Bool
	r := newRunner(t, inMemory(t), saga.Define[trip]("trip").
		Step("flight", func(_ context.Context, s *trip, _ *saga.Task) error {
			together()
			s.Flight = "LH1"
			return nil
		}, undo, saga.Parallel("book")).
		Step("hotel", func(_ context.Context, s *trip, _ *saga.Task) error {
			together()
			s.Hotel = "Ritz"
			if fail.Load() {
				return saga.Final(errBroken)
			}
			return nil
		}, undo, saga.Parallel("book")).
		Step("car", func(_ context.Context, s *trip, _ *saga.Task) error {
			s.Car = s.Flight + s.Hotel
			return nil
		}, nil))
	running(t, r)
	require.NoError(t, r.Start(ctx, "1", trip{}))
	in := settled(t, r.Store, "trip", "1")
	s, err := saga.State[trip](&in)
	require.NoError(t, err)
	require.Equal(t, trip{"LH1", "Ritz", "LH1Ritz"}, s)
	fail.Store(true)
	require.NoError(t, r.Start(ctx, "2", trip{}))
	in = settled(t, r.Store, "trip", "2")
	require.Equal(t, saga.Compensated, in.Status)
	require.Nil(t, in.StepState("car"))
}

// TestAwait takes signals early, late, twice and not at all.
func TestAwait(t *testing.T) {
	c := clock.NewManual(start)
	b := newLedger()
	r := newRunner(t, open(t, vfs.NewMem(), c), saga.Define[order]("order").
		Step("ask", b.does("ask"), b.does("withdraw")).
		Await("answer", "approved", func(_ context.Context, o *order, t *saga.Task) error {
			o.Item = string(t.Signal.Payload)
			return nil
		}, nil, saga.Deadline(time.Hour)).
		Await("second", "approved", nil, nil).
		Step("ship", b.does("ship"), nil))
	running(t, r)
	for _, id := range []string{"answered", "silent"} {
		require.NoError(t, r.Start(ctx, id, order{}))
	}
	require.ErrorIs(t, r.Signal(ctx, "order", "nobody", "approved", nil, ""), saga.ErrInstance)
	require.NoError(t, r.Signal(ctx, "order", "answered", "approved", []byte("by me"), "k1"))
	require.NoError(t, r.Signal(ctx, "order", "answered", "approved", []byte("again"), "k1"))
	awaits := func(id, step string) {
		until(t, func() bool {
			in, err := r.Get(ctx, "order", id)
			require.NoError(t, err)
			s := in.StepState(step)
			return in.Waiting && s != nil && s.Phase == saga.Awaiting
		})
	}
	awaits("answered", "second") // the repeated signal has not answered this one
	awaits("silent", "answer")
	require.NoError(t, r.Signal(ctx, "order", "answered", "approved", nil, "k2"))
	in := settled(t, r.Store, "order", "answered")
	require.Equal(t, saga.Completed, in.Status)
	o, err := saga.State[order](&in)
	require.NoError(t, err)
	require.Equal(t, "by me", o.Item)
	until(t, func() bool {
		c.Advance(time.Minute)
		in, err = r.Get(ctx, "order", "silent")
		require.NoError(t, err)
		return in.Status == saga.Compensated
	})
	require.Equal(t, "answer: "+saga.ErrDeadline.Error(), in.Cause)
}

// TestAbort undoes an instance that waits.
func TestAbort(t *testing.T) {
	b := newLedger()
	r := newRunner(t, inMemory(t), saga.Define[order]("order").
		Step("reserve", b.does("reserve"), b.does("release")).
		Await("answer", "approved", nil, nil).
		Step("ship", b.does("ship"), nil))
	running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{}))
	until(t, func() bool { in, err := r.Get(ctx, "order", "7"); return err == nil && in.Waiting })
	require.NoError(t, r.Abort(ctx, "order", "7"))
	in := settled(t, r.Store, "order", "7")
	require.Equal(t, saga.Compensated, in.Status)
	require.Equal(t, []string{"order/7/reserve", "order/7/reserve/undo"}, b.keys())
	require.ErrorIs(t, r.Abort(ctx, "order", "7"), saga.ErrStatus)
}

// TestVersions ends an instance under the version that it began with.
func TestVersions(t *testing.T) {
	l := inMemory(t)
	mark := func(text string) saga.Action[order] {
		return func(_ context.Context, o *order, _ *saga.Task) error {
			o.Trail = append(o.Trail, text)
			return nil
		}
	}
	v1 := saga.Define[order]("order").Step("a", mark("a1"), nil, saga.NoUndo()).Await("go", "go", nil, nil).Step("b", mark("b1"), nil)
	v2 := saga.Define[order]("order").Version(2).Step("c", mark("c2"), nil)
	r := newRunner(t, l, v1)
	stop := running(t, r)
	require.NoError(t, r.Start(ctx, "old", order{}))
	until(t, func() bool { in, err := r.Get(ctx, "order", "old"); return err == nil && in.Waiting })
	stop()

	only2 := newRunner(t, l, v2)
	stop = running(t, only2)
	require.NoError(t, only2.Start(ctx, "new", order{}))
	require.NoError(t, only2.Signal(ctx, "order", "old", "go", nil, ""))
	require.Equal(t, 2, settled(t, only2.Store, "order", "new").Definition)
	in, err := r.Get(ctx, "order", "old")
	require.NoError(t, err)
	require.Equal(t, saga.Running, in.Status, "it waits for a runner with its version")
	stop()

	both := newRunner(t, l, v2, v1)
	running(t, both)
	in = settled(t, both.Store, "order", "old")
	o, err := saga.State[order](&in)
	require.NoError(t, err)
	require.Equal(t, []string{"a1", "b1"}, o.Trail)
}

// TestOneRunner has several runners of one log: each attempt is made once.
func TestOneRunner(t *testing.T) {
	l := inMemory(t)
	b := newLedger()
	d := func() saga.Def {
		return saga.Define[order]("order").Step("a", b.does("a"), b.does("-a")).Step("b", b.does("b"), nil)
	}
	var stops []func()
	for range 3 {
		stops = append(stops, running(t, newRunner(t, l, d())))
	}
	r := newRunner(t, l, d())
	for i := range 50 {
		require.NoError(t, r.Start(ctx, fmt.Sprint(i), order{}))
	}
	for i := range 50 {
		require.Equal(t, saga.Completed, settled(t, r.Store, "order", fmt.Sprint(i)).Status)
	}
	for _, stop := range stops {
		stop()
	}
	for key, n := range b.booked {
		require.Equal(t, 1, n, key)
	}
	require.Len(t, b.booked, 100)
}

// TestDefinition tells all that is wrong at once.
func TestDefinition(t *testing.T) {
	ok := newLedger().does("")
	for _, tc := range []struct {
		name string
		d    saga.Def
		want []string
	}{
		{"empty", saga.Define[order]("x"), []string{"it has no steps"}},
		{"name", saga.Define[order]("a b").Step("s", ok, nil), []string{"invalid name"}},
		{"version", saga.Define[order]("x").Version(0).Step("s", ok, nil), []string{"version 0"}},
		{"duplicate", saga.Define[order]("x").Step("s", ok, ok).Step("s", ok, nil), []string{"two of this name"}},
		{"no action", saga.Define[order]("x").Step("s", nil, nil), []string{"has no action"}},
		{"no compensation", saga.Define[order]("x").Step("s", ok, nil).Step("t", ok, nil), []string{`"s": has no compensation`}},
		{"before a pivot", saga.Define[order]("x").Step("s", ok, nil).Step("t", ok, nil, saga.Pivot()).Step("u", ok, nil).Step("v", ok, nil), []string{`"s": has no compensation`}},
		{"pivots", saga.Define[order]("x").Step("s", ok, nil, saga.Pivot()).Step("t", ok, nil, saga.Pivot()), []string{"second pivot"}},
		{"parallel pivot", saga.Define[order]("x").Step("s", ok, ok, saga.Parallel("g")).Step("t", ok, nil, saga.Pivot(), saga.Parallel("g")), []string{"cannot be in a parallel group"}},
		{"torn group", saga.Define[order]("x").Step("s", ok, ok, saga.Parallel("g")).Step("t", ok, ok).Step("u", ok, ok, saga.Parallel("g")), []string{"not in one piece"}},
		{"retry", saga.Define[order]("x").Step("s", ok, nil, saga.RetryPolicy(timer.Retry{First: -1})), []string{"invalid retry policy"}},
		{"deadline", saga.Define[order]("x").Step("s", ok, nil, saga.Deadline(time.Hour)), []string{"awaits nothing"}},
		{"all", saga.Define[order]("").Step("s", nil, nil).Step("s", ok, nil, saga.Timeout(-1)), []string{"invalid name", "no action", "two of this name", "timeout -1ns"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.d.Validate()
			require.ErrorIs(t, err, saga.ErrDefinition)
			var typed *saga.DefinitionError
			require.ErrorAs(t, err, &typed)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
			_, err = saga.NewRunner(inMemory(t), tc.d)
			require.ErrorIs(t, err, saga.ErrDefinition)
		})
	}
	l := inMemory(t)
	one := saga.Define[order]("x").Step("s", ok, nil)
	_, err := saga.NewRunner(l, one, saga.Define[order]("x").Step("t", ok, nil))
	require.ErrorContains(t, err, "defined twice")
	_, err = saga.NewRunner(l)
	require.ErrorIs(t, err, saga.ErrDefinition)
	r := newRunner(t, l, one)
	require.ErrorIs(t, r.Start(ctx, "7", 12), saga.ErrUnknown)
	require.ErrorIs(t, r.Start(ctx, "", order{}), saga.ErrName)
}

// TestStop waits for actions under way, and records their results; an action that does not end in time is
// cut off, and called again under the same key.
func TestStop(t *testing.T) {
	c := clock.NewManual(start)
	began, finish := make(chan string, 10), make(chan struct{})
	act := func(ctx context.Context, o *order, t *saga.Task) error {
		began <- t.Key
		select {
		case <-finish:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r := newRunner(t, open(t, vfs.NewMem(), c), saga.Define[order]("order").
		Step("a", act, nil, saga.NoUndo()).Step("b", act, nil))
	require.NoError(t, r.Start(ctx, "7", order{}))
	runCtx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.Run(runCtx) }()
	require.Equal(t, "order/7/a", <-began)
	require.ErrorIs(t, r.Run(ctx), saga.ErrRunning)
	cancel()
	finish <- struct{}{}
	require.NoError(t, <-done)
	in, err := r.Get(ctx, "order", "7")
	require.NoError(t, err)
	require.Equal(t, saga.Done, in.StepState("a").Phase)
	require.Nil(t, in.StepState("b"))

	runCtx, cancel = context.WithCancel(ctx)
	go func() { done <- r.Run(runCtx, saga.Grace(time.Second)) }()
	require.Equal(t, "order/7/b", <-began)
	cancel()
	until(t, func() bool {
		c.Advance(time.Second)
		select {
		case err := <-done:
			require.NoError(t, err)
			return true
		default:
			return false
		}
	})
	in, err = r.Get(ctx, "order", "7")
	require.NoError(t, err)
	require.Equal(t, saga.Intended, in.StepState("b").Phase)
	running(t, r)
	require.Equal(t, "order/7/b", <-began)
	finish <- struct{}{}
	in = settled(t, r.Store, "order", "7")
	require.Equal(t, saga.Completed, in.Status)
	require.Equal(t, 2, in.StepState("b").Attempts)
}

// TestPanic takes a panic for a failure.
func TestPanic(t *testing.T) {
	r := newRunner(t, inMemory(t), saga.Define[order]("order").
		Step("pay", func(context.Context, *order, *saga.Task) error { panic("oh") }, newLedger().does("x"), saga.RetryPolicy(quick)))
	running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{}))
	in := settled(t, r.Store, "order", "7")
	require.Equal(t, saga.Compensated, in.Status)
	require.Contains(t, in.Cause, "action panicked: oh")
}

// TestRefusedResult fails an attempt whose condition does not hold: its records are nowhere.
func TestRefusedResult(t *testing.T) {
	l := inMemory(t)
	topic, err := l.CreateTopic(ctx, "out", log.TopicOptions{})
	require.NoError(t, err)
	r := newRunner(t, l, saga.Define[order]("order").
		Step("pay", func(_ context.Context, _ *order, t *saga.Task) error {
			t.Emit(topic, log.Record{Value: []byte("x")})
			t.Require(log.ExpectOffset(topic.Partition(0), int64(3-t.Attempt)))
			return nil
		}, newLedger().does("x"), saga.RetryPolicy(quick)))
	running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{}))
	in := settled(t, r.Store, "order", "7")
	require.Equal(t, saga.Completed, in.Status)
	require.Equal(t, 3, in.StepState("pay").Attempts)
	require.EqualValues(t, 1, topic.Partition(0).Next())
}

// cutting runs an instance once more, and cuts off the attempt that it begins.
func cutting(t testing.TB, r *saga.Runner, began <-chan struct{}) {
	runCtx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.Run(runCtx, saga.Grace(0)) }()
	<-began
	cancel()
	require.NoError(t, <-done)
}

// TestCutOffAttemptsCount limits attempts that never come to a result, since each ends the program, as it
// limits those that fail: of an action, and of a compensation.
func TestCutOffAttemptsCount(t *testing.T) {
	began := make(chan struct{})
	hangs := func(ctx context.Context, _ *order, _ *saga.Task) error {
		began <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	var uncertain atomic.Bool
	two := timer.Retry{Attempts: 2, First: time.Microsecond, Final: func(error) bool { return false }}
	r := newRunner(t, inMemory(t),
		saga.Define[order]("do").
			Step("pay", hangs, func(_ context.Context, _ *order, t *saga.Task) error {
				uncertain.Store(t.Uncertain)
				return nil
			}, saga.RetryPolicy(two)).
			Step("ship", nothing, nil),
		saga.Define[int]("undo").
			Step("pay", func(context.Context, *int, *saga.Task) error { return nil }, func(ctx context.Context, _ *int, t *saga.Task) error {
				if t.Attempt > 2 {
					return nil
				}
				return hangs(ctx, nil, t)
			}, saga.UndoPolicy(two)).
			Step("ship", func(context.Context, *int, *saga.Task) error { return saga.Final(errBroken) }, nil))
	require.NoError(t, r.Start(ctx, "7", order{}))
	cutting(t, r, began)
	cutting(t, r, began)
	stop := running(t, r)
	in := settled(t, r.Store, "do", "7")
	stop()
	require.Equal(t, saga.Compensated, in.Status)
	require.Equal(t, "pay: "+saga.ErrCutOff.Error(), in.Cause)
	require.Equal(t, 2, in.StepState("pay").Attempts)
	require.True(t, uncertain.Load())

	require.NoError(t, r.Start(ctx, "7", 0))
	cutting(t, r, began)
	cutting(t, r, began)
	running(t, r)
	in = settled(t, r.Store, "undo", "7")
	require.Equal(t, saga.Parked, in.Status)
	require.Equal(t, "pay: "+saga.ErrCutOff.Error(), in.Cause)
	require.NoError(t, r.Retry(ctx, "undo", "7"))
	until(t, func() bool { in, err := r.Get(ctx, "undo", "7"); return err == nil && in.Status == saga.Compensated })
}

// TestAbortBehindThePivot is refused: at once when the pivot is done, and in the history when it was under
// way.
func TestAbortBehindThePivot(t *testing.T) {
	paying, pay := make(chan struct{}), make(chan struct{})
	r := newRunner(t, inMemory(t), saga.Define[order]("order").
		Step("pay", func(context.Context, *order, *saga.Task) error {
			paying <- struct{}{}
			<-pay
			return nil
		}, nil, saga.Pivot()).
		Await("delivered", "delivered", nil, nil))
	running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{}))
	<-paying
	require.NoError(t, r.Abort(ctx, "order", "7"))
	close(pay)
	until(t, func() bool { in, err := r.Get(ctx, "order", "7"); return err == nil && in.Waiting })
	var pivot *saga.PivotError
	err := r.Abort(ctx, "order", "7")
	require.ErrorAs(t, err, &pivot)
	require.ErrorIs(t, err, saga.ErrPivot)
	require.Equal(t, saga.PivotError{Saga: "order", ID: "7", Step: "pay"}, *pivot)
	require.NoError(t, r.Signal(ctx, "order", "7", "delivered", nil, ""))
	require.Equal(t, saga.Completed, settled(t, r.Store, "order", "7").Status)
	require.Contains(t, history(t, r.Store, "order", "7"), string(saga.EventAbortRefused))
}

// TestChildThatIsThere requires the beginning of an instance that there is already: that fails the attempt,
// like any condition that does not hold, and is not taken for another runner's having the parent.
func TestChildThatIsThere(t *testing.T) {
	l := inMemory(t)
	var r *saga.Runner
	r = newRunner(t, l,
		saga.Define[order]("parent").Step("begin", func(_ context.Context, _ *order, t *saga.Task) error {
			cond, err := r.Starting("child", 1)
			t.Require(cond)
			return err
		}, nil, saga.RetryPolicy(quick)),
		saga.Define[int]("child").Step("a", func(context.Context, *int, *saga.Task) error { return nil }, nil))
	running(t, r)
	require.NoError(t, r.Start(ctx, "1", order{}))
	require.Equal(t, saga.Completed, settled(t, r.Store, "parent", "1").Status)
	require.Equal(t, saga.Completed, settled(t, r.Store, "child", "child").Status)
	require.NoError(t, r.Start(ctx, "2", order{}))
	in := settled(t, r.Store, "parent", "2")
	require.Equal(t, saga.Parked, in.Status, "whether it took effect is left open")
	require.Contains(t, in.Cause, `instance "child" of "child"`)
}

// TestRunnerTakesOver stops the runner that has an instance: the other one of the log takes it.
func TestRunnerTakesOver(t *testing.T) {
	l := inMemory(t)
	began := make(chan int)
	d := func(n int) saga.Def {
		return saga.Define[order]("order").Step("a", func(ctx context.Context, _ *order, _ *saga.Task) error {
			began <- n
			if n == 2 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, nil)
	}
	first := newRunner(t, l, d(1))
	second := newRunner(t, l, d(2), saga.Define[int]("z").Step("a", func(context.Context, *int, *saga.Task) error { return nil }, nil))
	require.NoError(t, first.Start(ctx, "7", order{}))
	stop := running(t, first, saga.Grace(0))
	require.Equal(t, 1, <-began)
	require.NoError(t, second.Start(ctx, "1", 1))
	running(t, second)
	require.Equal(t, saga.Completed, settled(t, second.Store, "z", "1").Status, "it has looked at all that is ready")
	stop()
	require.Equal(t, 2, <-began)
	require.Equal(t, saga.Completed, settled(t, second.Store, "order", "7").Status)
}

// TestStartIsDurable repeats a Start whose first was written and not synced, and cuts the power.
func TestStartIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	d := saga.Define[order]("order").Step("a", nothing, nil)
	l := open(t, fs, nil)
	r := newRunner(t, l, d)
	cond, err := r.Starting("7", order{})
	require.NoError(t, err)
	c := l.NewCommit()
	c.Durability(log.Written)
	c.Require(cond)
	_, err = c.Commit(ctx)
	require.NoError(t, err)
	require.NoError(t, r.Start(ctx, "7", order{}))
	image := fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, l.Close())
	r = newRunner(t, open(t, image, nil), d)
	_, err = r.Get(ctx, "order", "7")
	require.NoError(t, err)
}

// TestResumeInPieces finds more instances than are looked at together, among those of a version that is not
// defined.
func TestResumeInPieces(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, nil)
	old := saga.Define[order]("order").Step("a", nothing, nil)
	latest := saga.Define[order]("order").Version(2).Step("a", nothing, nil)
	for i := range 40 {
		r := newRunner(t, l, [...]saga.Def{old, latest}[i%2])
		item := strings.Repeat("x", i%4*20_000) // some are too large to be read ahead
		require.NoError(t, r.Start(ctx, fmt.Sprintf("%02d", i), order{Item: item}))
	}
	require.NoError(t, l.Close())
	r := newRunner(t, open(t, fs, nil), latest)
	running(t, r, saga.Workers(2))
	ended(t, r.Store, "order", 20)
	for in, err := range r.List(ctx, "order", 0) {
		require.NoError(t, err)
		require.Equal(t, in.Definition == 2, in.Status == saga.Completed, in.ID)
	}
}

// TestWith stages in the commit of a result: it happens with it, and its error fails the attempt.
func TestWith(t *testing.T) {
	l := inMemory(t)
	topic, err := l.CreateTopic(ctx, "out", log.TopicOptions{})
	require.NoError(t, err)
	r := newRunner(t, l, saga.Define[order]("order").
		Step("pay", func(action context.Context, _ *order, t *saga.Task) error {
			t.With(func(ctx context.Context, c *log.Commit) error {
				c.Append(topic, log.Record{Value: []byte("paid")})
				switch t.Attempt {
				case 1:
					return errBroken
				case 2:
					return action.Err() // has ended, and is not the end of Run
				}
				return ctx.Err()
			})
			return nil
		}, newLedger().does("x"), saga.RetryPolicy(quick)))
	running(t, r)
	require.NoError(t, r.Start(ctx, "7", order{}))
	in := settled(t, r.Store, "order", "7")
	require.Equal(t, saga.Completed, in.Status)
	require.Equal(t, 3, in.StepState("pay").Attempts)
	require.EqualValues(t, 1, topic.Partition(0).Next())
}
