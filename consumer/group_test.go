package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func open(t testing.TB, fs vfs.FS, o log.Options) *log.Log {
	t.Helper()
	o.FS = fs
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	l, err := log.Open("data", o)
	require.NoError(t, err)
	return l
}

func topic(t testing.TB, l *log.Log, name string, partitions int) *log.Topic {
	t.Helper()
	tp, err := l.CreateTopic(ctx, name, log.TopicOptions{Partitions: partitions})
	require.NoError(t, err)
	return tp
}

func fill(t testing.TB, tp *log.Topic, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		_, err := tp.Append(ctx, log.Record{Key: fmt.Append(nil, "k", i), Value: fmt.Append(nil, i)})
		require.NoError(t, err)
	}
}

func join(t testing.TB, l *log.Log, group string, o consumer.Options) *consumer.Member {
	t.Helper()
	if o.Topics == nil {
		o.Topics = []string{"events"}
	}
	m, err := consumer.Join(ctx, l, group, o)
	require.NoError(t, err)
	return m
}

// take reads n records and marks them.
func take(t testing.TB, m *consumer.Member, n int) []string {
	t.Helper()
	var got []string
	if n == 0 {
		return nil
	}
	for r, err := range m.Records(ctx) {
		require.NoError(t, err)
		got = append(got, string(r.Value))
		m.Mark(r)
		if len(got) == n {
			break
		}
	}
	return got
}

func committed(t testing.TB, l *log.Log, group string) map[string]int64 {
	t.Helper()
	s, err := consumer.OpenStore(ctx, l)
	require.NoError(t, err)
	list, err := s.Offsets(ctx, group)
	require.NoError(t, err)
	m := map[string]int64{}
	for _, c := range list {
		m[c.TopicPartition.String()] = c.Offset.Offset
	}
	return m
}

// TestFault_S03_FirstUnfinished marks out of order: what is committed is the first unfinished record's offset, and
// exactly what lies behind it comes again.
func TestFault_S03_FirstUnfinished(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, log.Options{})
	fill(t, topic(t, l, "events", 1), 0, 10)
	m := join(t, l, "g", consumer.Options{})
	var all []log.Record
	for r, err := range m.Records(ctx) {
		require.NoError(t, err)
		all = append(all, r.Clone())
		if len(all) == 10 {
			break
		}
	}
	for i, mark := range []int{1, 2, 0, 5, 4, 9} {
		m.Mark(all[mark])
		require.NoError(t, m.Commit(ctx))
		require.Equal(t, int64([]int{0, 0, 3, 3, 3, 3}[i]), committed(t, l, "g")["events/0"])
	}
	m.Mark(all[3])
	m.Mark(all[3]) // again: nothing
	require.NoError(t, l.Close())

	l = open(t, fs, log.Options{})
	require.Equal(t, int64(6), committed(t, l, "g")["events/0"])
	m = join(t, l, "g", consumer.Options{})
	require.Equal(t, []string{"6", "7", "8", "9"}, take(t, m, 4))
	require.NoError(t, l.Close())
}

