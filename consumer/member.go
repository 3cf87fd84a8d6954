package consumer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratalog/strata/log"
)

// Member is one member of a group. Records belongs to one goroutine at a time; the other methods may be
// called concurrently.
type Member struct {
	g  *group
	id string
	o  Options
	// joined says that the group's state has this very member. Guarded by group.turn.
	joined bool

	mu     sync.Mutex
	claims map[TopicPartition]*claim // guarded by mu
	list   []*claim                  // the same, sorted; replaced, never modified. Guarded by mu
	wake   context.CancelFunc        // ends the wait of Records; guarded by mu
	closed bool                      // guarded by mu

	// last is the claim of the record that was delivered last: most calls are about that. Records stores it
	// before the record goes out, so a call about a record never finds an earlier claim of its partition.
	last atomic.Pointer[claim]

	reading atomic.Bool
	// turns counts the loop bodies that began and those that ended: it is odd while one is under way.
	turns atomic.Uint64
	// drain waits for what others do with records of claims; nil without lanes. Immutable while claims are
	// given up.
	drain atomic.Pointer[func([]*claim, <-chan time.Time)]

	closing sync.Once
	err     error // of closing
	stop    chan struct{}
	stopped chan struct{}
	unhook  func() bool // guarded by mu
}

// Join makes a member of the group, which it creates when there is none, and returns when the partitions
// are shared out. The member leaves by Close, when ctx ends, and when the log is closed.
func Join(ctx context.Context, l *log.Log, group string, options Options) (*Member, error) {
	if err := checkName(group); err != nil {
		return nil, err
	}
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	gs, err := groupsOf(ctx, l)
	if err != nil {
		return nil, err
	}
	g, err := gs.group(group)
	if err != nil {
		return nil, err
	}
	m := &Member{
		g: g, id: o.Member, o: o, claims: map[TopicPartition]*claim{},
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if m.id == "" {
		m.id = "member-" + strconv.FormatUint(memberNumber.Add(1), 10)
	}
	if err := g.join(ctx, m); err != nil {
		return nil, err
	}
	go m.tick()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unhook = context.AfterFunc(ctx, func() { _ = m.Close() })
	return m, nil
}

// memberNumber numbers the members of this process that have no id of their own. Those of earlier
// processes are gone when its first one joins.
var memberNumber atomic.Uint64

// ID returns the member's id.
func (m *Member) ID() string { return m.id }

// Group returns the group's name.
func (m *Member) Group() string { return m.g.name }

// Assigned returns the partitions that the member owns.
func (m *Member) Assigned() []TopicPartition {
	var owned []TopicPartition
	for _, c := range m.current() {
		if !c.isLost() {
			owned = append(owned, c.tp)
		}
	}
	return owned
}

func (m *Member) current() []*claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.list
}

// delivered returns the claim by which a record was delivered, or a later one of its partition.
func (m *Member) delivered(r *log.Record) *claim {
	if c := m.last.Load(); c != nil && c.tp.Partition == r.Partition && c.tp.Topic == r.Topic {
		return c
	}
	return m.claim(TopicPartition{r.Topic, r.Partition})
}

func (m *Member) claim(tp TopicPartition) *claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.claims[tp]
}

// assign gives the member what it owns in s. moved are the partitions that have a new owner, of topics.
func (m *Member) assign(s *State, moved []TopicPartition, begins map[TopicPartition]int64, topics map[string]*log.Topic) {
	me := s.Member(m.id)
	m.mu.Lock()
	var got []TopicPartition
	for tp := range m.claims {
		if me == nil || !slices.Contains(me.Owns, tp) {
			delete(m.claims, tp)
		}
	}
	if me != nil {
		for _, tp := range me.Owns {
			if _, isNew := slices.BinarySearchFunc(moved, tp, TopicPartition.compare); !isNew {
				continue
			}
			at := begins[tp]
			m.claims[tp] = &claim{tp: tp, p: topics[tp.Topic].Partition(tp.Partition), generation: s.Generation, next: at, committed: at}
			got = append(got, tp)
		}
	}
	m.last.Store(nil)
	m.list = nil
	for _, c := range m.claims {
		m.list = append(m.list, c)
	}
	slices.SortFunc(m.list, func(a, b *claim) int { return a.tp.compare(b.tp) })
	m.mu.Unlock()
	if len(got) > 0 && m.o.OnAssigned != nil {
		m.o.OnAssigned(got)
	}
	m.rouse()
}

