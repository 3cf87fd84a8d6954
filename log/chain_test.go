package log_test

import (
	"encoding/binary"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// seats is a view that counts how many of each thing are taken, and lets at most ten be.
type seats struct{}

var errTaken = errors.New("all taken")

func take(what string, n int) log.Condition {
	return log.Condition{View: "seats", Key: []byte(what), Want: binary.AppendUvarint(nil, uint64(n))}
}

func (seats) Name() string     { return "seats" }
func (seats) Topics() []string { return []string{"__strata.seats"} }

func (seats) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	for i := range c.Batches {
		if c.Batches[i].Topic != "__strata.seats" {
			continue
		}
		for r, err := range c.Batches[i].Records() {
			if err != nil {
				return err
			}
			old, err := tx.Get(r.Key)
			if err != nil {
				return err
			}
			tx.Set(r.Key, more(old, r.Value))
		}
	}
	return nil
}

func more(old, want []byte) []byte {
	have, _ := strconv.Atoi(string(old))
	n, _ := binary.Uvarint(want)
	return strconv.AppendInt(nil, int64(have)+int64(n), 10)
}

func (seats) Key(c *log.Condition) ([]byte, error) { return c.Key, nil }

func (seats) Carry(c *log.Condition, _ int) (string, []log.Record) {
	return "__strata.seats", []log.Record{{Key: c.Key, Value: c.Want}}
}

func (seats) Verdict(c *log.Condition, value []byte) (*log.Duplicate, error) {
	if n, _ := strconv.Atoi(string(more(value, c.Want))); n > 10 {
		return nil, errTaken
	}
	return nil, nil
}

func (seats) After(c *log.Condition, value []byte, _ *log.Sequenced) []byte {
	return more(value, c.Want)
}

// TestConditionsOnOneKey asks several times for the same within one commit: each condition is answered
// as if those before it had happened, and all of it happens or nothing.
func TestConditionsOnOneKey(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	h, err := l.Register(ctx, seats{})
	require.NoError(t, err)
	try := func(conditions ...log.Condition) error {
		c := l.NewCommit()
		c.Require(conditions...)
		_, err := c.Commit(ctx)
		return err
	}
	require.NoError(t, try(take("a", 4), take("b", 1), take("a", 3), take("a", 2)))
	require.ErrorIs(t, try(take("b", 5), take("a", 1), take("a", 1)), errTaken)
	require.Equal(t, "a=9\nb=1\n", viewDump(t, h), "what was refused has changed nothing")
	require.NoError(t, try(take("b", 2), take("a", 1)))
	require.ErrorIs(t, try(take("a", 1)), errTaken)

	// Many at once, while what is applied lags behind.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if err := try(take("c", 1), take("c", 1), take("d", 1)); err != nil && !errors.Is(err, errTaken) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, "a=10\nb=3\nc=10\nd=5\n", viewDump(t, h))
}

// TestOnceTwice gives a commit the same key twice: it happens, once.
func TestOnceTwice(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	for i := range 2 {
		c := l.NewCommit()
		c.Append(tp, log.Record{Value: []byte("x")})
		c.Require(log.Once("k"), log.Once("k"))
		r, err := c.Commit(ctx)
		require.NoError(t, err)
		require.Equal(t, i == 1, r.Duplicate)
		require.Zero(t, r.Offset)
	}
	require.Equal(t, []string{"x"}, values(t, l, "events"))
}

// named is seats of which each can be taken by one commit, and once by that.
type named struct{ seats }

func (named) Verdict(_ *log.Condition, value []byte) (*log.Duplicate, error) {
	if value == nil {
		return nil, nil
	}
	return &log.Duplicate{Twice: errTaken}, nil
}

// TestTwiceInACommit has a view refuse a commit that requires the same twice, but not one that was there before.
func TestTwiceInACommit(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	h, err := l.Register(ctx, named{})
	require.NoError(t, err)
	try := func(conditions ...log.Condition) (log.Result, error) {
		c := l.NewCommit()
		c.Require(conditions...)
		return c.Commit(ctx)
	}
	_, err = try(take("a", 1), take("b", 1), take("a", 1))
	require.ErrorIs(t, err, errTaken)
	require.Empty(t, viewDump(t, h))
	r, err := try(take("a", 1), take("b", 1))
	require.NoError(t, err)
	require.False(t, r.Duplicate)
	r, err = try(take("c", 1), take("c", 1), take("a", 1), take("a", 1))
	require.NoError(t, err)
	require.True(t, r.Duplicate)
	require.Equal(t, "a=1\nb=1\n", viewDump(t, h))
}