// TestMembersShare joins and leaves: every record comes once in each group, and the generation rises,
// also across openings.
func TestMembersShare(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, log.Options{})
	tp := topic(t, l, "events", 4)
	fill(t, tp, 0, 40)
	a := join(t, l, "g", consumer.Options{})
	require.Len(t, a.Assigned(), 4)
	var mu sync.Mutex
	seen := map[string]int{}
	var revoked []consumer.TopicPartition
	read := func(m *consumer.Member, wg *sync.WaitGroup) {
		wg.Go(func() {
			for r, err := range m.Records(ctx) {
				if errors.Is(err, consumer.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[string(r.Value)]++
				mu.Unlock()
				m.Mark(r)
			}
		})
	}
	var wg sync.WaitGroup
	read(a, &wg)
	b := join(t, l, "g", consumer.Options{OnRevoked: func(p []consumer.TopicPartition) { revoked = append(revoked, p...) }})
	read(b, &wg)
	require.Len(t, a.Assigned(), 2)
	require.Len(t, b.Assigned(), 2)
	fill(t, tp, 40, 100)
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 100 })
	require.NoError(t, b.Close())
	require.Len(t, revoked, 2)
	require.Len(t, a.Assigned(), 4)
	fill(t, tp, 100, 120)
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 120 })
	for v, n := range seen {
		require.Equal(t, 1, n, "record %s", v)
	}
	s, err := consumer.OpenStore(ctx, l)
	require.NoError(t, err)
	state, err := s.State(ctx, "g")
	require.NoError(t, err)
	require.Equal(t, uint32(3), state.Generation)
	require.NoError(t, l.Close())
	wg.Wait()

	l = open(t, fs, log.Options{})
	m := join(t, l, "g", consumer.Options{})
	s, err = consumer.OpenStore(ctx, l)
	require.NoError(t, err)
	state, err = s.State(ctx, "g")
	require.NoError(t, err)
	require.Greater(t, state.Generation, uint32(3))
	require.Len(t, state.Members, 1, "those of the process before are gone")
	for _, n := range committed(t, l, "g") {
		require.Positive(t, n)
	}
	require.NoError(t, m.Close())
	require.NoError(t, l.Close())
}

// waitFor yields until what other goroutines do has come to something.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatal("nothing happens any more")
		}
		runtime.Gosched()
	}
}

// TestGroupsDoNotDisturb has two groups of three members: each group sees all, each record once.
func TestGroupsDoNotDisturb(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	tp := topic(t, l, "events", 6)
	fill(t, tp, 0, 200)
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]map[string]int{"one": {}, "two": {}}
	members := map[string][]*consumer.Member{}
	for group := range seen {
		for range 3 {
			members[group] = append(members[group], join(t, l, group, consumer.Options{}))
		}
	}
	for group := range seen {
		for _, m := range members[group] {
			wg.Go(func() {
				for r, err := range m.Records(ctx) {
					if err != nil {
						return
					}
					mu.Lock()
					seen[group][string(r.Value)]++
					mu.Unlock()
					m.Mark(r)
				}
			})
		}
	}
	fill(t, tp, 200, 300)
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(seen["one"]) == 300 && len(seen["two"]) == 300 })
	require.NoError(t, l.Close())
	wg.Wait()
	for _, group := range seen {
		for v, n := range group {
			require.Equal(t, 1, n, "record %s", v)
		}
	}
}

// TestHundredGroups has 100 groups read a topic: each sees each record once, and the groups' topic has
// their joins, leaves and commits of offsets, and nothing more.
func TestHundredGroups(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	fill(t, topic(t, l, "events", 1), 0, 50)
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
	}
	for i := range 100 {
		m := join(t, l, fmt.Sprint("g", i), consumer.Options{Committing: consumer.CommitExplicit})
		require.Equal(t, want, take(t, m, 50))
		require.NoError(t, m.Commit(ctx))
		require.NoError(t, m.Close())
	}
	require.NoError(t, l.Sync(ctx))
	own, err := l.Topic("__strata.groups")
	require.NoError(t, err)
	// Of each: the group with a member, where the partition begins, its offset, the group without.
	require.Equal(t, int64(100*4), own.Partition(0).Next())
	counts := map[string]int{}
	for r, err := range l.Read(log.Oldest, log.ReadOptions{System: true}) {
		require.NoError(t, err)
		counts[r.Topic]++
	}
	require.Equal(t, map[string]int{"events": 50, "__strata.groups": 400, "__strata.topics": 3}, counts)
}

