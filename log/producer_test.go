package log_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// lostReply commits and loses the reply, as a caller does whose connection or context ends: the commit
// happens, and the caller does not know.
func lostReply(c *log.Commit) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := c.CommitAsync(ctx).Wait(ended)
	if err == nil {
		err = &log.UnknownError{Cause: context.Canceled} // it was decided already; the reply is lost all the same
	}
	return err
}

// TestNaive_S10_ProducerRetryAfterLostReply: the naive producer appends again when a reply is lost,
// and stores the record twice. One that numbers its batches stores it once, at the offset that the
// first attempt had.
func TestNaive_S10_ProducerRetryAfterLostReply(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	naive, err := l.CreateTopic(ctx, "naive", log.TopicOptions{})
	require.NoError(t, err)
	ours, err := l.CreateTopic(ctx, "ours", log.TopicOptions{})
	require.NoError(t, err)
	p, err := l.Producer(ctx, "orders")
	require.NoError(t, err)
	rec := log.Record{Value: []byte("charge the card")}

	c := l.NewCommit()
	c.Append(naive, rec)
	require.ErrorIs(t, lostReply(c), log.ErrUnknown)
	_, err = naive.Append(ctx, rec)
	require.NoError(t, err)
	require.Len(t, values(t, l, "naive"), 2, "the naive retry should have stored a duplicate")

	c = l.NewCommit()
	c.AppendSequenced(ours.Partition(0), p, 0, rec)
	require.ErrorIs(t, lostReply(c), log.ErrUnknown)
	r, err := p.Append(ctx, ours.Partition(0), 0, rec)
	require.NoError(t, err)
	require.True(t, r.Duplicate)
	require.Zero(t, r.Offset)
	require.Len(t, values(t, l, "ours"), 1)
	require.NoError(t, l.Close())
}

func TestProducerSequences(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{})
	tp, err := l.CreateTopic(ctx, "t", log.TopicOptions{Partitions: 2})
	require.NoError(t, err)
	part := tp.Partition(1)
	p, err := l.Producer(ctx, "p")
	require.NoError(t, err)
	two := []log.Record{{Value: []byte("x")}, {Value: []byte("y")}}
	for i := range 7 {
		r, err := p.Append(ctx, part, int32(2*i), two...)
		require.NoError(t, err)
		require.False(t, r.Duplicate)
		require.EqualValues(t, 2*i, r.Offset)
	}
	check := func() {
		t.Helper()
		for i := 2; i < 7; i++ {
			r, err := p.Append(ctx, part, int32(2*i), two...)
			require.NoError(t, err, i)
			require.True(t, r.Duplicate)
			require.EqualValues(t, 2*i, r.Offset)
			require.Equal(t, 2, r.Count)
			require.Equal(t, "t", r.Topic.Name())
			require.EqualValues(t, 1, r.Partition)
		}
		for _, tc := range []struct {
			sequence int32
			records  int
			old      bool
		}{{2, 2, true}, {0, 2, true}, {15, 2, false}, {1000, 2, false}, {13, 1, false}, {12, 1, false}} {
			_, err := p.Append(ctx, part, tc.sequence, two[:tc.records]...)
			var se *log.SequenceError
			require.ErrorAs(t, err, &se, tc.sequence)
			require.ErrorIs(t, err, log.ErrSequence)
			require.Equal(t, log.SequenceError{ID: p.ID(), Expected: 14, Got: tc.sequence, Old: tc.old}, *se)
		}
	}
	check()
	// A batch of the whole commit, in two partitions: again all of it, and half of it.
	c := l.NewCommit()
	c.AppendSequenced(part, p, 14, two...)
	c.AppendSequenced(tp.Partition(0), p, 0, two...)
	first, err := c.Commit(ctx)
	require.NoError(t, err)
	require.Len(t, first.Batches(), 2)
	c = l.NewCommit()
	c.AppendSequenced(part, p, 14, two...)
	c.AppendSequenced(tp.Partition(0), p, 0, two...)
	again, err := c.Commit(ctx)
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	require.Equal(t, first.Batches(), again.Batches())
	c = l.NewCommit()
	c.AppendSequenced(part, p, 14, two...)
	c.AppendSequenced(tp.Partition(0), p, 2, two...)
	_, err = c.Commit(ctx)
	require.Error(t, err)
	require.NoError(t, l.Close())

	// Also what was remembered survives, with state and without.
	for round := range 2 {
		if round == 1 {
			require.NoError(t, fs.RemoveAll("data/state"))
		}
		l = open(t, fs, "data", log.Options{})
		tp, err = l.Topic("t")
		require.NoError(t, err)
		// The handle of the first process, as if that had gone on: it is not fenced yet.
		var se *log.SequenceError
		var raw log.RawBatch
		for b, err := range tp.Partition(1).ReadBatches(log.AtOffset(14)) {
			require.NoError(t, err)
			raw = b
			raw.Bytes = append([]byte(nil), b.Bytes...)
		}
		require.Equal(t, p.ID(), raw.Head.ProducerID)
		c := l.NewCommit()
		c.AppendBatch(tp.Partition(1), raw.Bytes)
		r, err := c.Commit(ctx)
		require.NoError(t, err)
		require.True(t, r.Duplicate)
		require.EqualValues(t, 14, r.Offset)
		c = l.NewCommit()
		c.AppendBatch(tp.Partition(0), sequenced(p.ID(), p.Epoch(), 7))
		_, err = c.Commit(ctx)
		require.ErrorAs(t, err, &se)
		require.EqualValues(t, 2, se.Expected)
		require.NoError(t, l.Close())
	}
}

