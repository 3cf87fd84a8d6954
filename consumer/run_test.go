package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

var events = consumer.Options{Topics: []string{"events"}}

// running runs in the background until the returned function is called, which returns what Run did.
func running(l *log.Log, o consumer.Options, run consumer.RunOptions, handle func(context.Context, log.Record) error) (stop func() error) {
	runCtx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- consumer.Run(runCtx, l, "g", o, run, handle) }()
	return func() error {
		cancel()
		return <-done
	}
}

// TestNaive_S01_HandlersSurviveAKill kills the process while handlers are at work: what was appended is
// handled to its end afterwards.
func TestNaive_S01_HandlersSurviveAKill(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	l := open(t, fs, log.Options{})
	tp := topic(t, l, "events", 2)
	fill(t, tp, 0, 20)
	var finished sync.Map
	blocked := make(chan struct{}, 20)
	stop := running(l, events, consumer.RunOptions{Workers: 4}, func(ctx context.Context, r log.Record) error {
		if string(r.Value) < "15" { // as text: most of them
			finished.Store(string(r.Value), true)
			return nil
		}
		blocked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	<-blocked
	<-blocked
	image := fs.Snapshot().Clone() // what the operating system has when the process dies here
	require.NoError(t, stop())
	require.NoError(t, l.Close())

	l = open(t, image, log.Options{})
	var left atomic.Int64
	left.Store(20)
	finished.Range(func(any, any) bool { left.Add(-1); return true })
	require.Positive(t, left.Load())
	stop = running(l, events, consumer.RunOptions{Workers: 4}, func(_ context.Context, r log.Record) error {
		if _, before := finished.LoadOrStore(string(r.Value), true); !before {
			left.Add(-1)
		}
		return nil
	})
	waitFor(t, func() bool { return left.Load() == 0 })
	require.NoError(t, stop())
	require.NoError(t, l.Close())
}

// TestNaive_S09_AnErrorDoesNotAdvance has a handler fail: the committed offset stays before the record,
// until it is parked or succeeds.
func TestNaive_S09_AnErrorDoesNotAdvance(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, log.Options{})
	fill(t, topic(t, l, "events", 1), 0, 6)
	broken := errors.New("no such customer")
	fails := func(_ context.Context, r log.Record) error {
		if string(r.Value) == "3" {
			return broken
		}
		return nil
	}
	twice := timer.Retry{Attempts: 2, First: 1, Longest: 1}
	err := consumer.Run(ctx, l, "g", events, consumer.RunOptions{Retry: twice}, fails)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, `group "g": events/0 offset 3`)
	require.Equal(t, int64(3), committed(t, l, "g")["events/0"])
	// The same after a restart.
	require.NoError(t, l.Close())
	l = open(t, fs, log.Options{})
	require.ErrorIs(t, consumer.Run(ctx, l, "g", events, consumer.RunOptions{Retry: twice}, fails), broken)
	require.Equal(t, int64(3), committed(t, l, "g")["events/0"])

	// Parked, it is passed, with its history, once.
	var last atomic.Bool
	stop := running(l, events, consumer.RunOptions{Retry: twice, Failure: consumer.FailureParks}, func(ctx context.Context, r log.Record) error {
		if string(r.Value) == "5" {
			last.Store(true)
		}
		return fails(ctx, r)
	})
	waitFor(t, func() bool {
		dead, err := l.Topic("g.dead")
		return err == nil && dead.Partition(0).Next() == 1 && last.Load()
	})
	require.NoError(t, stop())
	require.Equal(t, int64(6), committed(t, l, "g")["events/0"])
	dead, err := l.Topic("g.dead")
	require.NoError(t, err)
	r, err := dead.Partition(0).Get(0)
	require.NoError(t, err)
	require.Equal(t, "3", string(r.Value))
	require.Equal(t, "k3", string(r.Key))
	d, err := record.ParseDead(r.Headers)
	require.NoError(t, err)
	require.Equal(t, record.Dead{Cause: broken.Error(), Attempts: 2, Topic: "events", Offset: 3, Group: "g", Time: d.Time}, d)
	require.NoError(t, l.Close())
}

// TestLaneHoldsOnlyItself has a key that blocks, and one that fails and waits by a clock that stands
// still: all others are handled, by as many workers as are left.
func TestLaneHoldsOnlyItself(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(1_800_000_000_000))
	l := open(t, vfs.NewMem(), log.Options{Clock: c, Durability: log.Written})
	tp := topic(t, l, "events", 1)
	const keys, rounds = 1000, 3
	for round := range rounds {
		for k := range keys {
			_, err := tp.Append(ctx, log.Record{Key: fmt.Append(nil, k), Value: fmt.Append(nil, round)})
			require.NoError(t, err)
		}
	}
	var handled, failures atomic.Int64
	release := make(chan struct{})
	stop := running(l, events, consumer.RunOptions{Workers: 2}, func(_ context.Context, r log.Record) error {
		switch {
		case string(r.Key) == "17" && string(r.Value) == "0":
			<-release
		case string(r.Key) == "23" && failures.Add(1) <= 2:
			return errors.New("not yet")
		}
		handled.Add(1)
		return nil
	})
	waitFor(t, func() bool { return handled.Load() == (keys-2)*rounds })
	require.Equal(t, int64(1), failures.Load(), "it waits to be tried again")
	close(release)
	waitFor(t, func() bool { return handled.Load() == (keys-1)*rounds })
	waitFor(t, func() bool { c.Advance(time.Second); return handled.Load() == keys*rounds })
	require.NoError(t, stop())
	require.Equal(t, int64(keys*rounds), committed(t, l, "g")["events/0"])
	require.NoError(t, l.Close())
}