// TestFault_S04_Zombie freezes a member in its loop body until its partition has moved: its commit, by
// mark and with effects, is refused, and that of the new owner stays.
func TestFault_S04_Zombie(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(1_800_000_000_000))
	l := open(t, vfs.NewMem(), log.Options{Clock: c})
	defer func() { require.NoError(t, l.Close()) }()
	tp := topic(t, l, "events", 1)
	out := topic(t, l, "out", 1)
	fill(t, tp, 0, 3)
	frozen := join(t, l, "g", consumer.Options{Member: "b", DrainTimeout: time.Second})
	in, thaw := make(chan log.Record), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for r, err := range frozen.Records(ctx) {
			if err != nil {
				return
			}
			in <- r.Clone()
			<-thaw
			break
		}
	})
	r := <-in
	joined := make(chan *consumer.Member)
	wg.Go(func() {
		// Leaves first, so that the only partition goes to the new one.
		m, err := consumer.Join(ctx, l, "g", consumer.Options{Member: "a", Topics: []string{"events"}, Assignor: consumer.Range})
		if err != nil {
			t.Error(err)
		}
		joined <- m
	})
	// The drain waits by the clock, for the body that does not end.
	var fresh *consumer.Member
	for fresh == nil {
		select {
		case fresh = <-joined:
		default:
			c.Advance(300 * time.Millisecond)
			runtime.Gosched()
		}
	}
	require.Len(t, fresh.Assigned(), 1, "the partition has moved")
	require.Equal(t, []string{"0", "1"}, take(t, fresh, 2))
	require.NoError(t, fresh.Commit(ctx))
	commit := l.NewCommit()
	commit.Append(out, log.Record{Value: []byte("effect")})
	commit.Require(frozen.Done(r))
	_, err := commit.Commit(ctx)
	require.ErrorIs(t, err, consumer.ErrFenced)
	var f *consumer.FencedError
	require.ErrorAs(t, err, &f)
	require.Equal(t, "events", f.Topic)
	require.Contains(t, err.Error(), "events/0")
	frozen.Mark(r)
	require.NoError(t, frozen.Commit(ctx), "it owns nothing, so there is nothing to commit")
	close(thaw)
	require.Equal(t, int64(2), committed(t, l, "g")["events/0"])
	require.Zero(t, out.Partition(0).Next(), "no effect")
	require.NoError(t, frozen.Close())
	require.NoError(t, fresh.Close())
	wg.Wait()
}

// TestHangingMember takes a member out whose loop body does not end.
func TestHangingMember(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(1_800_000_000_000))
	l := open(t, vfs.NewMem(), log.Options{Clock: c})
	defer func() { require.NoError(t, l.Close()) }()
	fill(t, topic(t, l, "events", 1), 0, 1)
	hangs := join(t, l, "g", consumer.Options{PollTimeout: time.Minute})
	waits := join(t, l, "g", consumer.Options{})
	in, thaw, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		for r, err := range hangs.Records(ctx) {
			if err != nil {
				done <- err
				return
			}
			in <- struct{}{}
			<-thaw
			hangs.Mark(r)
		}
	}()
	<-in
	waitFor(t, func() bool { c.Advance(time.Second); return len(waits.Assigned()) == 1 })
	close(thaw)
	require.ErrorIs(t, <-done, consumer.ErrClosed)
	require.Equal(t, []string{"0"}, take(t, waits, 1), "it comes again")
}

// TestStart begins where nothing is committed at each kind of place.
func TestStart(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, log.Options{})
	tp := topic(t, l, "events", 1)
	for i := range 10 {
		_, err := tp.Append(ctx, log.Record{Value: fmt.Append(nil, i), Timestamp: time.UnixMilli(int64(1000 * i))})
		require.NoError(t, err)
	}
	for i, tc := range []struct {
		start log.Start
		want  string
	}{
		{log.Oldest, "0"}, {log.AtOffset(4), "4"}, {log.AtTime(time.UnixMilli(6500)), "7"}, {log.Newest, "10"},
		{log.AtTime(time.UnixMilli(1 << 43)), "10"},
	} {
		group := fmt.Sprint("g", i)
		m := join(t, l, group, consumer.Options{Start: tc.start})
		if tc.want == "10" {
			// Where it began is kept, although nothing was read.
			require.NoError(t, m.Close())
			if i == 3 {
				fill(t, tp, 10, 11)
			}
			m = join(t, l, group, consumer.Options{Start: log.Oldest})
			if i != 3 {
				require.Equal(t, int64(11), committed(t, l, group)["events/0"])
				require.NoError(t, m.Close())
				continue
			}
		}
		require.Equal(t, []string{tc.want}, take(t, m, 1))
		require.NoError(t, m.Close())
	}
	require.NoError(t, l.Close())
}

