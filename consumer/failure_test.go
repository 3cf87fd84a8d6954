package consumer_test

import (
	"context"
	"errors"
	"fmt"
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
)

// fillDisk appends until nothing fits any more.
func fillDisk(t *testing.T, fs *crashfs.FS, tp *log.Topic) {
	t.Helper()
	fs.SetSpace(fs.Used() + 256<<10)
	for _, size := range []int{4000, 1} {
		var err error
		for err == nil {
			_, err = tp.Append(ctx, log.Record{Value: make([]byte, size)})
		}
		require.ErrorIs(t, err, log.ErrNoSpace)
	}
}

// TestChangeThatFails has a group changed while the disk is full: the change is refused, whoever was to give
// up partitions goes on with them where it was, and once there is space all is as it should be, without
// anybody asking.
func TestChangeThatFails(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	clk := clock.NewManual(time.UnixMilli(1_800_000_000_000))
	l := open(t, fs, log.Options{Clock: clk, SegmentBytes: 64 << 10})
	events, filler := topic(t, l, "events", 2), topic(t, l, "filler", 1)
	fill(t, events, 0, 40)
	var assigned, revoked atomic.Int64
	o := consumer.Options{
		Member: "b", CommitEvery: time.Second,
		OnAssigned: func(p []consumer.TopicPartition) { assigned.Add(int64(len(p))) },
		OnRevoked:  func(p []consumer.TopicPartition) { revoked.Add(int64(len(p))) },
	}
	m := join(t, l, "g", o)
	got := map[string]int{}
	read := func() {
		for r, err := range m.Available(ctx) {
			require.NoError(t, err)
			got[string(r.Value)]++
			m.Mark(r)
		}
	}
	read()
	require.NoError(t, m.Commit(ctx))
	require.Len(t, got, 40)
	fillDisk(t, fs, filler)
	// Of a range assignor, the member with the first name gets the first partition.
	for range 3 {
		_, err := consumer.Join(ctx, l, "g", consumer.Options{Topics: []string{"events"}, Member: "a", Assignor: consumer.Range})
		require.ErrorIs(t, err, log.ErrNoSpace)
	}
	require.ErrorIs(t, consumer.Reset(ctx, l, "g", consumer.To(log.Oldest)), log.ErrNoSpace)
	require.Len(t, m.Assigned(), 2, "it has them all back")
	require.Equal(t, int64(3+2), revoked.Load())
	require.Equal(t, int64(2+3+2), assigned.Load())
	fs.SetSpace(fs.Used() + 64<<20)
	fill(t, events, 40, 60)
	read()
	require.Len(t, got, 60)
	for v, n := range got {
		require.Equal(t, 1, n, "record %s: it went on where it was", v)
	}
	require.NoError(t, m.Commit(ctx))

	// One leaves while the disk is full: its partition is without an owner, until the next try.
	other := join(t, l, "g", consumer.Options{Member: "a"})
	require.Len(t, m.Assigned(), 1)
	fillDisk(t, fs, filler)
	require.ErrorIs(t, other.Close(), log.ErrNoSpace)
	require.Len(t, m.Assigned(), 1)
	fs.SetSpace(fs.Used() + 64<<20)
	waitFor(t, func() bool { clk.Advance(time.Second); return len(m.Assigned()) == 2 })
	fill(t, events, 60, 80)
	read()
	require.Len(t, got, 80)
	require.NoError(t, l.Close())
}

// TestResetTellsOnlyWhoIsConcerned resets a topic that one of two members reads.
func TestResetTellsOnlyWhoIsConcerned(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	topic(t, l, "events", 1)
	topic(t, l, "others", 1)
	var told [2]atomic.Int64
	for i, name := range []string{"events", "others"} {
		join(t, l, "g", consumer.Options{Topics: []string{name}, OnRevoked: func(p []consumer.TopicPartition) {
			told[i].Add(1)
			if len(p) != 1 || p[0].Topic != name {
				t.Errorf("%v", p)
			}
		}})
	}
	require.NoError(t, consumer.Reset(ctx, l, "g", consumer.To(log.Oldest), "others"))
	require.Equal(t, int64(0), told[0].Load())
	require.Equal(t, int64(1), told[1].Load())
	require.NoError(t, l.Close())
}

