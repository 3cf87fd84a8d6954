package consumer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
)

// TestFault_S08_Churn has members join and leave at random while producers write: every record is handled, no
// partition has two owners in a generation, the commits of those who have left are refused, and the group
// comes to rest, each time within seconds. With STRATA_CHURN, a duration, it goes on for so long:
//
//	STRATA_CHURN=70s go test -race -run Churn -v ./consumer
func TestFault_S08_Churn(t *testing.T) {
	rounds, least := 60, time.Duration(0)
	if testing.Short() {
		rounds = 15
	}
	if text := os.Getenv("STRATA_CHURN"); text != "" {
		var err error
		least, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	l := open(t, vfs.NewMem(), log.Options{})
	tp := topic(t, l, "events", 8)
	var produced atomic.Int64
	stop := make(chan struct{})
	var producers, readers sync.WaitGroup
	for p := range 4 {
		producers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := tp.Append(ctx, log.Record{Key: fmt.Append(nil, p, i%50), Value: fmt.Append(nil, p, "/", i)}); err != nil {
					t.Error(err)
					return
				}
				produced.Add(1)
			}
		})
	}
	var mu sync.Mutex
	handled := map[string]int{}
	owner := map[string]string{} // of partition and generation
	read := func(m *consumer.Member) {
		readers.Go(func() {
			for r, err := range m.Records(ctx) {
				if errors.Is(err, consumer.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				handled[string(r.Value)]++
				mu.Unlock()
				m.Mark(r)
			}
		})
	}
	s, err := consumer.OpenStore(ctx, l)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	var members []*consumer.Member
	slowest, fencings := time.Duration(0), 0
	begin := time.Now()
	round := 0
	for ; round < rounds || time.Since(begin) < least; round++ {
		began := time.Now()
		if len(members) < 2 || len(members) < 5 && rng.IntN(2) == 0 {
			m := join(t, l, "g", consumer.Options{Assignor: consumer.Assignor(rng.IntN(4)), CommitEvery: 20 * time.Millisecond})
			read(m)
			members = append(members, m)
		} else {
			i := rng.IntN(len(members))
			owned := members[i].Assigned()
			generations := map[consumer.TopicPartition]uint32{}
			for _, p := range owned {
				o, _, err := s.Fetch(ctx, "g", tp.Partition(p.Partition))
				require.NoError(t, err)
				generations[p] = o.Generation
			}
			require.NoError(t, members[i].Close())
			members = slices.Delete(members, i, i+1)
			for _, p := range owned {
				stale, err := s.Commit("g", generations[p], consumer.Position{Partition: tp.Partition(p.Partition)})
				require.NoError(t, err)
				c := l.NewCommit()
				c.Require(stale...)
				_, err = c.Commit(ctx)
				require.ErrorIs(t, err, consumer.ErrFenced)
				fencings++
			}
		}
		slowest = max(slowest, time.Since(began))
		require.Less(t, slowest, 10*time.Second, "it is shared out when Join and Close return")
		state, err := s.State(ctx, "g")
		require.NoError(t, err)
		owned := 0
		for _, m := range state.Members {
			owned += len(m.Owns)
		}
		require.Equal(t, 8, owned, "each partition is somebody's")
		for _, m := range state.Members {
			for _, p := range m.Owns {
				key := fmt.Sprint(p, state.Generation)
				require.Contains(t, []string{"", m.ID}, owner[key])
				owner[key] = m.ID
			}
		}
		before := produced.Load()
		waitFor(t, func() bool { return produced.Load() > before+50 })
	}
	close(stop)
	producers.Wait()
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return int64(len(handled)) == produced.Load() })
	for _, m := range members {
		require.NoError(t, m.Close())
	}
	readers.Wait()
	total := int64(0)
	for _, offset := range committed(t, l, "g") {
		total += offset
	}
	require.Equal(t, produced.Load(), total, "all of it is committed")
	twice := 0
	for _, n := range handled {
		if n > 1 {
			twice++
		}
	}
	require.Zero(t, twice, "nobody was late, so nothing came twice")
	t.Logf("%d rounds in %v, the slowest %v; %d records, all handled once; %d stale commits refused",
		round, time.Since(begin).Round(time.Second), slowest.Round(time.Millisecond), produced.Load(), fencings)
	require.NoError(t, l.Close())
}
