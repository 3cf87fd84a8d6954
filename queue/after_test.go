package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// spy is the view, and notes what it was given last.
type spy struct {
	view
	last *log.Sequenced
}

func (s spy) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	places := make([]log.BatchPlace, len(c.Batches))
	for i := range c.Batches {
		places[i] = c.Batches[i].BatchPlace
	}
	*s.last = log.Sequenced{Position: c.Position, Batches: places}
	return s.view.Apply(tx, c)
}

// promises makes commits with conditions of every kind at random.
type promises struct {
	t      *testing.T
	rng    *rand.Rand
	l      *log.Log
	v      *log.ViewHandle
	spy    spy
	p      *log.Partition
	id     uint64
	leases map[uint64][]int64 // the offsets of each
	next   uint64             // lease or name that was not used
}

func newPromises(t *testing.T, seed uint64) *promises {
	l, err := log.Open("data", log.Options{FS: vfs.NewMem(), Clock: clock.NewManual(time.Unix(1e9, 0)), SyncInterval: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	x := &promises{t: t, rng: rand.New(rand.NewPCG(seed, 1)), l: l, leases: map[uint64][]int64{}, spy: spy{view{&directory{}}, &log.Sequenced{}}}
	x.v, err = l.Register(context.Background(), x.spy)
	require.NoError(t, err)
	topic, err := l.CreateTopic(context.Background(), "q", log.TopicOptions{Kind: kind})
	require.NoError(t, err)
	x.p = topic.Partition(0)
	o, err := Options{MaxDepth: 1 << 40}.withDefaults("q")
	require.NoError(t, err)
	x.commit(x.l.NewCommit(), 0, condition(conditionDeclare, []byte("q"), append([]byte{opDeclare}, o.encode()...)))
	q, ok := decodeDeclared(x.get(keyName("q")))
	require.True(t, ok)
	x.id = q.id
	return x
}

func (x *promises) get(key []byte) []byte {
	value, _, err := x.v.Get(context.Background(), key)
	require.NoError(x.t, err)
	return value
}

// commit commits c, of so many batches, with conditions, and compares what they have promised with what the view
// then holds: all of it, or nothing when one of them was refused.
func (x *promises) commit(c *log.Commit, batches int, conditions ...log.Condition) {
	values, before := map[string][]byte{}, map[string][]byte{}
	keys := make([]string, len(conditions))
	for i := range conditions {
		key, err := x.spy.Key(&conditions[i])
		require.NoError(x.t, err)
		keys[i] = string(key)
		before[keys[i]] = x.get(key)
	}
	*x.spy.last = log.Sequenced{}
	c.Require(conditions...)
	_, err := c.Commit(context.Background())
	x.get(keyName("q")) // waits until it is applied
	x.spy.last.Told = batches
	for key, value := range before {
		values[key] = value
	}
	// That the commit is there already comes before what other conditions say, as in package log.
	var refused error
	earlier := map[string]bool{}
	there := false
	for i := range conditions {
		key := keys[i]
		duplicate, no := x.spy.Verdict(&conditions[i], values[key])
		if no != nil && refused == nil {
			refused = no
		}
		if there = duplicate != nil && !earlier[key]; there {
			break
		}
		if duplicate != nil && refused == nil {
			refused = duplicate.Twice
		}
		if no == nil && duplicate == nil {
			values[key] = x.spy.After(&conditions[i], values[key], x.spy.last)
		}
		earlier[key] = true
	}
	switch {
	case there:
		require.NoError(x.t, err)
		values = before
	case refused != nil:
		require.Equal(x.t, refused, err)
		values = before
	default:
		require.NoError(x.t, err)
	}
	for key, want := range values {
		require.Equal(x.t, fmt.Sprintf("%x", want), fmt.Sprintf("%x", x.get([]byte(key))), "%q with %+v", key, conditions)
	}
}

// send is what sending messages of n bytes comes to.
func (x *promises) send(c *log.Commit, n int) log.Condition {
	c.AppendAs(kind, x.p, log.Record{Value: make([]byte, n)}, log.Record{Value: make([]byte, n)})
	most := int64(1 << 40)
	if x.rng.IntN(5) == 0 {
		most = 3 // which refuses it, soon
	}
	return room(x.id, 2, int64(2*n), most, 1<<40)
}

func (x *promises) take() log.Condition {
	x.next++
	t := take{owner: "o", until: x.rng.Int64N(3) * 1000}
	for i := range 1 + x.rng.IntN(3) {
		offset := int64(x.next)*10 + int64(i)
		t.leased = append(t.leased, item{in: inReady, offset: offset, size: 5, attempts: uint32(x.rng.IntN(3))})
		x.leases[x.next] = append(x.leases[x.next], offset)
	}
	return condition(conditionLease, leaseKey(x.id, x.next), t.encode())
}

// settle settles one of the last leases, or one that is not there.
func (x *promises) settle() log.Condition {
	lease := x.next + 1 - x.rng.Uint64N(min(x.next+1, 6))
	s := settle{strict: x.rng.IntN(2) == 0}
	for range 1 + x.rng.IntN(3) {
		o := outcome{what: ending(x.rng.IntN(int(unchanged) + 1)), offset: int64(lease)*10 + x.rng.Int64N(3)}
		switch o.what {
		case dead, returned, delayed, extended:
			o.until = x.rng.Int64N(3) * 1000
		}
		s.outcomes = append(s.outcomes, o)
	}
	return condition(conditionLease, leaseKey(x.id, lease), s.encode())
}

// TestAfterIsWhatIsApplied: what a condition says that its key has after the commit, on which verdicts of the next
// commits rest before anything is applied, is what applying the commit makes of it, for every kind of condition,
// alone and with others on the same key.
func TestAfterIsWhatIsApplied(t *testing.T) {
	for seed := range uint64(4) {
		x := newPromises(t, seed)
		seen := map[uint8]int{}
		for range 400 {
			c := x.l.NewCommit()
			var conditions []log.Condition
			batches := 0
			for range 1 + x.rng.IntN(3) {
				switch x.rng.IntN(9) {
				case 0:
					conditions = append(conditions, x.send(c, x.rng.IntN(20)))
					batches = 1
				case 1, 2:
					conditions = append(conditions, x.take())
				case 3, 4:
					conditions = append(conditions, x.settle())
				case 5:
					u := dedup{now: x.rng.Int64N(100), until: []int64{0, 50, 150}[x.rng.IntN(3)]}
					key := append(queueKey(x.id), fmt.Sprint("d", x.rng.IntN(30))...)
					conditions = append(conditions, condition(conditionDedup, key, u.encode()))
					if x.rng.IntN(4) == 0 {
						conditions = append(conditions, condition(conditionDedup, key, u.encode()))
					}
					conditions = append(conditions, x.send(c, 1))
					batches = 1
				case 6:
					o, err := Options{}.withDefaults("n")
					require.NoError(t, err)
					name := fmt.Append(nil, "n", x.rng.IntN(5))
					conditions = append(conditions, condition(conditionDeclare, name, append([]byte{opDeclare}, o.encode()...)))
				case 7:
					name := fmt.Append(nil, "n", x.rng.IntN(5))
					conditions = append(conditions, condition(conditionEnd, name, []byte{[]byte{opDeleting, opDelete}[x.rng.IntN(2)]}))
				case 8:
					key := keyOf(prefixLease, x.id, x.next+1-x.rng.Uint64N(min(x.next+1, 6)))
					conditions = append(conditions, condition(conditionDrop, key, []byte{opDrop}),
						condition(conditionNote, queueKey(x.id), []byte{opPurge}))
				}
			}
			for i := range conditions {
				seen[conditions[i].Kind]++
			}
			x.commit(c, batches, conditions...)
		}
		for _, k := range []uint8{conditionNote, conditionDeclare, conditionLease, conditionRoom, conditionDedup, conditionEnd, conditionDrop} {
			require.Greater(t, seen[k], 20, "kind %d", k)
		}
	}
}
