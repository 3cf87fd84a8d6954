package consumer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratalog/strata/log"
)

// Member is one member of a group. Records, or PartitionRecords of one partition, belongs to one goroutine
// at a time; the other methods may be called concurrently.
type Member struct {
	g  *group
	id string
	o  Options
	// joined says that the group's state has this very member. Guarded by group.turn.
	joined bool

	mu     sync.Mutex
	claims map[TopicPartition]*claim // guarded by mu
	list   []*claim                  // the same, sorted; replaced, never modified. Guarded by mu
	// loops are the partitions that loops are reading, or everything. Guarded by mu.
	loops map[TopicPartition]bool
	// waits end the waits of loops. Guarded by mu.
	waits  map[*context.CancelFunc]bool
	closed bool // guarded by mu

	// last is the claim of the records that Records is delivering: most calls are about them. It is stored
	// before the first of them goes out, so a call about one never finds an earlier claim of its partition.
	last atomic.Pointer[claim]

	// lanes handle the records; nil without Run.
	lanes atomic.Pointer[lanes]

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
		loops: map[TopicPartition]bool{}, waits: map[*context.CancelFunc]bool{},
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
	m.publishLocked()
	m.mu.Unlock()
	m.tellAssigned(got)
}

// takeBack replaces the claims that were given up by new ones of the same generation, which go on where
// committed says; false of that is not to have it back.
func (m *Member) takeBack(committed func(*claim) (int64, bool)) {
	var got []TopicPartition
	for _, c := range m.current() {
		at, ok := int64(0), false
		if c.isLost() {
			at, ok = committed(c)
		}
		if !ok {
			continue
		}
		m.mu.Lock()
		if !m.closed && m.claims[c.tp] == c {
			m.claims[c.tp] = &claim{tp: c.tp, p: c.p, generation: c.generation, next: at, committed: at}
			got = append(got, c.tp)
		}
		m.publishLocked()
		m.mu.Unlock()
	}
	m.tellAssigned(got)
}

// publishLocked makes list what claims is.
func (m *Member) publishLocked() {
	m.last.Store(nil)
	m.list = slices.SortedFunc(maps.Values(m.claims), func(a, b *claim) int { return a.tp.compare(b.tp) })
}

// tellAssigned tells of partitions that the member got.
func (m *Member) tellAssigned(got []TopicPartition) {
	if len(got) > 0 && m.o.OnAssigned != nil {
		m.o.OnAssigned(got)
	}
	m.rouse()
}

// rouse ends the waits of loops.
func (m *Member) rouse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for cancel := range m.waits {
		(*cancel)()
	}
}

// giveUp drains partitions that are given to others, and commits how far they are.
func (m *Member) giveUp(lost []TopicPartition) {
	if len(lost) == 0 {
		return
	}
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
	if ls := m.lanes.Load(); ls != nil {
		ls.drop(claims)
		if late || !ls.drained(claims, timer.C()) {
			ls.abandon(claims)
		}
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
// commit has failed is tried again with the same record; one that is left out is passed by the next.
// Partitions of which Done is used are not committed by marks any more.
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

// hangs reports whether a record has been in a loop body, or in a handler, for longer than PollTimeout.
func (m *Member) hangs(now time.Duration) bool {
	hangs := false
	for _, c := range m.current() {
		hangs = c.hangs(now, m.o.PollTimeout) || hangs
	}
	if ls := m.lanes.Load(); ls != nil {
		hangs = ls.hangs(now, m.o.PollTimeout) || hangs
	}
	return hangs
}

// expel takes the member out of its group, whose partitions go to others without waiting for what hangs.
func (m *Member) expel() {
	m.g.l.Options().Logger.Warn("member hangs and is taken out of its group", "group", m.g.name, "member", m.id)
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	claims := m.current()
	for _, c := range claims {
		c.lose()
	}
	if ls := m.lanes.Load(); ls != nil {
		ls.abandon(claims)
	}
	if err := m.g.leave(m); err != nil {
		m.g.l.Options().Logger.Warn("group not rebalanced", "group", m.g.name, "error", err.Error())
	}
	m.rouse()
}

// tick commits what was marked, and takes the member out when it hangs.
func (m *Member) tick() {
	defer close(m.stopped)
	clock := m.g.l.Options().Clock
	timer := clock.NewTimer(m.o.CommitEvery)
	defer timer.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-timer.C():
		}
		if m.hangs(clock.Monotonic()) {
			m.expel()
			return
		}
		m.g.settle()
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