// TestResetWhileRunning moves a running group, which goes on at the new place without joining again.
func TestResetWhileRunning(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	tp := topic(t, l, "events", 2)
	fill(t, tp, 0, 20)
	m := join(t, l, "g", consumer.Options{})
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for r, err := range m.Records(ctx) {
			if err != nil {
				return
			}
			mu.Lock()
			seen[string(r.Value)]++
			mu.Unlock()
			m.Mark(r)
		}
	})
	each := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			for i := range 20 {
				if seen[fmt.Sprint(i)] != n {
					return false
				}
			}
			return true
		}
	}
	waitFor(t, each(1))
	require.NoError(t, consumer.Reset(ctx, l, "g", consumer.To(log.Oldest)))
	waitFor(t, each(2))
	require.NoError(t, m.Commit(ctx))
	require.NoError(t, consumer.Reset(ctx, l, "g", consumer.By(-1000)))
	waitFor(t, each(3))
	require.NoError(t, consumer.Reset(ctx, l, "g", consumer.By(1000), "events"))
	require.NoError(t, consumer.Fork(ctx, l, "g", "copy"))
	require.Equal(t, committed(t, l, "g"), committed(t, l, "copy"))
	require.ErrorIs(t, consumer.Fork(ctx, l, "g", "copy"), consumer.ErrStale)
	require.ErrorIs(t, consumer.Fork(ctx, l, "none", "copy2"), consumer.ErrGroup)
	require.ErrorIs(t, consumer.Reset(ctx, l, "none", consumer.To(log.Oldest)), consumer.ErrGroup)
	require.ErrorIs(t, consumer.Delete(ctx, l, "g"), consumer.ErrBusy)
	require.NoError(t, m.Close())
	wg.Wait()
	require.NoError(t, consumer.Delete(ctx, l, "g"))
	require.Empty(t, committed(t, l, "g"))
	require.ErrorIs(t, consumer.Delete(ctx, l, "g"), consumer.ErrGroup)
	s, err := consumer.OpenStore(ctx, l)
	require.NoError(t, err)
	names, err := s.Groups(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"copy"}, names)
	require.NoError(t, l.Close())
}

// TestExpire deletes what nobody has touched.
func TestExpire(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(1_800_000_000_000))
	l := open(t, vfs.NewMem(), log.Options{Clock: c})
	fill(t, topic(t, l, "events", 1), 0, 3)
	old, busy := join(t, l, "old", consumer.Options{}), join(t, l, "busy", consumer.Options{})
	require.NoError(t, old.Close())
	c.Advance(48 * time.Hour)
	fresh := join(t, l, "fresh", consumer.Options{})
	require.NoError(t, fresh.Close())
	gone, err := consumer.Expire(ctx, l, 24*time.Hour)
	require.NoError(t, err)
	require.Equal(t, []string{"old"}, gone)
	require.NoError(t, busy.Close())
	require.NoError(t, l.Close())
}