// rouse ends the wait of Records.
func (m *Member) rouse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wake != nil {
		m.wake()
	}
}

// giveUp drains partitions that are given to others, and commits how far they are.
func (m *Member) giveUp(lost []TopicPartition) {
	var claims []*claim
	var busy []<-chan struct{}
	for _, tp := range lost {
		if c := m.claim(tp); c != nil {
			claims = append(claims, c)
			if quiet := c.revoke(); quiet != nil {
				busy = append(busy, quiet)
			}
		}
	}
	m.rouse()
	timer := m.g.l.Options().Clock.NewTimer(m.o.DrainTimeout)
	defer timer.Stop()
	late := false
	for _, quiet := range busy {
		select {
		case <-quiet:
		case <-timer.C():
			late = true
		}
		if late {
			break
		}
	}
	if drain := m.drain.Load(); drain != nil && !late {
		(*drain)(claims, timer.C())
	}
	if m.o.OnRevoked != nil {
		m.o.OnRevoked(lost)
	}
	if m.o.Committing != CommitExplicit {
		if err := m.commit(context.Background(), claims, log.Written); err != nil && !errors.Is(err, log.ErrClosed) {
			m.g.l.Options().Logger.Warn("offsets not committed, their records will come again", "group", m.g.name, "error", err.Error())
		}
	}
	for _, c := range claims {
		c.lose()
	}
}

// Records yields the records of the partitions that the member owns, as they come and go, until ctx ends,
// which is the last error, or the member is closed, which is ErrClosed. Records of a partition come in
// order.
//
// Key, Value and Headers are valid only inside the loop body. A *CorruptError or *LostError of the log is
// passed on, and the loop may go on behind it; any other error ends it.
func (m *Member) Records(ctx context.Context) iter.Seq2[log.Record, error] {
	return m.records(ctx, func(*claim) int64 { return math.MaxInt64 }, true)
}

// Available is Records up to the end that each partition had when it was called, or when the member got the
// partition. It waits for nothing: what cannot be delivered because too many records are unfinished, or
// the partition is paused, is left.
func (m *Member) Available(ctx context.Context) iter.Seq2[log.Record, error] {
	ends := map[*claim]int64{}
	end := func(c *claim) int64 {
		at, known := ends[c]
		if !known {
			at = c.p.Next()
			ends[c] = at
		}
		return at
	}
	for _, c := range m.current() {
		end(c)
	}
	return m.records(ctx, end, false)
}

// records yields the records in front of the end of each partition.
func (m *Member) records(ctx context.Context, end func(*claim) int64, wait bool) iter.Seq2[log.Record, error] {
	return func(yield func(log.Record, error) bool) {
		if m.reading.Swap(true) {
			yield(log.Record{}, fmt.Errorf("%w: two loops over the records of a member", ErrOptions))
			return
		}
		defer m.reading.Store(false)
		for first := 0; ; first++ {
			if err := m.usable(ctx); err != nil {
				yield(log.Record{}, err)
				return
			}
			list := m.current()
			delivered := false
			for i := range list {
				c := list[(first+i)%len(list)]
				some, goOn := m.deliver(ctx, c, end(c), len(list) > 1, yield)
				if !goOn {
					return
				}
				delivered = delivered || some
			}
			switch {
			case delivered:
			case !wait:
				return
			default:
				if err := m.wait(ctx, list); err != nil {
					yield(log.Record{}, err)
					return
				}
			}
		}
	}
}

func (m *Member) usable(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	return ctx.Err()
}

// turnRecords is how many records of a partition come before those of the next one.
const turnRecords = 4096

