package log_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// once commits value to two topics under key.
func once(l *log.Log, key, value string, d log.Durability) (log.Result, error) {
	c := l.NewCommit()
	for _, name := range []string{"a", "b"} {
		t, err := l.CreateTopic(ctx, name, log.TopicOptions{})
		if err != nil {
			return log.Result{}, err
		}
		c.Append(t, log.Record{Value: []byte(value)}, log.Record{Value: []byte(value)})
	}
	c.Durability(d)
	c.Require(log.Once(key))
	return c.Commit(ctx)
}

// requireSame checks that again is the answer to a repetition of the commit that was answered by first.
func requireSame(t testing.TB, first, again log.Result) {
	t.Helper()
	require.True(t, again.Duplicate)
	a, b := slices.Clone(first.Batches()), slices.Clone(again.Batches())
	require.Len(t, b, len(a))
	for i := range a {
		require.Equal(t, a[i].Topic.Name(), b[i].Topic.Name())
		a[i].Topic, b[i].Topic = nil, nil
	}
	require.Equal(t, a, b)
	for i := range 4 {
		p1, o1, at1 := first.Record(i)
		p2, o2, at2 := again.Record(i)
		require.Equal(t, []any{p1, o1, at1}, []any{p2, o2, at2})
	}
}

func TestOnceAcrossReopen(t *testing.T) {
	fs := vfs.NewMem()
	var first []log.Result
	for round := range 3 {
		l := open(t, fs, "data", log.Options{})
		for i := range 20 {
			r, err := once(l, fmt.Sprint("key", i), fmt.Sprint(i), log.Durability(i%3))
			require.NoError(t, err)
			if round == 0 {
				require.False(t, r.Duplicate)
				first = append(first, r)
				again, err := once(l, fmt.Sprint("key", i), fmt.Sprint(i), log.Synced)
				require.NoError(t, err)
				requireSame(t, r, again)
				continue
			}
			requireSame(t, first[i], r)
		}
		require.NoError(t, l.Sync(ctx))
		require.Len(t, values(t, l, "a"), 40)
		require.Len(t, values(t, l, "b"), 40)
		if round == 1 {
			require.NoError(t, l.Close())
			require.NoError(t, fs.RemoveAll("data/state"))
			continue
		}
		require.NoError(t, l.Close())
		_, err := fs.Stat("data/state/CHECKPOINT")
		require.NoError(t, err)
	}
}

// TestOnceConcurrently has 64 goroutines commit under one key, several times over: exactly one of them
// stores, and all get the same Result, synced when it is given.
func TestOnceConcurrently(t *testing.T) {
	l := open(t, nil, t.TempDir(), log.Options{SyncInterval: -1})
	for round := range 8 {
		results := make([]log.Result, 64)
		errs := make([]error, 64)
		var wg sync.WaitGroup
		for g := range results {
			wg.Go(func() {
				d := log.Durability((g + round) % 3)
				if g%2 == 0 {
					c := l.NewCommit()
					a, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
					if err != nil {
						errs[g] = err
						return
					}
					b, err := l.CreateTopic(ctx, "b", log.TopicOptions{})
					if err != nil {
						errs[g] = err
						return
					}
					v := log.Record{Value: fmt.Append(nil, round)}
					c.Append(a, v, v)
					c.Append(b, v, v)
					c.Durability(d)
					c.Require(log.Once(fmt.Sprint("round", round)))
					results[g], errs[g] = c.CommitAsync(ctx).Wait(ctx)
				} else {
					results[g], errs[g] = once(l, fmt.Sprint("round", round), fmt.Sprint(round), d)
				}
				if errs[g] == nil && d == log.Synced && l.Position() <= results[g].Position {
					errs[g] = fmt.Errorf("acknowledged at %d, synced up to %d", results[g].Position, l.Position())
				}
			})
		}
		wg.Wait()
		stored := -1
		for g := range results {
			require.NoError(t, errs[g])
			if !results[g].Duplicate {
				require.Negative(t, stored, "stored twice")
				stored = g
			}
		}
		require.GreaterOrEqual(t, stored, 0)
		for g := range results {
			if g != stored {
				first := results[stored]
				requireSame(t, first, results[g])
			}
		}
		require.NoError(t, l.Sync(ctx))
		require.Len(t, values(t, l, "a"), 2*(round+1))
	}
	require.NoError(t, l.Close())
}

