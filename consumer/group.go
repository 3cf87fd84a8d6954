package consumer

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/stratalog/strata/log"
)

// groups are the groups of a log that this process has members of. It is attached to the log.
type groups struct {
	l     *log.Log
	store *Store

	mu     sync.Mutex
	byName map[string]*group // guarded by mu
	closed bool              // guarded by mu
}

// groupsOf returns the groups of l.
func groupsOf(ctx context.Context, l *log.Log) (*groups, error) {
	c, err := l.Attach("consumer", func() (io.Closer, error) {
		s, err := OpenStore(ctx, l)
		if err != nil {
			return nil, err
		}
		return &groups{l: l, store: s, byName: map[string]*group{}}, nil
	})
	if err != nil {
		return nil, err
	}
	return c.(*groups), nil
}

// Close closes all members. The log calls it.
func (gs *groups) Close() error {
	gs.mu.Lock()
	gs.closed = true
	var all []*group
	for _, g := range gs.byName {
		all = append(all, g)
	}
	gs.mu.Unlock()
	var errs []error
	for _, g := range all {
		errs = append(errs, g.close())
	}
	return errors.Join(errs...)
}

func (gs *groups) group(name string) (*group, error) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.closed {
		return nil, log.ErrClosed
	}
	g := gs.byName[name]
	if g == nil {
		g = &group{l: gs.l, store: gs.store, name: name, members: map[string]*Member{}}
		gs.byName[name] = g
	}
	return g, nil
}

// group coordinates the members of one group in this process. Lock order: turn, mu, Member.mu, claim.mu.
type group struct {
	l     *log.Log
	store *Store
	name  string

	// turn is held over a rebalance, and whatever else changes the group in the log.
	turn sync.Mutex
	// watching ends the watch over topics; nil when there is none. Guarded by turn, like the rest.
	watching context.CancelFunc
	watched  chan struct{}
	// unsettled says that the last rebalance has failed, so that partitions may be without an owner.
	unsettled bool
	closed    bool

	mu      sync.Mutex
	members map[string]*Member // guarded by mu
}

// close closes the members, and lets nobody join any more.
func (g *group) close() error {
	g.turn.Lock() // nobody is only half a member
	g.closed = true
	g.turn.Unlock()
	var errs []error
	for _, m := range g.all() {
		errs = append(errs, m.Close())
	}
	g.unwatch()
	return errors.Join(errs...)
}

// all returns the members, by id.
func (g *group) all() []*Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ms []*Member
	for _, m := range g.members {
		ms = append(ms, m)
	}
	slices.SortFunc(ms, func(a, b *Member) int { return cmp.Compare(a.id, b.id) })
	return ms
}

// topics returns the topics that a member wants, as far as there are such.
func (g *group) topics(s *State) (map[string]*log.Topic, []log.TopicInfo) {
	byName := map[string]*log.Topic{}
	var infos []log.TopicInfo
	for _, m := range s.Members {
		for _, name := range m.Topics {
			if byName[name] != nil {
				continue
			}
			if t, err := g.l.Topic(name); err == nil {
				byName[name] = t
				infos = append(infos, t.Info())
			}
		}
	}
	return byName, infos
}

// rebalance changes the members and shares the partitions out: those that move are drained, then the
// new generation is committed, and only then their new owners learn of it. When it fails, who was to give
// up partitions has them back. turn is held.
func (g *group) rebalance(ctx context.Context, change func(State) State) (err error) {
	defer func() { g.unsettled = err != nil }()
	state, err := g.store.State(ctx, g.name)
	if err != nil {
		return err
	}
	// Who is not here has died with an earlier process, also one whose id a member has who is only joining.
	before := state.Generation
	here := state
	g.mu.Lock()
	here.Members = slices.DeleteFunc(slices.Clone(state.Members), func(s MemberState) bool {
		m := g.members[s.ID]
		return m == nil || !m.joined
	})
	g.mu.Unlock()
	next := change(here)
	// One look at the topics for all of it: they may be deleted and created meanwhile, which the watch
	// tells of afterwards.
	topics, infos := g.topics(&next)
	next = next.Assign(infos, g.l.Now().UnixMilli())
	moved := here.moved(&next)
	if len(moved) == 0 && sameMembers(&state, &next) {
		return nil
	}
	g.drain(&here, &next)
	begins, err := g.announce(ctx, before, &next, moved, topics)
	if err != nil {
		g.giveBack()
		return err
	}
	for _, m := range g.all() {
		m.assign(&next, moved, begins, topics)
	}
	return nil
}

// announce commits the state next of the group, which was at generation before, and returns where the
// partitions that moved begin.
func (g *group) announce(ctx context.Context, before uint32, next *State, moved []TopicPartition, topics map[string]*log.Topic) (map[TopicPartition]int64, error) {
	c := g.l.NewCommit()
	c.Durability(log.Synced)
	on, err := onGroup(g.name, before, next)
	if err != nil {
		return nil, err
	}
	c.Require(on)
	gone, err := g.store.forget(ctx, g.name)
	if err != nil {
		return nil, err
	}
	c.Require(gone...)
	begins := map[TopicPartition]int64{}
	owners := next.owners()
	for _, tp := range moved {
		t := topics[tp.Topic]
		o := Offset{Generation: next.Generation, Offset: -1, LeaderEpoch: -1, Time: next.Time}
		have, ok, err := g.store.Fetch(ctx, g.name, t.Partition(tp.Partition))
		if err != nil {
			return nil, err
		}
		if begins[tp] = have.Offset; !ok {
			// Where it begins is committed, so that it begins there after a crash as well.
			if o.Offset, err = g.begin(t.Partition(tp.Partition), owners[tp]); err != nil {
				return nil, err
			}
			begins[tp] = o.Offset
		}
		c.Require(onOffset(kindAssign, g.name, t, tp.Partition, 0, o))
	}
	_, err = c.Commit(context.WithoutCancel(ctx))
	return begins, err
}

