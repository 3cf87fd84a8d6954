package consumer

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stratalog/strata/log"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

func (p TopicPartition) compare(q TopicPartition) int {
	return cmp.Or(cmp.Compare(p.Topic, q.Topic), cmp.Compare(p.Partition, q.Partition))
}

// String returns topic and partition, as "orders/3".
func (p TopicPartition) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Partition) }

// MemberState is a member as the group knows it.
type MemberState struct {
	ID     string           `json:"id"`
	Topics []string         `json:"topics"`
	Owns   []TopicPartition `json:"owns,omitempty"` // sorted
}

// State is what a group is: a state machine that knows nothing of goroutines. Its methods return the next
// state, and leave the one that they are called on as it is; whoever drives it commits that under the
// generation that it came from.
type State struct {
	Generation uint32        `json:"generation"`
	Assignor   Assignor      `json:"assignor"`
	Members    []MemberState `json:"members,omitempty"` // by ID
	// Topics tells the topics that are shared out from later ones of the same names.
	Topics map[string]log.UUID `json:"topics,omitempty"`
	// Time is when the generation began, in milliseconds since 1970.
	Time int64 `json:"time"`
}

// Member returns the member with this id, or nil.
func (s *State) Member(id string) *MemberState {
	for i := range s.Members {
		if s.Members[i].ID == id {
			return &s.Members[i]
		}
	}
	return nil
}

// Join returns the members with one more, who owns nothing yet. One of that id is replaced.
func (s State) Join(id string, topics []string) State {
	s = s.Leave(id)
	s.Members = append(s.Members, MemberState{ID: id, Topics: slices.Compact(slices.Sorted(slices.Values(topics)))})
	slices.SortFunc(s.Members, func(a, b MemberState) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// Leave returns the members without one.
func (s State) Leave(id string) State {
	s.Members = slices.DeleteFunc(slices.Clone(s.Members), func(m MemberState) bool { return m.ID == id })
	return s
}

// Assign returns the state in which the partitions of all topics are shared out: topics says which there
// are, and how many partitions each has. The generation is the next one.
func (s State) Assign(topics []log.TopicInfo, now int64) State {
	partitions := map[string]int{}
	s.Topics = map[string]log.UUID{}
	for _, t := range topics {
		partitions[t.Name] = t.Partitions
		s.Topics[t.Name] = t.ID
	}
	owns := s.Assignor.assign(s.Members, partitions)
	s.Members = slices.Clone(s.Members)
	for i := range s.Members {
		m := &s.Members[i]
		m.Owns = owns[m.ID]
		slices.SortFunc(m.Owns, TopicPartition.compare)
	}
	s.Generation++
	s.Time = now
	return s
}

// owners returns who owns each partition.
func (s *State) owners() map[TopicPartition]string {
	owners := map[TopicPartition]string{}
	for _, m := range s.Members {
		for _, p := range m.Owns {
			owners[p] = m.ID
		}
	}
	return owners
}

// stays reports whether p has in next the owner that it has in s. One of a topic that was deleted and
// created anew is another partition.
func (s *State) stays(next *State, p TopicPartition, before, after map[TopicPartition]string) bool {
	return before[p] == after[p] && s.Topics[p.Topic] == next.Topics[p.Topic]
}

// moved returns the partitions that have another owner in next than in s, or got their first one.
func (s *State) moved(next *State) []TopicPartition {
	before, after := s.owners(), next.owners()
	var moved []TopicPartition
	for _, m := range next.Members {
		for _, p := range m.Owns {
			if !s.stays(next, p, before, after) {
				moved = append(moved, p)
			}
		}
	}
	slices.SortFunc(moved, TopicPartition.compare)
	return moved
}
