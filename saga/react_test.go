package saga_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

type checkout struct {
	Reserved, Paid, Shipped bool
	Sum                     int
}

// byKey correlates records of the form EVENT or EVENT SOMETHING by their key.
func byKey(event string) func(log.Record) (string, bool) {
	return func(r log.Record) (string, bool) {
		name, _, _ := strings.Cut(string(r.Value), " ")
		return string(r.Key), name == event
	}
}

// eventDriven is the textbook's saga as transitions, whose commands go to a topic.
func eventDriven(commands *log.Topic) *saga.Definition[checkout] {
	command := func(t *saga.Turn, text string) {
		t.Emit(commands, log.Record{Key: []byte(t.ID), Value: []byte(text)})
	}
	return saga.Define[checkout]("checkout").
		On("events", "InventoryReserved", byKey("InventoryReserved"), func(s *checkout, t *saga.Turn) error {
			s.Reserved = true
			command(t, "pay")
			t.SetTimer("payment", time.Hour)
			return nil
		}).
		On("events", "PaymentProcessed", byKey("PaymentProcessed"), func(s *checkout, t *saga.Turn) error {
			s.Paid = true
			command(t, "ship")
			t.CancelTimer("payment")
			return nil
		}, saga.After("InventoryReserved")).
		On("events", "OrderShipped", byKey("OrderShipped"), func(s *checkout, t *saga.Turn) error {
			s.Shipped = true
			t.Complete()
			return nil
		}, saga.After("PaymentProcessed", "Fee")).
		On("events", "Fee", byKey("Fee"), func(s *checkout, _ *saga.Turn) error {
			s.Sum++
			return nil
		}).
		On("events", "PaymentFailed", byKey("PaymentFailed"), func(_ *checkout, t *saga.Turn) error {
			command(t, "release")
			t.Compensated("payment failed")
			return nil
		}, saga.After("InventoryReserved")).
		On("events", "InventoryReservationFailed", byKey("InventoryReservationFailed"), func(_ *checkout, t *saga.Turn) error {
			t.Compensated("sold out")
			return nil
		}).
		OnTimer("payment", func(_ *checkout, t *saga.Turn) error {
			command(t, "release")
			t.Compensated("not paid in time")
			return nil
		})
}

func withTopics(t testing.TB, l *log.Log) (events, commands *log.Topic) {
	events, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	commands, err = l.CreateTopic(ctx, "commands", log.TopicOptions{})
	require.NoError(t, err)
	return events, commands
}

func send(t testing.TB, events *log.Topic, id string, names ...string) {
	for _, n := range names {
		_, err := events.Append(ctx, log.Record{Key: []byte(id), Value: []byte(n)})
		require.NoError(t, err)
	}
}

func commandsOf(t testing.TB, commands *log.Topic) map[string][]string {
	all := map[string][]string{}
	for r, err := range commands.Read(log.Oldest) {
		require.NoError(t, err)
		all[string(r.Key)] = append(all[string(r.Key)], string(r.Value))
	}
	return all
}

// ended waits until n instances are final.
func ended(t testing.TB, s *saga.Store, name string, n int) {
	until(t, func() bool {
		counts, err := s.Count(ctx, name)
		require.NoError(t, err)
		return counts[saga.Completed]+counts[saga.Compensated]+counts[saga.Aborted] >= n
	})
}