// TestPauseAndGrow pauses a partition, and adds partitions to the topic while the group is reading.
func TestPauseAndGrow(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	tp := topic(t, l, "events", 2)
	m := join(t, l, "g", consumer.Options{Topics: []string{"events", "later"}})
	p0 := consumer.TopicPartition{Topic: "events", Partition: 0}
	m.Pause(p0)
	for i := range 2 {
		_, err := tp.Partition(int32(i)).Append(ctx, log.Record{Value: fmt.Append(nil, "p", i)})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"p1"}, take(t, m, 1))
	m.Resume(p0)
	require.Equal(t, []string{"p0"}, take(t, m, 1))

	got := make(chan string)
	var wg sync.WaitGroup
	wg.Go(func() {
		for r, err := range m.Records(ctx) {
			if err != nil {
				return
			}
			got <- string(r.Value)
			m.Mark(r)
		}
	})
	require.NoError(t, l.AlterTopic(ctx, "events", log.TopicOptions{Partitions: 3}))
	_, err := tp.Partition(2).Append(ctx, log.Record{Value: []byte("p2")})
	require.NoError(t, err)
	require.Equal(t, "p2", <-got)
	_, err = topic(t, l, "later", 1).Append(ctx, log.Record{Value: []byte("created")})
	require.NoError(t, err)
	require.Equal(t, "created", <-got)
	require.NoError(t, l.DeleteTopic(ctx, "later"))
	_, err = tp.Partition(2).Append(ctx, log.Record{Value: []byte("goes on")})
	require.NoError(t, err)
	require.Equal(t, "goes on", <-got)
	require.NoError(t, l.Close())
	wg.Wait()
}

// TestBadInput gets a typed error for each.
func TestBadInput(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	tp := topic(t, l, "events", 1)
	for _, name := range []string{"", string(make([]byte, 250)), "\xff"} {
		_, err := consumer.Join(ctx, l, name, consumer.Options{Topics: []string{"events"}})
		require.ErrorIs(t, err, consumer.ErrName)
	}
	for _, o := range []consumer.Options{{}, {Topics: []string{"a"}, Assignor: 9}, {Topics: []string{"a"}, Committing: 9}, {Topics: []string{"a"}, CommitEvery: -1}} {
		_, err := consumer.Join(ctx, l, "g", o)
		require.ErrorIs(t, err, consumer.ErrOptions)
	}
	m := join(t, l, "g", consumer.Options{Member: "same"})
	_, err := consumer.Join(ctx, l, "g", consumer.Options{Member: "same", Topics: []string{"events"}})
	require.ErrorIs(t, err, consumer.ErrOptions)
	s, err := consumer.OpenStore(ctx, l)
	require.NoError(t, err)
	for _, offset := range []int64{-1, 1} {
		_, err = s.Commit("simple", 0, consumer.Position{Partition: tp.Partition(0), Offset: offset})
		require.ErrorIs(t, err, consumer.ErrOffset)
	}
	require.NoError(t, m.Close())
	for _, err := range m.Records(ctx) {
		require.ErrorIs(t, err, consumer.ErrClosed)
	}
	require.NoError(t, m.Close())
}

// TestFault_S07_StoreAlone commits offsets without members, as a listener or a simple consumer does.
func TestFault_S07_StoreAlone(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	tp := topic(t, l, "events", 1)
	fill(t, tp, 0, 10)
	s, err := consumer.OpenStore(ctx, l)
	require.NoError(t, err)
	commit := func(offset int64, metadata string) error {
		on, err := s.Commit("simple", 0, consumer.Position{Partition: tp.Partition(0), Offset: offset, Metadata: metadata})
		require.NoError(t, err)
		c := l.NewCommit()
		c.Require(on...)
		_, err = c.Commit(ctx)
		return err
	}
	for _, step := range []struct {
		offset int64
		want   int64
	}{{3, 3}, {2, 3}, {3, 3}, {7, 7}, {0, 7}} {
		require.NoError(t, commit(step.offset, fmt.Sprint("at ", step.offset)))
		o, ok, err := s.Fetch(ctx, "simple", tp.Partition(0))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, step.want, o.Offset)
	}
	o, _, err := s.Fetch(ctx, "simple", tp.Partition(0))
	require.NoError(t, err)
	require.Equal(t, "at 7", o.Metadata)
	// Once it has members, who commits without a generation is fenced.
	m := join(t, l, "simple", consumer.Options{})
	require.ErrorIs(t, commit(9, ""), consumer.ErrFenced)
	require.Equal(t, []string{"7"}, take(t, m, 1))
	require.NoError(t, m.Close())
}