// deliver hands the records of c out that there are in front of end, or some of them when others want
// their turn.
func (m *Member) deliver(ctx context.Context, c *claim, end int64, others bool, yield func(log.Record, error) bool) (some, goOn bool) {
	end = min(end, c.p.Next())
	from, ok := c.wanted(m.o.MaxUnfinished)
	if !ok || from >= end {
		return false, true
	}
	n, gaps := 0, false
	for r, err := range c.p.Read(log.AtOffset(from)) {
		if err != nil {
			if errors.Is(err, log.ErrNoTopic) {
				c.lose() // deleted; the next rebalance takes it away
				return some, true
			}
			if !yield(log.Record{}, err) {
				return some, false
			}
			if errors.Is(err, log.ErrLost) || errors.Is(err, log.ErrCorrupt) {
				gaps, some = true, true
				continue
			}
			return some, false
		}
		if r.Offset >= end {
			break
		}
		if !c.deliver(r.Offset, m.o.MaxUnfinished) {
			return some, true
		}
		more := m.body(c, r, yield)
		some = true
		if n++; !more {
			return some, false
		}
		if ctx.Err() != nil || others && n >= turnRecords {
			return some, true
		}
	}
	if gaps {
		c.skip(end) // the last of them may have been behind the last record
	}
	return some, true
}

// body runs the loop body for r.
func (m *Member) body(c *claim, r log.Record, yield func(log.Record, error) bool) (more bool) {
	if m.last.Load() != c {
		m.last.Store(c)
	}
	m.turns.Add(1)
	defer func() {
		m.turns.Add(1)
		c.back(r.Offset, more && m.o.Committing == CommitReturned)
	}()
	return yield(r, nil)
}

// wait waits for records or for a change of what the member owns.
func (m *Member) wait(ctx context.Context, list []*claim) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	if m.closed || !slices.Equal(m.list, list) {
		m.mu.Unlock()
		return nil
	}
	m.wake = cancel
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.wake = nil
		m.mu.Unlock()
	}()
	var at []log.PartitionOffset
	for _, c := range list {
		if from, ok := c.wanted(m.o.MaxUnfinished); ok {
			at = append(at, log.PartitionOffset{Partition: c.p, Offset: from})
		}
	}
	if len(at) == 0 {
		<-ctx.Done()
		return nil
	}
	if _, err := m.g.l.WaitBytes(ctx, 1, at); err != nil && ctx.Err() == nil && !errors.Is(err, log.ErrNoTopic) {
		return err
	}
	return nil
}

// Mark says that a record that the member has delivered is finished. The offset that is committed is that
// of the first one that is not.
func (m *Member) Mark(r log.Record) {
	m.finish(m.delivered(&r), r.Offset)
}

func (m *Member) finish(c *claim, offset int64) {
	if c != nil && c.finish(offset, m.o.MaxUnfinished) {
		m.rouse() // the loop may be waiting for room
	}
}

// MarkWith is Mark, and sets the metadata that is committed with the partition's offset.
func (m *Member) MarkWith(r log.Record, metadata string) {
	c := m.delivered(&r)
	if c != nil {
		c.mu.Lock()
		c.metadata = metadata
		c.mu.Unlock()
	}
	m.finish(c, r.Offset)
}

// Done returns the condition by which a commit finishes a record: the offset of the group moves behind it
// in that very commit, which does not happen when the partition is somebody else's meanwhile (a
// *FencedError), or when the record before it is not done (an *UnfinishedError). So what the commit
// appends happens exactly once for each record. Records of a partition must be done in order; one whose
// commit has failed is tried again with the same record. Partitions of which Done is used are not
// committed by marks.
func (m *Member) Done(r log.Record) log.Condition {
	c := m.delivered(&r)
	if c == nil {
		// Not owned any more: a condition that cannot hold says so where the commit is made.
		t, err := m.g.l.Topic(r.Topic)
		if err != nil {
			return log.Condition{View: viewName}
		}
		return onOffset(kindDone, m.g.name, t, r.Partition, r.Offset, Offset{Offset: r.Offset + 1, LeaderEpoch: -1})
	}
	must := c.doing(r.Offset)
	return onOffset(kindDone, m.g.name, c.p.Topic(), r.Partition, must, Offset{
		Generation: c.generation, Offset: r.Offset + 1, LeaderEpoch: -1, Time: m.g.l.Now().UnixMilli(),
	})
}

