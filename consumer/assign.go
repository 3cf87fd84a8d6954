package consumer

import (
	"fmt"
	"slices"
)

// Assignor says how partitions are shared out among members. The results are those of Kafka's assignors
// of the same names.
//
// Whatever the assignor, only partitions that get another owner are taken from the one they have: the
// others go on undisturbed through a rebalance.
type Assignor uint8

const (
	// CooperativeSticky balances, and moves as few partitions as it can.
	CooperativeSticky Assignor = iota
	// Sticky is the same: all rebalances are cooperative here.
	Sticky
	// Range gives each member a run of the partitions of each topic, so that the same members have the
	// same partitions of topics that belong together.
	Range
	// RoundRobin deals the partitions of all topics out in turn.
	RoundRobin
)

var assignorNames = []string{"cooperative-sticky", "sticky", "range", "round-robin"}

func (a Assignor) String() string {
	if int(a) < len(assignorNames) {
		return assignorNames[a]
	}
	return "invalid"
}

// MarshalText returns String.
func (a Assignor) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText parses what String returns.
func (a *Assignor) UnmarshalText(b []byte) error {
	i := slices.Index(assignorNames, string(b))
	if i < 0 {
		return fmt.Errorf("%w: assignor %q", ErrOptions, b)
	}
	*a = Assignor(i)
	return nil
}

// assign returns what each member gets. Members are in order of their ids.
func (a Assignor) assign(members []MemberState, partitions map[string]int) map[string][]TopicPartition {
	switch a {
	case Range:
		return assignRange(members, partitions)
	case RoundRobin:
		return assignRoundRobin(members, partitions)
	}
	return assignSticky(members, partitions)
}

// wanted returns the topics that members want, sorted, and who wants each.
func wanted(members []MemberState, partitions map[string]int) (topics []string, by map[string][]int) {
	by = map[string][]int{}
	for i, m := range members {
		for _, t := range m.Topics {
			if partitions[t] == 0 {
				continue
			}
			if by[t] == nil {
				topics = append(topics, t)
			}
			by[t] = append(by[t], i)
		}
	}
	slices.Sort(topics)
	return topics, by
}

func assignRange(members []MemberState, partitions map[string]int) map[string][]TopicPartition {
	owns := map[string][]TopicPartition{}
	topics, by := wanted(members, partitions)
	for _, t := range topics {
		each, more := partitions[t]/len(by[t]), partitions[t]%len(by[t])
		next := 0
		for k, i := range by[t] {
			n := each
			if k < more {
				n++
			}
			for range n {
				owns[members[i].ID] = append(owns[members[i].ID], TopicPartition{t, int32(next)})
				next++
			}
		}
	}
	return owns
}

func assignRoundRobin(members []MemberState, partitions map[string]int) map[string][]TopicPartition {
	owns := map[string][]TopicPartition{}
	topics, _ := wanted(members, partitions)
	at := 0
	for _, t := range topics {
		for p := range partitions[t] {
			for !slices.Contains(members[at%len(members)].Topics, t) {
				at++
			}
			id := members[at%len(members)].ID
			owns[id] = append(owns[id], TopicPartition{t, int32(p)})
			at++
		}
	}
	return owns
}

// assignSticky lets each member keep what it has, gives what is left to those who have least, first the
// partitions that fewest can take, and then moves partitions from those who have two more than another
// who could take one.
func assignSticky(members []MemberState, partitions map[string]int) map[string][]TopicPartition {
	topics, by := wanted(members, partitions)
	owner := map[TopicPartition]int{}
	count := make([]int, len(members))
	for i, m := range members {
		for _, p := range m.Owns {
			_, taken := owner[p]
			if !taken && int(p.Partition) < partitions[p.Topic] && slices.Contains(by[p.Topic], i) {
				owner[p] = i
				count[i]++
			}
		}
	}
	slices.SortStableFunc(topics, func(a, b string) int { return len(by[a]) - len(by[b]) })
	least := func(candidates []int) int {
		best := candidates[0]
		for _, i := range candidates {
			if count[i] < count[best] {
				best = i
			}
		}
		return best
	}
	for _, t := range topics {
		for p := range partitions[t] {
			tp := TopicPartition{t, int32(p)}
			if _, taken := owner[tp]; !taken {
				i := least(by[t])
				owner[tp] = i
				count[i]++
			}
		}
	}
	// Each move narrows a difference of two or more, so this ends.
	for moved := true; moved; {
		moved = false
		for _, t := range topics {
			for p := range partitions[t] {
				tp := TopicPartition{t, int32(p)}
				if i := least(by[t]); count[owner[tp]] > count[i]+1 {
					count[owner[tp]]--
					owner[tp] = i
					count[i]++
					moved = true
				}
			}
		}
	}
	owns := map[string][]TopicPartition{}
	for tp, i := range owner {
		owns[members[i].ID] = append(owns[members[i].ID], tp)
	}
	return owns
}