// TestDoneGoesOn marks and does records of one partition in turn, while the offset moves in between, and
// goes back to a record whose commit has failed after trying the next one.
func TestDoneGoesOn(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	fill(t, topic(t, l, "events", 1), 0, 6)
	out := topic(t, l, "out", 1)
	m := join(t, l, "g", consumer.Options{})
	var rs []log.Record
	for r, err := range m.Available(ctx) {
		require.NoError(t, err)
		rs = append(rs, r.Clone())
	}
	effect := func(on ...log.Condition) error {
		c := l.NewCommit()
		c.Append(out, log.Record{Value: []byte("effect")})
		c.Require(on...)
		_, err := c.Commit(ctx)
		return err
	}
	// The commit of the mark by the clock may come between Done and the commit that has it.
	done := m.Done(rs[1])
	s, err := consumer.OpenStore(ctx, l)
	require.NoError(t, err)
	state, err := s.State(ctx, "g")
	require.NoError(t, err)
	p := must(l.Topic("events")).Partition(0)
	mark, err := s.Commit("g", state.Generation, consumer.Position{Partition: p, Offset: 1})
	require.NoError(t, err)
	c := l.NewCommit()
	c.Require(mark...)
	_, err = c.Commit(ctx)
	require.NoError(t, err)
	require.NoError(t, effect(done))
	var unfinished *consumer.UnfinishedError
	require.ErrorAs(t, effect(m.Done(rs[1])), &unfinished, "once is enough")
	require.Equal(t, consumer.UnfinishedError{Group: "g", Topic: "events", Offset: 1, Committed: 2}, *unfinished)
	require.ErrorContains(t, unfinished, "record 1 is done already")

	bad := log.ExpectOffset(out.Partition(0), 77)
	require.ErrorIs(t, effect(m.Done(rs[2]), bad), log.ErrOffset)
	require.ErrorAs(t, effect(m.Done(rs[3])), &unfinished)
	require.ErrorContains(t, unfinished, "record 3 cannot be done before record 2 is")
	require.NoError(t, effect(m.Done(rs[2])))
	require.NoError(t, effect(m.Done(rs[3])))
	require.NoError(t, effect(m.Done(rs[5])), "4 was left out")
	require.ErrorIs(t, effect(m.Done(rs[4])), consumer.ErrUnfinished)
	require.Equal(t, int64(4), out.Partition(0).Next(), "each effect once")
	require.Equal(t, map[string]int64{"events/0": 6}, committed(t, l, "g"))
	require.NoError(t, l.Close())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestPartitionRecords reads each partition by a loop of its own, which ends when the partition goes away.
func TestPartitionRecords(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	tp := topic(t, l, "events", 4)
	fill(t, tp, 0, 100)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	loops := map[string]int{} // that are running, by member
	follow := func(m *consumer.Member, name string, p consumer.TopicPartition) {
		mu.Lock()
		loops[name]++
		mu.Unlock()
		wg.Go(func() {
			next := int64(-1)
			for r, err := range m.PartitionRecords(ctx, p) {
				if err != nil || r.Partition != p.Partition || next >= 0 && r.Offset != next {
					t.Error(err, p, r.Partition, r.Offset, next)
					return
				}
				next = r.Offset + 1
				mu.Lock()
				got[string(r.Value)]++
				mu.Unlock()
				m.Mark(r)
			}
			mu.Lock()
			loops[name]--
			mu.Unlock()
		})
	}
	member := func(name string) *consumer.Member {
		var m *consumer.Member
		joined := make(chan struct{})
		m = join(t, l, "g", consumer.Options{Member: name, OnAssigned: func(all []consumer.TopicPartition) {
			for _, p := range all {
				wg.Go(func() {
					<-joined
					follow(m, name, p)
				})
			}
		}})
		close(joined)
		return m
	}
	has := func(name string, n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return loops[name] == n }
	}
	all := func(n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == n }
	}
	a := member("a")
	waitFor(t, all(100))
	b := member("b")
	waitFor(t, has("a", 2))
	waitFor(t, has("b", 2))
	fill(t, tp, 100, 200)
	waitFor(t, all(200))
	for _, err := range a.Records(ctx) {
		require.ErrorIs(t, err, consumer.ErrOptions, "there are loops over its partitions")
	}
	for _, err := range a.PartitionRecords(ctx, a.Assigned()[0]) {
		require.ErrorIs(t, err, consumer.ErrOptions, "there is one over this")
	}
	for range a.PartitionRecords(ctx, b.Assigned()[0]) {
		t.Error("it is not a's")
	}
	require.NoError(t, b.Close())
	waitFor(t, has("b", 0))
	waitFor(t, has("a", 4))
	fill(t, tp, 200, 220)
	waitFor(t, all(220))
	require.NoError(t, l.Close())
	wg.Wait()
	require.True(t, has("a", 0)())
	for v, n := range got {
		require.Equal(t, 1, n, "record %s", v)
	}
}