// sequenced returns a batch as a client would send it.
func sequenced(id int64, epoch int16, sequence int32) []byte {
	var b record.Builder
	b.Reset()
	b.Producer(id, epoch, sequence)
	b.Append(&log.Record{Value: []byte("raw")}, 1)
	return append([]byte(nil), b.Encoded(true)...)
}

func TestProducerIsFenced(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{})
	tp, err := l.CreateTopic(ctx, "t", log.TopicOptions{})
	require.NoError(t, err)
	old, err := l.Producer(ctx, "p")
	require.NoError(t, err)
	other, err := l.Producer(ctx, "q")
	require.NoError(t, err)
	require.NotEqual(t, old.ID(), other.ID())
	_, err = old.Append(ctx, tp.Partition(0), 0, log.Record{Value: []byte("1")})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	l = open(t, fs, "data", log.Options{})
	tp, err = l.Topic("t")
	require.NoError(t, err)
	for epoch := int16(1); epoch < 4; epoch++ {
		p, err := l.Producer(ctx, "p")
		require.NoError(t, err)
		require.Equal(t, old.ID(), p.ID())
		require.Equal(t, epoch, p.Epoch())
		c := l.NewCommit()
		c.AppendBatch(tp.Partition(0), sequenced(old.ID(), epoch-1, 1))
		_, err = c.Commit(ctx)
		var fe *log.FencedError
		require.ErrorAs(t, err, &fe)
		require.ErrorIs(t, err, log.ErrFenced)
		require.Equal(t, log.FencedError{ID: old.ID(), Epoch: epoch - 1, Current: epoch}, *fe)
		r, err := p.Append(ctx, tp.Partition(0), 0, log.Record{Value: []byte("n")})
		require.NoError(t, err)
		require.EqualValues(t, epoch, r.Offset)
	}
	c := l.NewCommit()
	c.AppendBatch(tp.Partition(0), sequenced(999, 0, 0))
	_, err = c.Commit(ctx)
	var fe *log.FencedError
	require.ErrorAs(t, err, &fe)
	require.EqualValues(t, -1, fe.Current)
	require.NoError(t, l.Close())
}

func TestProducersRegisterConcurrently(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	epochs := make([]bool, 32)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range epochs {
		wg.Go(func() {
			p, err := l.Producer(ctx, "same")
			mu.Lock()
			defer mu.Unlock()
			if err != nil || p.ID() != 0 || epochs[p.Epoch()] {
				t.Error(p, err)
				return
			}
			epochs[p.Epoch()] = true
		})
	}
	wg.Wait()
	require.NoError(t, l.Close())
}

// TestProducerSend has goroutines send through one producer, some with a context that ends at a
// random moment, repeating what they do not know about: each record is there exactly once.
func TestProducerSend(t *testing.T) {
	l := open(t, nil, t.TempDir(), log.Options{})
	tp, err := l.CreateTopic(ctx, "t", log.TopicOptions{Partitions: 3})
	require.NoError(t, err)
	p, err := l.Producer(ctx, "p")
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range 30 {
				rec := log.Record{Key: fmt.Append(nil, g), Value: fmt.Appendf(nil, "%d/%d", g, i)}
				sendCtx, cancel := context.WithCancel(ctx)
				if rng.IntN(2) == 0 {
					go cancel()
				}
				_, err := p.Send(sendCtx, tp, rec)
				var open *log.SendError
				switch {
				case err == nil:
				case errors.As(err, &open):
					for part, sequence := range open.Sequences {
						r, err := p.Append(ctx, part, sequence, rec)
						if err != nil || !r.Duplicate {
							var se *log.SequenceError
							if !errors.As(err, &se) || !se.Old {
								t.Error(r.Duplicate, err)
							}
						}
					}
				default: // refused: nothing is stored
					if _, err := p.Send(ctx, tp, rec); err != nil {
						t.Error(err)
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
	got := values(t, l, "t")
	require.Len(t, got, 16*30)
	seen := map[string]bool{}
	for _, v := range got {
		require.False(t, seen[v], v)
		seen[v] = true
	}
	require.NoError(t, l.Close())
}
