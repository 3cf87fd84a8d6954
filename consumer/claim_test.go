package consumer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestFault_S03_PrefixModel delivers offsets with gaps and finishes them in random order, some twice, some that were never
// delivered, against a model that is a set: what is due is always the first unfinished one.
func TestFault_S03_PrefixModel(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 3))
		at := rng.Int64N(100)
		c := &claim{next: at, committed: at}
		most := 1 + rng.IntN(20)
		unfinished := map[int64]bool{}
		next := at
		first := func() int64 {
			least := next
			for o := range unfinished {
				least = min(least, o)
			}
			return least
		}
		window := map[int64]bool{} // delivered, and not in front of the first unfinished one
		for range 200 {
			for o := range window {
				if o < first() {
					delete(window, o)
				}
			}
			switch rng.IntN(4) {
			case 0:
				offset := next + rng.Int64N(3)
				require.Equal(t, len(window) < most, c.deliver(offset, most, false), "seed %d", seed)
				if len(window) < most {
					unfinished[offset], window[offset] = true, true
					next = offset + 1
				}
			case 1, 2:
				offset := next - rng.Int64N(25)
				c.finish(offset, most)
				delete(unfinished, offset)
			case 3:
				offset, _, ok := c.due()
				require.Equal(t, first(), offset, "seed %d", seed)
				if ok {
					c.noteCommitted(offset)
				}
			}
			offset, _, _ := c.due()
			require.Equal(t, first(), offset, "seed %d", seed)
		}
	}
}

// TestHangsCounts tells a record that stays in a body from several that come and go.
func TestHangsCounts(t *testing.T) {
	c := &claim{}
	require.False(t, c.hangs(0, time.Second))
	require.True(t, c.deliver(0, 10, true))
	require.False(t, c.hangs(time.Hour, time.Second), "it may be new")
	require.False(t, c.hangs(time.Hour+time.Second, time.Second))
	require.True(t, c.deliver(1, 10, true))
	require.False(t, c.hangs(time.Hour+2*time.Second, time.Second), "another one")
	require.True(t, c.hangs(time.Hour+4*time.Second, time.Second))
	c.back(true)
	require.False(t, c.hangs(2*time.Hour, time.Second))
	require.Equal(t, int64(2), c.firstLocked())
}

// TestNobodyJoinsWhatIsClosed has a Join that is under way be later than the end of the groups.
func TestNobodyJoinsWhatIsClosed(t *testing.T) {
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	gs, err := groupsOf(t.Context(), l)
	require.NoError(t, err)
	g, err := gs.group("g")
	require.NoError(t, err)
	require.NoError(t, gs.Close())
	require.ErrorIs(t, g.join(t.Context(), &Member{g: g, id: "late", o: Options{Topics: []string{"t"}}}), log.ErrClosed)
	_, err = gs.group("g")
	require.ErrorIs(t, err, log.ErrClosed)
	require.Empty(t, g.all())
}

// TestOffsetsOfDeletedTopics looks at the keys of the view: what was committed of a topic that was deleted
// goes with the next change of the group, and, of groups that nobody is in, by Expire.
func TestOffsetsOfDeletedTopics(t *testing.T) {
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	ctx := t.Context()
	s, err := OpenStore(ctx, l)
	require.NoError(t, err)
	keys := func(group string) (n int) {
		from := offsetKey(group, nil, 0)
		for _, err := range s.h.Scan(ctx, from, after(from)) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	for _, name := range []string{"a", "b"} {
		topic, err := l.CreateTopic(ctx, name, log.TopicOptions{Partitions: 3})
		require.NoError(t, err)
		for _, group := range []string{"alone", "idle"} {
			on, err := s.Commit(group, 0, Position{Partition: topic.Partition(1)})
			require.NoError(t, err)
			c := l.NewCommit()
			c.Require(on...)
			_, err = c.Commit(ctx)
			require.NoError(t, err)
		}
	}
	m, err := Join(ctx, l, "g", Options{Topics: []string{"a", "b"}})
	require.NoError(t, err)
	require.Equal(t, 6, keys("g"))
	for round := range 5 {
		require.NoError(t, l.DeleteTopic(ctx, "a"))
		_, err = l.CreateTopic(ctx, "a", log.TopicOptions{Partitions: 2})
		require.NoError(t, err)
		// A change of the group, besides those that the watch makes.
		other, err := Join(ctx, l, "g", Options{Topics: []string{"a", "b"}})
		require.NoError(t, err)
		require.NoError(t, other.Close())
		require.Equal(t, 5, keys("g"), "round %d", round)
	}
	require.Equal(t, 2, keys("idle"))
	on, err := s.Commit("idle", 0, Position{Partition: must(l.Topic("b")).Partition(0), LeaderEpoch: 7})
	require.NoError(t, err)
	c := l.NewCommit()
	c.Require(on...)
	_, err = c.Commit(ctx)
	require.NoError(t, err)
	gone, err := Expire(ctx, l, time.Hour)
	require.NoError(t, err)
	require.Empty(t, gone)
	require.Equal(t, 2, keys("idle"), "b/0 and b/1")
	require.Equal(t, 1, keys("alone"))
	o, ok, err := s.Fetch(ctx, "idle", must(l.Topic("b")).Partition(0))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, int32(7), o.LeaderEpoch)
	names, err := s.Groups(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"alone", "g", "idle"}, names, "also those without members")

	require.ErrorIs(t, DeleteOffsets(ctx, l, "g", "b"), ErrBusy)
	require.ErrorIs(t, DeleteOffsets(ctx, l, "idle", "none"), log.ErrNoTopic)
	require.ErrorIs(t, DeleteOffsets(ctx, l, "", "b"), ErrName)
	require.NoError(t, DeleteOffsets(ctx, l, "idle"))
	require.Equal(t, 2, keys("idle"))
	require.NoError(t, DeleteOffsets(ctx, l, "idle", "b"))
	require.Zero(t, keys("idle"))
	require.NoError(t, m.Close())
	require.NoError(t, DeleteOffsets(ctx, l, "g", "a"))
	require.Equal(t, 3, keys("g"))
	require.NoError(t, Delete(ctx, l, "g"))
	require.Zero(t, keys("g"))
}

// TestKeep keeps records whole, and apart from what they were copied from.
func TestKeep(t *testing.T) {
	for _, r := range []log.Record{
		{}, {Key: []byte{}}, {Value: []byte{}}, {Key: []byte{}, Value: []byte{}}, {Key: []byte("key")}, {Value: []byte("value")},
		{Key: []byte("key"), Value: []byte("value"), Headers: []log.Header{{Key: "h", Value: []byte("x")}}, Topic: "t", Partition: 3, Offset: 4},
	} {
		want := r.Clone()
		k := keep(&r)
		require.Equal(t, want, k)
		for _, b := range [][]byte{r.Key, r.Value} {
			clear(b)
		}
		if len(r.Headers) > 0 {
			clear(r.Headers[0].Value)
		}
		require.Equal(t, want, k, "the reader's memory is used again")
		_ = append(k.Key, "!"...)
		require.Equal(t, want, k, "the key can grow")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint("must: ", err))
	}
	return v
}