// TestPartitionRecordsByReturn marks what the loop has asked behind, and ends by its context.
func TestPartitionRecordsByReturn(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	fill(t, topic(t, l, "events", 1), 0, 10)
	m := join(t, l, "g", consumer.Options{Committing: consumer.CommitReturned, MaxUnfinished: 1})
	p := m.Assigned()[0]
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	n := 0
	for _, err := range m.PartitionRecords(ended, p) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		if n++; n == 10 {
			cancel()
		}
	}
	require.Equal(t, 10, n)
	require.NoError(t, m.Commit(ctx))
	require.Equal(t, map[string]int64{"events/0": 10}, committed(t, l, "g"))
	fill(t, must(l.Topic("events")), 10, 12)
	func() {
		defer func() { require.Equal(t, "out of the body", recover()) }()
		for range m.Records(ctx) {
			panic("out of the body")
		}
	}()
	require.NoError(t, m.Commit(ctx))
	require.Equal(t, map[string]int64{"events/0": 10}, committed(t, l, "g"), "a body that panics has finished nothing")
	require.NoError(t, l.Close())
}

// TestRunHandlerHangs takes out a member of Run whose handler does not come back: its partition goes to
// another one, the handler's context ends, and then Run joins again by itself.
func TestRunHandlerHangs(t *testing.T) {
	for _, workers := range []int{1, 3} {
		c := clock.NewManual(time.UnixMilli(1_800_000_000_000))
		l := open(t, vfs.NewMem(), log.Options{Clock: c})
		tp := topic(t, l, "events", 1)
		fill(t, tp, 0, 2)
		var calls, ended atomic.Int64
		o := events
		o.PollTimeout = time.Minute
		stop := running(l, o, consumer.RunOptions{Workers: workers}, func(ctx context.Context, r log.Record) error {
			if calls.Add(1) == 1 {
				<-ctx.Done()
				ended.Add(1)
				return ctx.Err()
			}
			return nil
		})
		waitFor(t, func() bool { return calls.Load() == int64(min(2, workers)) })
		other := join(t, l, "g", consumer.Options{})
		require.Empty(t, other.Assigned())
		waitFor(t, func() bool { c.Advance(time.Second); return len(other.Assigned()) == 1 })
		waitFor(t, func() bool { return ended.Load() == 1 })
		require.Equal(t, []string{"0", "1"}, take(t, other, 2), "they come again: the first was not finished")
		s, err := consumer.OpenStore(ctx, l)
		require.NoError(t, err)
		members := func() int {
			state, err := s.State(ctx, "g")
			require.NoError(t, err)
			return len(state.Members)
		}
		waitFor(t, func() bool { return members() == 2 })
		require.NoError(t, other.Close())
		before := calls.Load()
		fill(t, tp, 2, 3)
		waitFor(t, func() bool { return calls.Load() > before })
		require.NoError(t, stop())
		require.Equal(t, map[string]int64{"events/0": 3}, committed(t, l, "g"))
		require.NoError(t, l.Close())
	}
}

// TestRunEndsWithTheLog closes the log under Run, and while members join.
func TestRunEndsWithTheLog(t *testing.T) {
	for round := range 20 {
		l := open(t, vfs.NewMem(), log.Options{})
		fill(t, topic(t, l, "events", 2), 0, 5)
		var wg sync.WaitGroup
		var handled atomic.Int64
		for range 3 {
			wg.Go(func() {
				err := consumer.Run(ctx, l, "g", events, consumer.RunOptions{Workers: 2}, func(context.Context, log.Record) error {
					handled.Add(1)
					return nil
				})
				if !errors.Is(err, log.ErrClosed) {
					t.Error(fmt.Errorf("round %d: %w", round, err))
				}
			})
		}
		waitFor(t, func() bool { return round%2 == 0 || handled.Load() > 0 })
		require.NoError(t, l.Close())
		wg.Wait()
	}
}