// TestNaive_S19_DuplicatesAndReorderings sends the same events to many instances, each in an order of its
// own and some of them several times, with a restart in between: all end the same, with the same
// commands, once each.
func TestNaive_S19_DuplicatesAndReorderings(t *testing.T) {
	for name, tc := range map[string]struct {
		events   []string
		status   saga.Status
		state    checkout
		commands []string
	}{
		"paid":     {[]string{"InventoryReserved", "Fee", "PaymentProcessed", "OrderShipped"}, saga.Completed, checkout{true, true, true, 1}, []string{"pay", "ship"}},
		"declined": {[]string{"InventoryReserved", "PaymentFailed"}, saga.Compensated, checkout{Reserved: true}, []string{"pay", "release"}},
		"sold out": {[]string{"InventoryReservationFailed"}, saga.Compensated, checkout{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(19, 0))
			fs := vfs.NewMem()
			l := open(t, fs, nil)
			events, commands := withTopics(t, l)
			r := newRunner(t, l, eventDriven(commands))
			stop := running(t, r)
			instances := 100
			for i := range instances {
				list := slices.Clone(tc.events)
				for range rng.IntN(4) {
					list = append(list, list[rng.IntN(len(list))])
				}
				rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				send(t, events, fmt.Sprint(i), list...)
				if i == instances/2 {
					stop()
					require.NoError(t, l.Close())
					l = open(t, fs, nil)
					events, commands = withTopics(t, l)
					r = newRunner(t, l, eventDriven(commands))
					stop = running(t, r)
				}
			}
			ended(t, r.Store, "checkout", instances)
			for in, err := range r.List(ctx, "checkout", 0) {
				require.NoError(t, err)
				require.Equal(t, tc.status, in.Status, in.ID)
				s, err := saga.State[checkout](&in)
				require.NoError(t, err)
				require.Equal(t, tc.state, s, in.ID)
			}
			all := commandsOf(t, commands)
			for i := range instances {
				require.Equal(t, tc.commands, all[fmt.Sprint(i)])
			}
		})
	}
}

// TestTimerOfTransition lets a timer end an instance that hears nothing, and one that was cancelled not.
func TestTimerOfTransition(t *testing.T) {
	c := clock.NewManual(start)
	l := open(t, vfs.NewMem(), c)
	events, commands := withTopics(t, l)
	r := newRunner(t, l, eventDriven(commands))
	running(t, r)
	send(t, events, "silent", "InventoryReserved")
	send(t, events, "paid", "InventoryReserved", "PaymentProcessed")
	until(t, func() bool { return commands.Partition(0).Next() == 3 })
	in, err := r.Get(ctx, "checkout", "silent")
	require.NoError(t, err)
	require.WithinDuration(t, start.Add(time.Hour), in.Next, time.Minute)
	until(t, func() bool {
		c.Advance(time.Minute)
		in, err = r.Get(ctx, "checkout", "silent")
		require.NoError(t, err)
		return in.Status.Final()
	})
	require.Equal(t, "not paid in time", in.Cause)
	in, err = r.Get(ctx, "checkout", "paid")
	require.NoError(t, err)
	require.Equal(t, saga.Running, in.Status)
	require.True(t, in.Next.IsZero())
	require.NoError(t, r.Abort(ctx, "checkout", "paid"))
	until(t, func() bool { in, err = r.Get(ctx, "checkout", "paid"); return err == nil && in.Status == saga.Aborted })
	require.Equal(t, map[string][]string{"silent": {"pay", "release"}, "paid": {"pay", "ship"}}, commandsOf(t, commands))
}

// TestParkedTransition parks an instance at an event that its transition cannot take; what comes
// meanwhile is kept, and Retry takes it all in.
func TestParkedTransition(t *testing.T) {
	l := inMemory(t)
	events, _ := withTopics(t, l)
	var works atomic.Bool
	r := newRunner(t, l, saga.Define[checkout]("checkout").
		On("events", "Fee", byKey("Fee"), func(s *checkout, _ *saga.Turn) error {
			if !works.Load() {
				return errors.New("no such currency")
			}
			s.Sum++
			return nil
		}, saga.Each(func(r log.Record) string { return string(r.Value) })).
		On("events", "OrderShipped", byKey("OrderShipped"), func(_ *checkout, t *saga.Turn) error {
			t.Complete()
			return nil
		}, saga.After("Fee")))
	running(t, r)
	send(t, events, "7", "Fee 1")
	until(t, func() bool { in, err := r.Get(ctx, "checkout", "7"); return err == nil && in.Status == saga.Parked })
	send(t, events, "7", "Fee 1", "Fee 2")
	until(t, func() bool { in, err := r.Get(ctx, "checkout", "7"); return err == nil && len(in.Kept) == 2 })
	works.Store(true)
	require.NoError(t, r.Retry(ctx, "checkout", "7"))
	until(t, func() bool { in, err := r.Get(ctx, "checkout", "7"); return err == nil && len(in.Kept) == 0 })
	send(t, events, "7", "OrderShipped")
	in := settled(t, r.Store, "checkout", "7")
	s, err := saga.State[checkout](&in)
	require.NoError(t, err)
	require.Equal(t, 2, s.Sum)
	require.Equal(t, saga.Completed, in.Status)
}

