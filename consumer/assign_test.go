package consumer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// parse reads "C0: t0p0 t1p1; C1: t0p1".
func parse(t *testing.T, s string) map[string][]TopicPartition {
	t.Helper()
	owns := map[string][]TopicPartition{}
	for part := range strings.SplitSeq(s, ";") {
		name, list, _ := strings.Cut(strings.TrimSpace(part), ":")
		for _, f := range strings.Fields(list) {
			topic, p, _ := strings.Cut(f, "p")
			var n int32
			_, err := fmt.Sscan(p, &n)
			require.NoError(t, err)
			owns[name] = append(owns[name], TopicPartition{topic, n})
		}
		slices.SortFunc(owns[name], TopicPartition.compare)
	}
	return owns
}

// TestAssignors checks the examples that Kafka's documentation gives for its assignors.
func TestAssignors(t *testing.T) {
	three := map[string]int{"t0": 3, "t1": 3}
	uneven := map[string]int{"t0": 1, "t1": 2, "t2": 3}
	four := map[string]int{"t0": 2, "t1": 2, "t2": 2, "t3": 2}
	both := map[string][]string{"C0": {"t0", "t1"}, "C1": {"t0", "t1"}}
	ladder := map[string][]string{"C0": {"t0"}, "C1": {"t0", "t1"}, "C2": {"t0", "t1", "t2"}}
	all := map[string][]string{"C0": {"t0", "t1", "t2", "t3"}, "C1": {"t0", "t1", "t2", "t3"}, "C2": {"t0", "t1", "t2", "t3"}}
	for _, tc := range []struct {
		name       string
		a          Assignor
		partitions map[string]int
		members    map[string][]string
		want       string
		leaves     string // then this member leaves
		then       string
	}{
		{"range", Range, three, both, "C0: t0p0 t0p1 t1p0 t1p1; C1: t0p2 t1p2", "", ""},
		{"round-robin", RoundRobin, three, both, "C0: t0p0 t0p2 t1p1; C1: t0p1 t1p0 t1p2", "", ""},
		{"round-robin, uneven subscriptions", RoundRobin, uneven, ladder, "C0: t0p0; C1: t1p0; C2: t1p1 t2p0 t2p1 t2p2", "C0", "C1: t0p0 t1p1; C2: t1p0 t2p0 t2p1 t2p2"},
		{"round-robin, a member leaves", RoundRobin, four, all, "C0: t0p0 t1p1 t3p0; C1: t0p1 t2p0 t3p1; C2: t1p0 t2p1", "C1", "C0: t0p0 t1p0 t2p0 t3p0; C2: t0p1 t1p1 t2p1 t3p1"},
		{"sticky, a member leaves", Sticky, four, all, "C0: t0p0 t1p1 t3p0; C1: t0p1 t2p0 t3p1; C2: t1p0 t2p1", "C1", "C0: t0p0 t1p1 t3p0 t2p0; C2: t1p0 t2p1 t0p1 t3p1"},
		{"sticky, uneven subscriptions", Sticky, uneven, ladder, "C0: t0p0; C1: t1p0 t1p1; C2: t2p0 t2p1 t2p2", "C0", "C1: t0p0 t1p0 t1p1; C2: t2p0 t2p1 t2p2"},
		{"cooperative-sticky, a member leaves", CooperativeSticky, four, all, "C0: t0p0 t1p1 t3p0; C1: t0p1 t2p0 t3p1; C2: t1p0 t2p1", "C1", "C0: t0p0 t1p1 t3p0 t2p0; C2: t1p0 t2p1 t0p1 t3p1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := State{Assignor: tc.a}
			for id, topics := range tc.members {
				s = s.Join(id, topics)
			}
			s = s.Assign(infos(tc.partitions), 7)
			require.Equal(t, uint32(1), s.Generation)
			require.Equal(t, parse(t, tc.want), owns(s))
			if tc.leaves == "" {
				return
			}
			before := s
			s = s.Leave(tc.leaves).Assign(infos(tc.partitions), 8)
			require.Equal(t, uint32(2), s.Generation)
			require.Equal(t, parse(t, tc.then), owns(s))
			require.Equal(t, parse(t, tc.want), owns(before), "the state before is as it was")
		})
	}
}

// infos returns topics with so many partitions.
func infos(partitions map[string]int) []log.TopicInfo {
	var list []log.TopicInfo
	for name, n := range partitions {
		list = append(list, log.TopicInfo{Name: name, Partitions: n})
	}
	return list
}

func owns(s State) map[string][]TopicPartition {
	m := map[string][]TopicPartition{}
	for _, x := range s.Members {
		m[x.ID] = x.Owns
	}
	return m
}

// TestAssignorProperties draws members, topics and what is owned already: each partition that somebody
// wants has one owner who wants it; sticky ones are balanced where all want the same, and move nothing
// without need.
func TestAssignorProperties(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 5))
		partitions := map[string]int{}
		for i := range 1 + rng.IntN(4) {
			partitions[fmt.Sprint("t", i)] = rng.IntN(9)
		}
		s := State{Assignor: Assignor(rng.IntN(4))}
		same := rng.IntN(2) == 0
		for step := range 6 {
			if len(s.Members) == 0 || step == 0 || rng.IntN(3) > 0 {
				var topics []string
				for name := range partitions {
					if same || rng.IntN(2) == 0 {
						topics = append(topics, name)
					}
				}
				s = s.Join(fmt.Sprint("m", rng.IntN(6)), topics)
			} else {
				s = s.Leave(s.Members[rng.IntN(len(s.Members))].ID)
			}
			if len(s.Members) == 0 {
				continue
			}
			before := s
			s = s.Assign(infos(partitions), 0)
			checkAssignment(t, &s, partitions, seed)
			if s.Assignor <= Sticky && same {
				least, most := 1<<30, 0
				for _, m := range s.Members {
					least, most = min(least, len(m.Owns)), max(most, len(m.Owns))
				}
				require.LessOrEqual(t, most, least+1, "seed %d", seed)
			}
			again := s.Assign(infos(partitions), 0)
			if s.Assignor <= Sticky {
				require.Empty(t, s.moved(&again), "seed %d: nothing has changed, and partitions move", seed)
			}
			require.LessOrEqual(t, len(before.moved(&s)), 64)
		}
	}
}

func checkAssignment(t *testing.T, s *State, partitions map[string]int, seed uint64) {
	t.Helper()
	owners := map[TopicPartition]string{}
	for _, m := range s.Members {
		for _, p := range m.Owns {
			require.Empty(t, owners[p], "seed %d: two owners of %s", seed, p)
			require.Contains(t, m.Topics, p.Topic)
			require.Less(t, int(p.Partition), partitions[p.Topic])
			owners[p] = m.ID
		}
	}
	topics, _ := wanted(s.Members, partitions)
	for _, name := range topics {
		for p := range partitions[name] {
			require.NotEmpty(t, owners[TopicPartition{name, int32(p)}], "seed %d: nobody has %s/%d", seed, name, p)
		}
	}
}