func TestOnceWithoutRecords(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	for i := range 2 {
		c := l.NewCommit()
		c.Require(log.Once("mark"))
		r, err := c.Commit(ctx)
		require.NoError(t, err)
		require.Equal(t, i > 0, r.Duplicate)
		require.Equal(t, "__strata.once", r.Topic.Name())
	}
	require.NoError(t, l.Close())
}

// TestFault_S23_RetryAfterUnknownOutcome ends the context at the moment of the commit, so that the
// caller does not know, and retries: one record is stored.
func TestFault_S23_RetryAfterUnknownOutcome(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{})
	_, err := once(l, "first", "x", log.Synced)
	require.NoError(t, err)
	for i := range 50 {
		key := fmt.Sprint("retry", i)
		c := l.NewCommit()
		a, _ := l.Topic("a")
		c.Append(a, log.Record{Value: []byte(key)})
		c.Require(log.Once(key))
		ended, cancel := context.WithCancel(ctx)
		ack := c.CommitAsync(ctx)
		cancel()
		_, _ = ack.Wait(ended)
		if i%10 == 9 {
			require.NoError(t, l.Close())
			l = open(t, fs, "data", log.Options{})
			a, err = l.Topic("a")
			require.NoError(t, err)
		}
		c = l.NewCommit()
		c.Append(a, log.Record{Value: []byte(key)})
		c.Require(log.Once(key))
		r, err := c.Commit(ctx)
		require.NoError(t, err)
		require.True(t, r.Duplicate)
	}
	require.Len(t, values(t, l, "a"), 52)
	require.NoError(t, l.Close())
}

// TestOnceComesFirst repeats a commit whose other condition does not hold any more, because of the commit
// itself, with Once in front of it and behind.
func TestOnceComesFirst(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	tp, err := l.CreateTopic(ctx, "a", log.TopicOptions{})
	require.NoError(t, err)
	p := tp.Partition(0)
	for i, onceLast := range []bool{false, true} {
		expected := p.Next()
		commit := func(key string) (log.Result, error) {
			c := l.NewCommit()
			c.AppendTo(p, log.Record{Value: []byte("v")})
			conditions := []log.Condition{log.Once(key), log.ExpectOffset(p, expected)}
			if onceLast {
				slices.Reverse(conditions)
			}
			c.Require(conditions...)
			return c.Commit(ctx)
		}
		key := fmt.Sprint("key", i)
		first, err := commit(key)
		require.NoError(t, err)
		require.False(t, first.Duplicate)
		again, err := commit(key)
		require.NoError(t, err)
		require.True(t, again.Duplicate)
		require.Equal(t, first.Offset, again.Offset)
		_, err = commit("another" + key)
		require.ErrorIs(t, err, log.ErrOffset)
	}
	require.Equal(t, int64(2), p.Next())
	require.NoError(t, l.Close())
}

// TestCommitted asks what became of a key without committing anything, and finds what Once tells.
func TestCommitted(t *testing.T) {
	fs := vfs.NewMem()
	var first log.Result
	for round := range 2 {
		l := open(t, fs, "data", log.Options{SyncInterval: -1})
		if round == 0 {
			_, ok, err := l.Committed(ctx, "key")
			require.NoError(t, err)
			require.False(t, ok)
			first, err = once(l, "key", "value", log.Written)
			require.NoError(t, err)
			require.Less(t, l.Position(), first.Batches()[1].Position, "not synced yet")
		}
		r, ok, err := l.Committed(ctx, "key")
		require.NoError(t, err)
		require.True(t, ok)
		require.True(t, r.Duplicate)
		require.Equal(t, first.Position, r.Position)
		require.Len(t, r.Batches(), 2)
		require.Greater(t, l.Position(), first.Batches()[1].Position, "what it tells is synced")
		require.NoError(t, l.Close())
		_, _, err = l.Committed(ctx, "key")
		require.ErrorIs(t, err, log.ErrClosed)
	}
}