// giveBack has the members go on with what they gave up for a change that was not committed: where the
// group is in the log.
func (g *group) giveBack() {
	for _, m := range g.all() {
		m.takeBack(func(c *claim) (int64, bool) {
			o, ok, err := g.store.Fetch(context.Background(), g.name, c.p)
			return o.Offset, ok && err == nil && o.Generation == c.generation
		})
	}
}

// settle shares the partitions out once more when the last attempt has failed. It does nothing while
// somebody else changes the group.
func (g *group) settle() {
	if !g.turn.TryLock() {
		return
	}
	defer g.turn.Unlock()
	if g.unsettled && !g.closed {
		g.keepUp(context.Background())
	}
}

// keepUp shares the partitions out among the members that there are. turn is held.
func (g *group) keepUp(ctx context.Context) {
	err := g.rebalance(ctx, func(s State) State { return s })
	if err != nil && ctx.Err() == nil && !errors.Is(err, log.ErrClosed) {
		g.l.Options().Logger.Warn("group not rebalanced", "group", g.name, "error", err.Error())
	}
}

// sameMembers reports whether a rebalance would change nothing that is not known already.
func sameMembers(a, b *State) bool {
	return a.Assignor == b.Assignor && maps.Equal(a.Topics, b.Topics) && slices.EqualFunc(a.Members, b.Members, func(x, y MemberState) bool {
		return x.ID == y.ID && slices.Equal(x.Topics, y.Topics) && slices.Equal(x.Owns, y.Owns)
	})
}

// begin returns where the member begins to read p.
func (g *group) begin(p *log.Partition, member string) (int64, error) {
	g.mu.Lock()
	m := g.members[member]
	g.mu.Unlock()
	if m == nil {
		return 0, nil
	}
	return resolve(p, m.o.Start)
}

// resolve returns the first offset of p from s on.
func resolve(p *log.Partition, s log.Start) (int64, error) {
	switch s {
	case log.Oldest:
		return 0, nil
	case log.Newest:
		return p.Next(), nil
	}
	end := p.Next() // before the search, which passes over what comes later
	for r, err := range p.Read(s) {
		if errors.Is(err, log.ErrLost) || errors.Is(err, log.ErrCorrupt) {
			continue
		}
		return r.Offset, err
	}
	return end, nil
}

// drain has the owners of partitions that move give them up, each by itself.
func (g *group) drain(here, next *State) {
	before, after := here.owners(), next.owners()
	var wg sync.WaitGroup
	for _, m := range g.all() {
		was := here.Member(m.id)
		if was == nil {
			continue
		}
		var lost []TopicPartition
		for _, tp := range was.Owns {
			if !here.stays(next, tp, before, after) {
				lost = append(lost, tp)
			}
		}
		if len(lost) > 0 {
			wg.Go(func() { m.giveUp(lost) })
		}
	}
	wg.Wait()
}

// join adds a member.
func (g *group) join(ctx context.Context, m *Member) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	if g.closed {
		return log.ErrClosed
	}
	g.mu.Lock()
	_, taken := g.members[m.id]
	if !taken {
		g.members[m.id] = m
	}
	g.mu.Unlock()
	if taken {
		return errors.Join(ErrOptions, errors.New("consumer: the group has a member "+strconv.Quote(m.id)))
	}
	err := g.rebalance(ctx, func(s State) State {
		s.Assignor = m.o.Assignor
		return s.Join(m.id, m.o.Topics)
	})
	if err != nil {
		g.mu.Lock()
		delete(g.members, m.id)
		g.mu.Unlock()
		return err
	}
	m.joined = true
	if g.watching == nil {
		watch, cancel := context.WithCancel(context.Background())
		g.watching, g.watched = cancel, make(chan struct{})
		go g.watch(watch, g.watched)
	}
	return nil
}

// leave takes a member out. When it was the last one, the watch over topics ends.
func (g *group) leave(m *Member) error {
	g.turn.Lock()
	g.mu.Lock()
	_, there := g.members[m.id]
	g.mu.Unlock()
	var err error
	if there {
		// It gives up its partitions as a member, and is not there any more when they are shared out.
		err = g.rebalance(context.Background(), func(s State) State { return s.Leave(m.id) })
		g.mu.Lock()
		delete(g.members, m.id)
		g.mu.Unlock()
	}
	last := len(g.all()) == 0
	g.turn.Unlock()
	if last {
		g.unwatch()
	}
	return err
}

// unwatch ends the watch over topics and waits for it.
func (g *group) unwatch() {
	g.turn.Lock()
	cancel, watched := g.watching, g.watched
	if len(g.all()) > 0 {
		cancel = nil // somebody joined meanwhile
	} else {
		g.watching = nil
	}
	g.turn.Unlock()
	if cancel != nil {
		cancel()
		<-watched
	}
}

// watch shares partitions out anew when topics get partitions, are created or deleted.
func (g *group) watch(ctx context.Context, watched chan struct{}) {
	defer close(watched)
	for e, err := range g.l.WatchTopics(ctx) {
		if err != nil {
			return
		}
		if !g.wants(e.Info.Name) {
			continue
		}
		g.turn.Lock()
		if ctx.Err() == nil { // else whoever had the turn has ended this
			g.keepUp(ctx)
		}
		g.turn.Unlock()
	}
}

func (g *group) wants(topic string) bool {
	for _, m := range g.all() {
		if slices.Contains(m.o.Topics, topic) {
			return true
		}
	}
	return false
}