// TestReactionDefinition tells what is wrong with reactions.
func TestReactionDefinition(t *testing.T) {
	do := func(*checkout, *saga.Turn) error { return nil }
	for want, d := range map[string]saga.Def{
		"two events of this name":  saga.Define[checkout]("x").On("t", "a", byKey("a"), do).On("t", "a", byKey("a"), do),
		"needs a name, a topic":    saga.Define[checkout]("x").On("t", "a", nil, do),
		"no other event":           saga.Define[checkout]("x").On("t", "a", byKey("a"), do, saga.After("b")),
		"wait for each other":      saga.Define[checkout]("x").On("t", "a", byKey("a"), do, saga.After("b")).On("t", "b", byKey("b"), do, saga.After("a")),
		"it can do one of the two": saga.Define[checkout]("x").On("t", "a", byKey("a"), do).Await("s", "s", nil, nil),
		"a timer and an event":     saga.Define[checkout]("x").On("t", "a", byKey("a"), do).OnTimer("a", do),
		"a timer needs a name":     saga.Define[checkout]("x").On("t", "a", byKey("a"), do).OnTimer("", do),
	} {
		err := d.Validate()
		require.ErrorIs(t, err, saga.ErrDefinition, want)
		require.ErrorContains(t, err, want)
	}
}

// TestTransitionThatCannotBe parks instances whose transition panics, or emits what the log does not take;
// others go on, and Resume passes the event, for those behind it too.
func TestTransitionThatCannotBe(t *testing.T) {
	l := inMemory(t)
	events, commands := withTopics(t, l)
	r := newRunner(t, l, saga.Define[checkout]("checkout").
		On("events", "Fee", byKey("Fee"), func(_ *checkout, t *saga.Turn) error {
			switch t.ID {
			case "panics":
				panic("oh")
			case "large":
				t.Emit(commands, log.Record{Value: make([]byte, l.Options().MaxRecordBytes+1)})
			}
			return nil
		}).
		On("events", "OrderShipped", byKey("OrderShipped"), func(_ *checkout, t *saga.Turn) error {
			t.Complete()
			return nil
		}, saga.After("Fee")))
	running(t, r)
	for id, cause := range map[string]string{"panics": "action panicked: oh", "large": "Fee: ", "good": ""} {
		send(t, events, id, "OrderShipped", "Fee")
		want := saga.Parked
		if cause == "" {
			want = saga.Completed
		}
		var in saga.Instance
		until(t, func() bool {
			var err error
			in, err = r.Get(ctx, "checkout", id)
			return err == nil && in.Status == want
		})
		if cause == "" {
			continue
		}
		require.Contains(t, in.Cause, cause)
		require.NoError(t, r.Resume(ctx, "checkout", id))
		until(t, func() bool { in, err := r.Get(ctx, "checkout", id); return err == nil && in.Status == saga.Completed })
	}
}

// TestPartitions reads the events of a saga from several partitions at once, also those of one instance: none
// is lost when they are in each other's way.
func TestPartitions(t *testing.T) {
	l := inMemory(t)
	events, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 4})
	require.NoError(t, err)
	r := newRunner(t, l, saga.Define[checkout]("checkout").
		On("events", "Fee", byKey("Fee"), func(s *checkout, t *saga.Turn) error {
			s.Sum++
			if s.Sum == 20 {
				t.With(func(context.Context, *log.Commit) error { return errBroken })
			}
			return nil
		}, saga.Each(func(r log.Record) string { return string(r.Value) })))
	running(t, r)
	for i := range 20 {
		for id := range 3 {
			c := l.NewCommit()
			c.AppendTo(events.Partition(int32(i%4)), log.Record{Key: fmt.Append(nil, id), Value: fmt.Append(nil, "Fee ", i)})
			_, err := c.Commit(ctx)
			require.NoError(t, err)
		}
	}
	until(t, func() bool { counts, err := r.Count(ctx, "checkout"); return err == nil && counts[saga.Parked] == 3 })
	for in, err := range r.List(ctx, "checkout", saga.Parked) {
		require.NoError(t, err)
		s, err := saga.State[checkout](&in)
		require.NoError(t, err)
		require.Equal(t, 19, s.Sum)
		require.Contains(t, in.Cause, errBroken.Error())
	}
}
