package consumer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/stratalog/strata/log"
)

// Store reads and changes what the log keeps of groups. It is usable by itself: by tools, and by a
// listener that drives groups whose members are elsewhere. Its methods may be called concurrently.
type Store struct {
	l *log.Log
	h *log.ViewHandle
}

// OpenStore returns the store of the groups of l. On a log that was opened read-only it only reads.
func OpenStore(ctx context.Context, l *log.Log) (*Store, error) {
	h, err := l.Register(ctx, groupsView{})
	if err != nil {
		return nil, err
	}
	return &Store{l, h}, nil
}

const maxNameBytes = 249

func checkName(group string) error {
	if group == "" || len(group) > maxNameBytes || !utf8.ValidString(group) {
		return fmt.Errorf("%w: %.260q", ErrName, group)
	}
	return nil
}

// State returns the state of a group; the zero State when there is no such group.
func (s *Store) State(ctx context.Context, group string) (State, error) {
	state := State{}
	b, ok, err := s.h.Get(ctx, groupKey(group))
	if err != nil || !ok {
		return state, err
	}
	if err := json.Unmarshal(b, &state); err != nil {
		return state, fmt.Errorf("consumer: group %q: %w", group, err)
	}
	return state, nil
}

// Groups lists the groups by name, also those that have offsets and never had members.
func (s *Store) Groups(ctx context.Context) ([]string, error) {
	var names []string
	for kv, err := range s.h.Scan(ctx, []byte{'g'}, []byte{'g' + 1}) {
		if err != nil {
			return nil, err
		}
		names = append(names, string(kv.Key[1:]))
	}
	for from, end := []byte{'o'}, []byte{'o' + 1}; from != nil; {
		next := []byte(nil)
		for kv, err := range s.h.Scan(ctx, from, end) {
			if err != nil {
				return nil, err
			}
			name, _, _, err := splitOffsetKey(kv.Key)
			if err != nil {
				return nil, err
			}
			names = append(names, name)
			next = after(offsetKey(name, nil, 0)) // one step for each group
			break
		}
		from = next
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Fetch returns what is committed of a partition; false when nothing is.
func (s *Store) Fetch(ctx context.Context, group string, p *log.Partition) (Offset, bool, error) {
	id := p.Topic().ID()
	b, ok, err := s.h.Get(ctx, offsetKey(group, &id, p.Index()))
	if err != nil || !ok {
		return Offset{}, false, err
	}
	o := decodeOffset(b)
	return o, o.Offset >= 0, nil
}

// Committed is what a group has committed of one partition.
type Committed struct {
	TopicPartition
	Offset
	// End is the offset behind the last record that readers see, Lag how many of them are not done.
	End, Lag int64
}

// topics returns the topics that there are, those of the engine too.
func (s *Store) topics() map[log.UUID]*log.Topic {
	byID := map[log.UUID]*log.Topic{}
	for _, i := range append(s.l.Topics(), s.l.SystemTopics()...) {
		t, err := s.l.Topic(i.Name)
		if err != nil {
			continue // deleted meanwhile
		}
		byID[t.ID()] = t
	}
	return byID
}

// forget returns the conditions that delete the offsets of a group in topics that were deleted.
func (s *Store) forget(ctx context.Context, group string) ([]log.Condition, error) {
	byID := map[log.UUID][]log.Condition{}
	from := offsetKey(group, nil, 0)
	for kv, err := range s.h.Scan(ctx, from, after(from)) {
		if err != nil {
			return nil, err
		}
		_, id, _, err := splitOffsetKey(kv.Key)
		if err != nil {
			return nil, err
		}
		byID[id] = append(byID[id], deletion(kv.Key))
	}
	// The topics are looked at after the offsets: one that is not among them was, and is no more.
	for id := range s.topics() {
		delete(byID, id)
	}
	var all []log.Condition
	for _, id := range slices.SortedFunc(maps.Keys(byID), func(a, b log.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		all = append(all, byID[id]...)
	}
	return all, nil
}

// tidy deletes the offsets of a group in topics that were deleted.
func (s *Store) tidy(ctx context.Context, group string) error {
	gone, err := s.forget(ctx, group)
	if err != nil || len(gone) == 0 {
		return err
	}
	c := s.l.NewCommit()
	c.Durability(log.Synced)
	c.Require(gone...)
	_, err = c.Commit(ctx)
	return err
}

// Offsets lists what a group has committed, by topic and partition. Topics that were deleted are left
// out.
func (s *Store) Offsets(ctx context.Context, group string) ([]Committed, error) {
	byID := s.topics()
	var list []Committed
	from := offsetKey(group, nil, 0)
	for kv, err := range s.h.Scan(ctx, from, after(from)) {
		if err != nil {
			return nil, err
		}
		_, id, partition, err := splitOffsetKey(kv.Key)
		if err != nil {
			return nil, err
		}
		t := byID[id]
		if t == nil || int(partition) >= t.Partitions() {
			continue
		}
		c := Committed{TopicPartition: TopicPartition{t.Name(), partition}, Offset: decodeOffset(kv.Value)}
		c.End = t.Partition(partition).Next()
		c.Lag = c.End - max(c.Offset.Offset, 0)
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Committed) int { return a.compare(b.TopicPartition) })
	return list, nil
}

// after returns the first key behind all that begin with prefix, which is not all 0xff.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

// Position is an offset to commit.
type Position struct {
	Partition *log.Partition
	// Offset is that of the first unfinished record. It must not be beyond what is synced.
	Offset int64
	// LeaderEpoch is that of the record before it. Zero is one that is not known.
	LeaderEpoch int32
	// Metadata is the committer's own.
	Metadata string
}

// Commit returns the conditions by which a commit moves the offsets of a group: they hold as long as each
// partition is still that of the owner who got it in this generation; 0 is a group that never had
// members. An offset does not go back by this. What is wrong with the positions is returned.
func (s *Store) Commit(group string, generation uint32, positions ...Position) ([]log.Condition, error) {
	if err := checkName(group); err != nil {
		return nil, err
	}
	conditions := make([]log.Condition, 0, len(positions))
	for _, p := range positions {
		if end := p.Partition.Next(); p.Offset < 0 || p.Offset > end {
			return nil, &OffsetError{Topic: p.Partition.Topic().Name(), Partition: p.Partition.Index(), Offset: p.Offset, End: end}
		}
		epoch := p.LeaderEpoch
		if epoch == 0 {
			epoch = -1
		}
		kind := uint8(kindCommit)
		if generation == 0 {
			kind = kindFree
		}
		conditions = append(conditions, onOffset(kind, group, p.Partition.Topic(), p.Partition.Index(), 0, Offset{
			Generation: generation, Offset: p.Offset, LeaderEpoch: epoch, Time: s.l.Now().UnixMilli(), Metadata: p.Metadata,
		}))
	}
	return conditions, nil
}
