package consumer_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/fuzz/harness"
	"github.com/stratalog/strata/log"
)

// delivered is promised when a member was given a record, handled is attempted then, and passed is
// promised when the offset behind it was committed.
type (
	delivered struct {
		offset int64
		value  string
	}
	handled struct{ offset int64 }
	passed  struct{ offset int64 }
)

// marks reads with commits by mark. What is appended is only written, and synced from time to time.
func marks(s *harness.Session) {
	s.Open()
	for life := range 3 {
		l := s.Log()
		if l == nil {
			return
		}
		in, err := l.CreateTopic(ctx, "in", log.TopicOptions{})
		if err != nil {
			return
		}
		m, err := consumer.Join(ctx, l, "g", consumer.Options{Topics: []string{"in"}, Committing: consumer.CommitExplicit, Member: "same"})
		if err != nil {
			return
		}
		for round := range 3 {
			c := l.NewCommit()
			c.Durability(log.Written)
			c.Append(in, log.Record{Value: fmt.Append(nil, life, round)}, log.Record{Value: []byte("and another")})
			if _, err := c.Commit(ctx); err != nil {
				return
			}
			if round == 1 {
				continue // not synced, so the member does not see it
			}
			if l.Sync(ctx) != nil || !readMarks(s, m, round == 2) {
				return
			}
		}
		if life < 2 {
			s.Kill()
		} else if m.Close() != nil {
			return
		}
	}
}

// readMarks handles what there is, and commits it, but for the last record when some is left.
func readMarks(s *harness.Session, m *consumer.Member, some bool) bool {
	last := int64(-1)
	var before log.Record
	for r, err := range m.Available(ctx) {
		if err != nil {
			return false
		}
		s.Attempt(delivered{r.Offset, string(r.Value)})
		s.Promise(delivered{r.Offset, string(r.Value)})
		s.Attempt(handled{r.Offset})
		if last >= 0 {
			m.Mark(before)
		}
		last, before = r.Offset, r.Clone()
	}
	if last < 0 {
		return true
	}
	if !some {
		m.Mark(before)
		last++
	}
	s.Attempt(passed{last})
	if m.Commit(ctx) != nil {
		return false
	}
	s.Promise(passed{last})
	return true
}

// marksHold checks an image: what was delivered is there; the committed offset is not behind one that was
// acknowledged, and not beyond what was handled; the group goes on there, and nothing is left out.
func marksHold(l *log.Log, notes []harness.Note) error {
	var handledTo, passedTo int64
	in, err := l.Topic("in")
	if err != nil {
		in = nil
	}
	for _, n := range notes {
		switch v := n.Value.(type) {
		case delivered:
			if !n.Acked {
				continue
			}
			if in == nil {
				return fmt.Errorf("record %d was delivered, and its topic is not there: %w", v.offset, err)
			}
			r, err := in.Partition(0).Get(v.offset)
			if err != nil {
				return fmt.Errorf("record %d was delivered: %w", v.offset, err)
			}
			if string(r.Value) != v.value {
				return fmt.Errorf("record %d was delivered as %q, and is %q", v.offset, v.value, r.Value)
			}
		case handled:
			handledTo = max(handledTo, v.offset+1)
		case passed:
			if n.Acked {
				passedTo = max(passedTo, v.offset)
			}
		}
	}
	if in == nil {
		return nil
	}
	s, err := consumer.OpenStore(ctx, l)
	if err != nil {
		return err
	}
	o, _, err := s.Fetch(ctx, "g", in.Partition(0))
	if err != nil {
		return err
	}
	if at := max(o.Offset, 0); at < passedTo || at > handledTo || at > in.Partition(0).Next() {
		return fmt.Errorf("offset %d is committed; acknowledged %d, handled %d, end %d", at, passedTo, handledTo, in.Partition(0).Next())
	}
	return nil
}

// TestFault_S01_S02_S21_CrashAtEveryOperation crashes a member that commits by marks before and after each
// file operation.
func TestFault_S01_S02_S21_CrashAtEveryOperation(t *testing.T) {
	w := harness.Workload{
		Name: "marks", Options: log.Options{SegmentBytes: 64 << 10, SyncInterval: -1}, Opaque: true,
		Steps: marks, Check: marksHold,
	}
	o := harness.Options{Deep: 64, Limit: images(1000, 300)}
	s := harness.Run(t, w, o)
	t.Logf("T1 marks %s", s)
	if s.Images < o.Limit || s.Acked == 0 {
		t.Errorf("%s: the floor is %d images, with promises to check", s, o.Limit)
	}
}

// TestFault_S06_RevokedWhileInTheBody has a partition move while a record of it is in a loop body, which
// finishes in time: its offset is kept, and the new owner goes on behind it.
func TestFault_S06_RevokedWhileInTheBody(t *testing.T) {
	l := open(t, vfs.NewMem(), log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	fill(t, topic(t, l, "events", 1), 0, 5)
	old := join(t, l, "g", consumer.Options{Member: "b", Assignor: consumer.Range})
	in, out := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	seen := 0
	wg.Go(func() {
		for r, err := range old.Records(ctx) {
			if err != nil {
				return
			}
			seen++
			in <- struct{}{}
			<-out
			old.Mark(r)
		}
	})
	<-in
	joined := make(chan *consumer.Member)
	wg.Go(func() {
		m, err := consumer.Join(ctx, l, "g", consumer.Options{Member: "a", Topics: []string{"events"}, Assignor: consumer.Range})
		if err != nil {
			t.Error(err)
		}
		joined <- m
	})
	for range 1000 {
		runtime.Gosched()
	}
	select {
	case <-joined:
		t.Fatal("the partition has moved while its record was in a loop body")
	default:
	}
	out <- struct{}{}
	var m *consumer.Member
	for m == nil {
		select {
		case m = <-joined:
		case <-in: // the join was later than another record
			out <- struct{}{}
		}
	}
	require.NoError(t, old.Close())
	next := []string{}
	for r, err := range m.Available(ctx) {
		require.NoError(t, err)
		next = append(next, string(r.Value))
	}
	require.NoError(t, m.Close())
	wg.Wait()
	require.Equal(t, int64(seen), committed(t, l, "g")["events/0"])
	require.Equal(t, []string{"0", "1", "2", "3", "4"}[seen:], next)
}

// TestFault_S20_NoOffsetIsSkipped reads behind concurrent appenders: the offsets of each partition come
// without a gap.
func TestFault_S20_NoOffsetIsSkipped(t *testing.T) {
	const writers, each = 8, 200
	l := open(t, vfs.NewMem(), log.Options{})
	tp := topic(t, l, "events", 3)
	m := join(t, l, "g", consumer.Options{})
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				c := l.NewCommit()
				for p := range 3 {
					c.AppendTo(tp.Partition(int32(p)), log.Record{Value: []byte("v")})
				}
				if _, err := c.Commit(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var next [3]int64
	n := 0
	for r, err := range m.Records(ctx) {
		require.NoError(t, err)
		require.Equal(t, next[r.Partition], r.Offset)
		next[r.Partition]++
		m.Mark(r)
		if n++; n == 3*writers*each {
			break
		}
	}
	wg.Wait()
	require.NoError(t, m.Close())
	require.NoError(t, l.Close())
}
