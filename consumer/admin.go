package consumer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/stratalog/strata/log"
)

// Target says where a reset moves offsets to.
type Target struct {
	start log.Start
	by    int64
	shift bool
}

// To is the place that s names: oldest, newest, an offset, a position or a time.
func To(s log.Start) Target { return Target{start: s} }

// By is n records further than what is committed, or, with a negative n, that many back; not before the
// oldest nor behind the newest.
func By(n int64) Target { return Target{by: n, shift: true} }

// resolve returns the offset that t is for p, of which have is committed.
func (t Target) resolve(p *log.Partition, have int64) (int64, error) {
	if !t.shift {
		at, err := resolve(p, t.start)
		return min(at, p.Next()), err
	}
	return min(max(max(have, 0)+t.by, 0), p.Next()), nil
}

// Reset moves the offsets of a group, also while it is running: its members give up the partitions in
// question, and go on with them at the new place, without joining again. What they had not committed is
// dropped. Without topics it is all that the group has offsets of. The group need not exist for a reset
// of topics that are named.
func Reset(ctx context.Context, l *log.Log, group string, to Target, topics ...string) error {
	if err := checkName(group); err != nil {
		return err
	}
	gs, err := groupsOf(ctx, l)
	if err != nil {
		return err
	}
	g, err := gs.group(group)
	if err != nil {
		return err
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	return g.reset(ctx, to, topics)
}

// reset is Reset with turn held.
func (g *group) reset(ctx context.Context, to Target, topics []string) error {
	state, err := g.store.State(ctx, g.name)
	if err != nil {
		return err
	}
	partitions, byName, err := g.resettable(ctx, &state, topics)
	if err != nil {
		return err
	}
	next := state
	next.Generation++
	next.Time = g.l.Now().UnixMilli()
	for _, m := range g.all() {
		if s := state.Member(m.id); s != nil {
			m.giveUp(slices.DeleteFunc(slices.Clone(s.Owns), func(tp TopicPartition) bool { return partitions[tp] == nil }))
		}
	}
	begins, err := g.announceReset(ctx, &state, &next, to, partitions)
	if err != nil {
		g.giveBack()
		return err
	}
	moved := slices.SortedFunc(maps.Keys(partitions), TopicPartition.compare)
	for _, m := range g.all() {
		m.assign(&next, moved, begins, byName)
	}
	return nil
}

// announceReset commits that partitions begin elsewhere, in the state next, and returns where.
func (g *group) announceReset(ctx context.Context, state, next *State, to Target, partitions map[TopicPartition]*log.Partition) (map[TopicPartition]int64, error) {
	c := g.l.NewCommit()
	c.Durability(log.Synced)
	on, err := onGroup(g.name, state.Generation, next)
	if err != nil {
		return nil, err
	}
	c.Require(on)
	begins := map[TopicPartition]int64{}
	for _, tp := range slices.SortedFunc(maps.Keys(partitions), TopicPartition.compare) {
		p := partitions[tp]
		have, _, err := g.store.Fetch(ctx, g.name, p)
		if err != nil {
			return nil, err
		}
		if begins[tp], err = to.resolve(p, have.Offset); err != nil {
			return nil, err
		}
		c.Require(onOffset(kindAssign, g.name, p.Topic(), tp.Partition, 0, Offset{
			Generation: next.Generation, Offset: begins[tp], LeaderEpoch: -1, Time: next.Time,
		}))
	}
	_, err = c.Commit(context.WithoutCancel(ctx))
	return begins, err
}

// resettable returns the partitions that a reset is about, and their topics.
func (g *group) resettable(ctx context.Context, state *State, topics []string) (map[TopicPartition]*log.Partition, map[string]*log.Topic, error) {
	if len(topics) == 0 {
		list, err := g.store.Offsets(ctx, g.name)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range list {
			topics = append(topics, c.Topic)
		}
		if len(topics) == 0 && state.Generation == 0 {
			return nil, nil, &GroupError{Group: g.name}
		}
	}
	partitions, byName := map[TopicPartition]*log.Partition{}, map[string]*log.Topic{}
	for _, name := range topics {
		t, err := g.l.Topic(name)
		if err != nil {
			return nil, nil, err
		}
		byName[name] = t
		for i := range t.Partitions() {
			partitions[TopicPartition{name, int32(i)}] = t.Partition(int32(i))
		}
	}
	return partitions, byName, nil
}

// Fork makes a new group that begins where another one is. An existing group of that name is ErrStale.
func Fork(ctx context.Context, l *log.Log, from, to string) error {
	if err := errors.Join(checkName(from), checkName(to)); err != nil {
		return err
	}
	s, err := OpenStore(ctx, l)
	if err != nil {
		return err
	}
	state, err := s.State(ctx, from)
	if err != nil {
		return err
	}
	list, err := s.Offsets(ctx, from)
	if err != nil {
		return err
	}
	if state.Generation == 0 && len(list) == 0 {
		return &GroupError{Group: from}
	}
	next := State{Generation: 1, Assignor: state.Assignor, Time: l.Now().UnixMilli()}
	c := l.NewCommit()
	c.Durability(log.Synced)
	on, err := onGroup(to, 0, &next)
	if err != nil {
		return err
	}
	c.Require(on)
	for _, o := range list {
		t, err := l.Topic(o.Topic)
		if err != nil {
			return err
		}
		o.Offset.Generation = 1
		c.Require(onOffset(kindAssign, to, t, o.Partition, 0, o.Offset))
	}
	_, err = c.Commit(ctx)
	return err
}

// Delete deletes a group and its offsets. One that has members in this process is ErrBusy.
func Delete(ctx context.Context, l *log.Log, group string) error {
	gs, err := groupsOf(ctx, l)
	if err != nil {
		return err
	}
	g, err := gs.group(group)
	if err != nil {
		return err
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	if len(g.all()) > 0 {
		return ErrBusy
	}
	state, err := g.store.State(ctx, group)
	if err != nil {
		return err
	}
	from := offsetKey(group, nil, 0)
	c := l.NewCommit()
	c.Durability(log.Synced)
	n := 0
	if state.Generation > 0 {
		on, err := onGroup(group, state.Generation, nil)
		if err != nil {
			return err
		}
		c.Require(on)
		n++
	}
	for kv, err := range g.store.h.Scan(ctx, from, after(from)) {
		if err != nil {
			return err
		}
		c.Require(deletion(kv.Key))
		n++
	}
	if n == 0 {
		return &GroupError{Group: group}
	}
	_, err = c.Commit(ctx)
	return err
}

// DeleteOffsets deletes what a group has committed of topics, so that it begins anew there. Topics that
// members in this process read are ErrBusy. What was committed of a topic that is deleted need not be: the
// next change of the group, or Expire, does.
func DeleteOffsets(ctx context.Context, l *log.Log, group string, topics ...string) error {
	if err := checkName(group); err != nil {
		return err
	}
	gs, err := groupsOf(ctx, l)
	if err != nil {
		return err
	}
	g, err := gs.group(group)
	if err != nil {
		return err
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	c := l.NewCommit()
	c.Durability(log.Synced)
	n := 0
	for _, name := range topics {
		if g.wants(name) {
			return ErrBusy
		}
		t, err := l.Topic(name)
		if err != nil {
			return err
		}
		for i := range t.Partitions() {
			id := t.ID()
			c.Require(deletion(offsetKey(group, &id, int32(i))))
			n++
		}
	}
	if n == 0 {
		return nil
	}
	_, err = c.Commit(ctx)
	return err
}

// Expire deletes the groups without members in this process that have committed nothing, and not changed,
// for longer than age, and returns their names. Of the others it deletes what was committed of topics that
// were deleted.
func Expire(ctx context.Context, l *log.Log, age time.Duration) ([]string, error) {
	gs, err := groupsOf(ctx, l)
	if err != nil {
		return nil, err
	}
	names, err := gs.store.Groups(ctx)
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, name := range names {
		state, err := gs.store.State(ctx, name)
		if err != nil {
			return gone, err
		}
		list, err := gs.store.Offsets(ctx, name)
		if err != nil {
			return gone, err
		}
		last := state.Time
		for _, o := range list {
			last = max(last, o.Time)
		}
		if l.Now().Sub(time.UnixMilli(last)) <= age {
			if err := gs.store.tidy(ctx, name); err != nil {
				return gone, err
			}
			continue
		}
		switch err := Delete(ctx, l, name); {
		case errors.Is(err, ErrBusy):
		case err != nil:
			return gone, err
		default:
			gone = append(gone, name)
		}
	}
	return gone, nil
}