// TestLanesKeepOrder finishes in random order, stops or is killed at random moments and goes on, with few records in
// flight: each key's records are handled in order, what is committed is always a prefix of what is
// finished, and nothing is left out.
func TestLanesKeepOrder(t *testing.T) {
	var disk vfs.FS = crashfs.New(crashfs.Options{})
	l := open(t, disk, log.Options{Durability: log.Written})
	tp := topic(t, l, "events", 3)
	const n = 1500
	for i := range n {
		_, err := tp.Append(ctx, log.Record{Key: fmt.Append(nil, i%40), Value: fmt.Append(nil, i)})
		require.NoError(t, err)
	}
	var mu sync.Mutex
	finished := map[int32]map[int64]bool{0: {}, 1: {}, 2: {}}
	last := map[string]int64{} // offset of the last record of each key, of this life
	rng := rand.New(rand.NewPCG(4, 5))
	o := consumer.Options{Topics: []string{"events"}, MaxUnfinished: 64, CommitEvery: time.Millisecond}
	all := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(finished[0]) + len(finished[1]) + len(finished[2])
	}
	for life := 0; all() < n; life++ {
		require.Less(t, life, 200)
		mu.Lock()
		clear(last)
		mu.Unlock()
		enough := all() + 50 + rng.IntN(400)
		var inFlight, most atomic.Int64
		stop := running(l, o, consumer.RunOptions{Workers: 8, Retry: timer.Retry{First: 1, Longest: 1, Attempts: -1}}, func(_ context.Context, r log.Record) error {
			now := inFlight.Add(1)
			defer inFlight.Add(-1)
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
			for range rand.IntN(50) {
				runtime.Gosched()
			}
			if rand.IntN(20) == 0 {
				return errors.New("again")
			}
			mu.Lock()
			defer mu.Unlock()
			if before, ok := last[string(r.Key)]; ok && r.Offset <= before {
				t.Errorf("key %s: offset %d behind %d", r.Key, r.Offset, before)
			}
			last[string(r.Key)] = r.Offset
			finished[r.Partition][r.Offset] = true
			return nil
		})
		waitFor(t, func() bool { return all() >= min(enough, n) })
		// Every third life ends by a kill: what is there afterwards is what the operating system had.
		var image vfs.FS
		if life%3 == 1 {
			image = disk.(*crashfs.FS).Snapshot().Clone()
		}
		require.NoError(t, stop())
		if image != nil {
			require.NoError(t, l.Close())
			disk = crashfs.New(crashfs.Options{})
			_, err := vfs.Clone(image, disk, "", "", vfs.CloneSync)
			require.NoError(t, err)
			l = open(t, disk, log.Options{Durability: log.Written})
		}
		require.LessOrEqual(t, most.Load(), int64(8))
		for p := range int32(3) {
			offset := committed(t, l, "g")[fmt.Sprint("events/", p)]
			mu.Lock()
			for at := range offset {
				if !finished[p][at] {
					t.Errorf("partition %d: offset %d is committed, and %d is not finished", p, offset, at)
				}
			}
			mu.Unlock()
		}
		if life%3 == 2 {
			require.NoError(t, l.Close())
			l = open(t, disk, log.Options{Durability: log.Written})
		}
	}
	require.NoError(t, l.Close())
}

// TestRunRefuses gets a typed error for what cannot be run, and none for a context that has ended.
func TestRunRefuses(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	topic(t, l, "events", 1)
	none := func(context.Context, log.Record) error { return nil }
	for _, run := range []consumer.RunOptions{{Workers: -1}, {Failure: 7}, {Retry: timer.Retry{First: -1}}} {
		require.ErrorIs(t, consumer.Run(ctx, l, "g", events, run, none), consumer.ErrOptions)
	}
	o := events
	o.Committing = consumer.CommitExplicit
	require.ErrorIs(t, consumer.Run(ctx, l, "g", o, consumer.RunOptions{}, none), consumer.ErrOptions)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.NoError(t, consumer.Run(ended, l, "g", events, consumer.RunOptions{}, none))
}

// TestRunMembersCome has a second and third Run come and go beside a first one with lanes: partitions move
// while handlers are at work, and nothing is left out.
func TestRunMembersCome(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{Durability: log.Written})
	tp := topic(t, l, "events", 4)
	fill(t, tp, 0, 400)
	var mu sync.Mutex
	handled := map[string]int{}
	handle := func(_ context.Context, r log.Record) error {
		for range rand.IntN(20) {
			runtime.Gosched()
		}
		mu.Lock()
		defer mu.Unlock()
		handled[string(r.Value)]++
		return nil
	}
	o := consumer.Options{Topics: []string{"events"}, MaxUnfinished: 30}
	run := consumer.RunOptions{Workers: 3}
	first := running(l, o, run, handle)
	n := 400
	for range 6 {
		second := running(l, o, run, handle)
		third := running(l, o, run, handle)
		fill(t, tp, n, n+50)
		n += 50
		require.NoError(t, second())
		require.NoError(t, third())
	}
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(handled) == n })
	require.NoError(t, first())
	total := int64(0)
	for _, offset := range committed(t, l, "g") {
		total += offset
	}
	require.Equal(t, int64(n), total)
	for v, times := range handled {
		require.Equal(t, 1, times, "record %s: whoever was at work on it was waited for", v)
	}
	require.NoError(t, l.Close())
}
