package log

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/index"
)

// known is what an opening knows of the log.
type known struct {
	byte, stride   int64
	position       uint64
	stridePosition uint64
	epoch          int32
	tables         string
	entries        []string
}

func knownOf(t *testing.T, l *Log) known {
	tables, err := l.catalog.encode()
	require.NoError(t, err)
	k := known{
		byte: l.tail.byte, position: l.position, epoch: l.epoch, tables: string(tables),
		stride: l.ink.index.strideByte, stridePosition: l.ink.index.stridePosition,
	}
	require.NoError(t, l.ink.index.memory.Entries(func(partition uint32, e index.Entry) bool {
		k.entries = append(k.entries, fmt.Sprint(partition, e))
		return true
	}))
	return k
}

// TestKeptEqualsWhole opens random logs, closed and killed, with the index that was kept of their last segment and without: both know the
// same.
func TestKeptEqualsWhole(t *testing.T) {
	used, skipped, seeds := 0, 0, 30
	if testing.Short() {
		seeds = 10
	}
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewMem()
		options := func() Options {
			return Options{FS: fs, SyncInterval: -1, Durability: Durability(rng.IntN(2)), SegmentBytes: 64 << 10 << rng.IntN(5)}
		}
		var topics []*Topic
		clone := func(from vfs.FS) *vfs.MemFS {
			c := vfs.NewMem()
			ok, err := vfs.Clone(from, c, "data", "data")
			require.NoError(t, err)
			require.True(t, ok)
			return c
		}
		compare := func() {
			left := clone(fs) // the log may be at work
			report, err := Verify(t.Context(), "data", VerifyOptions{FS: left})
			require.NoError(t, err)
			require.Empty(t, report.Findings, "seed %d", seed)
			var of [2]known
			for i, kept := range []bool{false, true} {
				at := clone(left)
				if !kept {
					names, err := at.List("data/log")
					require.NoError(t, err)
					for _, name := range names {
						if strings.HasSuffix(name, ".idx") {
							require.NoError(t, at.Remove("data/log/"+name))
						}
					}
				}
				l, err := Open("data", Options{FS: at, SyncInterval: -1})
				require.NoError(t, err)
				of[i] = knownOf(t, l)
				require.False(t, !kept && l.tail.indexed > 0)
				if l.tail.indexed > 0 {
					used++
					if _, ok, _ := l.ink.index.memory.Last(positionRun); ok {
						skipped++
					}
				}
				require.NoError(t, l.Close())
			}
			require.Equal(t, of[0], of[1], "seed %d", seed)
		}
		for session := range 4 {
			l, err := Open("data", options())
			require.NoError(t, err)
			for _, info := range l.Topics() {
				topic, err := l.Topic(info.Name)
				require.NoError(t, err)
				topics = append(topics, topic)
			}
			for range rng.IntN(30) {
				switch n := rng.IntN(12); {
				case n == 0 || len(topics) == 0:
					topic, err := l.CreateTopic(t.Context(), fmt.Sprintf("t%d-%d", session, rng.Uint64()), TopicOptions{Partitions: 1 + rng.IntN(3)})
					require.NoError(t, err)
					topics = append(topics, topic)
				case n == 1 && len(topics) > 1:
					require.NoError(t, l.DeleteTopic(t.Context(), topics[0].Name()))
					topics = topics[1:]
				default:
					c := l.NewCommit()
					for range 1 + rng.IntN(3) {
						topic := topics[rng.IntN(len(topics))]
						p := topic.Partition(int32(rng.IntN(topic.Partitions())))
						for range 1 + rng.IntN(3) {
							c.AppendTo(p, Record{Value: make([]byte, rng.IntN(3000))})
						}
					}
					_, err := c.Commit(t.Context())
					require.NoError(t, err)
				}
			}
			if rng.IntN(3) == 0 { // killed
				require.NoError(t, l.Sync(t.Context()))
				compare()
			}
			require.NoError(t, l.Close())
			topics = nil
			compare()
		}
	}
	require.Greater(t, used, seeds, "an index that was kept was of use")
	require.Greater(t, skipped, seeds/2, "and some of the segment was not read")
}