// Commit commits, as synced, how far all partitions of the member are. Partitions that it does not own
// any more are left out, and reported by a *FencedError.
func (m *Member) Commit(ctx context.Context) error { return m.commit(ctx, m.current(), log.Synced) }

// commit commits how far claims are, in one commit.
func (m *Member) commit(ctx context.Context, claims []*claim, d log.Durability) error {
	var fencedBy error
	for {
		c := m.g.l.NewCommit()
		c.Durability(d)
		offsets := map[*claim]int64{}
		for _, cl := range claims {
			offset, metadata, ok := cl.due()
			if !ok {
				continue
			}
			offsets[cl] = offset
			c.Require(onOffset(kindCommit, m.g.name, cl.p.Topic(), cl.tp.Partition, 0, Offset{
				Generation: cl.generation, Offset: offset, LeaderEpoch: -1, Time: m.g.l.Now().UnixMilli(), Metadata: metadata,
			}))
		}
		if len(offsets) == 0 {
			return fencedBy
		}
		_, err := c.Commit(ctx)
		var fenced *FencedError
		if errors.As(err, &fenced) {
			fencedBy = err
			lost := TopicPartition{fenced.Topic, fenced.Partition}
			for cl := range offsets {
				if cl.tp == lost {
					cl.lose()
				}
			}
			continue // the others
		}
		if err != nil {
			return err
		}
		for cl, offset := range offsets {
			cl.noteCommitted(offset)
		}
		return fencedBy
	}
}

// Pause stops the delivery of partitions, which stay the member's, Resume goes on with them.
func (m *Member) Pause(partitions ...TopicPartition) { m.setPaused(partitions, true) }

// Resume ends a Pause.
func (m *Member) Resume(partitions ...TopicPartition) { m.setPaused(partitions, false) }

func (m *Member) setPaused(partitions []TopicPartition, paused bool) {
	for _, tp := range partitions {
		if c := m.claim(tp); c != nil {
			c.mu.Lock()
			c.paused = paused
			c.mu.Unlock()
		}
	}
	m.rouse()
}

// tick commits what was marked, and takes the member out when its loop body hangs.
func (m *Member) tick() {
	defer close(m.stopped)
	clock := m.g.l.Options().Clock
	timer := clock.NewTimer(m.o.CommitEvery)
	defer timer.Stop()
	turns, since := m.turns.Load(), clock.Monotonic()
	for {
		select {
		case <-m.stop:
			return
		case <-timer.C():
		}
		if now := m.turns.Load(); now != turns || now%2 == 0 {
			turns, since = now, clock.Monotonic()
		} else if clock.Monotonic()-since > m.o.PollTimeout {
			m.g.l.Options().Logger.Warn("member hangs and is taken out of its group", "group", m.g.name, "member", m.id)
			m.mu.Lock()
			m.closed = true
			m.mu.Unlock()
			for _, c := range m.current() {
				c.lose()
			}
			if err := m.g.leave(m); err != nil {
				m.g.l.Options().Logger.Warn("group not rebalanced", "group", m.g.name, "error", err.Error())
			}
			return
		}
		if m.o.Committing != CommitExplicit {
			if err := m.commit(context.Background(), m.current(), log.Written); err != nil && !errors.Is(err, ErrFenced) && !errors.Is(err, log.ErrClosed) {
				m.g.l.Options().Logger.Warn("offsets not committed", "group", m.g.name, "error", err.Error())
			}
		}
		timer.Reset(m.o.CommitEvery)
	}
}

// Close leaves the group: what was marked is committed, and the partitions go to the others. It waits for
// the loop body that is under way, DrainTimeout at most, so the loop must not call it from its body.
// Calling it again does nothing.
func (m *Member) Close() error {
	m.closing.Do(func() {
		m.mu.Lock()
		m.closed = true
		if m.unhook != nil {
			m.unhook()
		}
		m.mu.Unlock()
		close(m.stop)
		m.rouse()
		<-m.stopped
		m.err = m.g.leave(m)
	})
	return m.err
}
