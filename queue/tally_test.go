package queue

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// delays is a queue with delayed messages.
type delays struct {
	t   *testing.T
	ctx context.Context
	clk *clock.Manual
	l   *log.Log
	q   *Queue
}

func newDelays(t *testing.T, register func(l *log.Log)) *delays {
	x := &delays{t: t, ctx: context.Background(), clk: clock.NewManual(time.Unix(1e9, 0))}
	l, err := log.Open("data", log.Options{FS: vfs.NewMem(), Clock: x.clk, SyncInterval: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	x.l = l
	register(l)
	x.q, err = Declare(x.ctx, l, "work", Options{})
	require.NoError(t, err)
	return x
}

// send sends n messages, the i-th of which is due after i+1 steps.
func (x *delays) send(n int, step time.Duration) {
	ms := make([]Message, n)
	for i := range ms {
		ms[i].Delay = time.Duration(i+1) * step
	}
	_, err := x.q.Send(x.ctx, ms...)
	require.NoError(x.t, err)
}

// counts returns how many are ready and delayed, and by how many looks at keys it is found how many are due.
func (x *delays) counts() (ready, delayed int64, looks int) {
	s, err := x.q.Stats(x.ctx)
	require.NoError(x.t, err)
	d := x.q.d
	st, err := d.state(x.ctx)
	require.NoError(x.t, err)
	due, err := st.dueBy(d.id, d.now(), func(from, to []byte) iter.Seq2[log.KeyValue, error] {
		return func(yield func(log.KeyValue, error) bool) {
			for kv, err := range d.scan(from, to) {
				if looks++; !yield(kv, err) {
					return
				}
			}
		}
	})
	require.NoError(x.t, err)
	require.Equal(x.t, st.delayed-s.Delayed, due)
	return s.Ready, s.Delayed, looks
}

// TestCountsOfDueMessages: how many of the delayed are due is exact at every moment, and costs no look at each.
func TestCountsOfDueMessages(t *testing.T) {
	x := newDelays(t, func(*log.Log) {})
	const n = 2000
	x.send(n, 10*time.Second) // five and a half hours
	x.send(1, 100*365*24*time.Hour)
	for passed := time.Duration(0); passed < 6*time.Hour; {
		step := 3*time.Minute + 333*time.Millisecond
		x.clk.Advance(step)
		passed += step
		ready, delayed, looks := x.counts()
		require.EqualValues(t, min(n, passed/(10*time.Second)), ready)
		require.EqualValues(t, n+1-ready, delayed)
		require.LessOrEqual(t, looks, 5+(1<<coarseShift)/10_000_000, "stretches of 72 minutes, messages of one, and of a second")
	}
	// Whatever becomes of them, the counts go along.
	ms, err := x.q.Receive(x.ctx, ReceiveOptions{Max: 500, Held: true})
	require.NoError(t, err)
	require.NoError(t, x.q.Ack(x.ctx, ms[:100]...))
	for _, m := range ms[100:200] {
		require.NoError(t, m.NackAfter(x.ctx, time.Minute, nil))
	}
	for i := range int64(100) {
		require.NoError(t, x.q.Cancel(x.ctx, 1000+i))
	}
	ready, delayed, _ := x.counts()
	require.EqualValues(t, []int64{n - 600, 101}, []int64{ready, delayed})
	x.clk.Advance(time.Minute + time.Second)
	ready, delayed, looks := x.counts()
	require.EqualValues(t, []int64{n - 500, 1}, []int64{ready, delayed})
	require.LessOrEqual(t, looks, 600)
	dropped, err := x.q.Purge(x.ctx)
	require.NoError(t, err)
	require.EqualValues(t, n-500+1, dropped)
	prefix := keyOf(prefixTally, x.q.d.id)
	for kv, err := range x.q.d.scan(prefix, after(prefix)) {
		require.NoError(t, err)
		t.Errorf("left over: %x", kv.Key)
	}
}

// older is the view of a build that has not counted delayed messages by when they are due.
type older struct {
	view
	id *uint64
}

func (v older) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	if v.id != nil && *v.id != 0 {
		if b, err := tx.Get(keyOf(prefixState, *v.id)); err != nil {
			return err
		} else if b == nil {
			tx.Set(keyOf(prefixState, *v.id), (&state{}).encode())
		}
	}
	return v.view.Apply(tx, c)
}

// TestCountsOfOlderState goes on with a queue whose messages were not counted so.
func TestCountsOfOlderState(t *testing.T) {
	var id uint64
	x := newDelays(t, func(l *log.Log) {
		_, err := l.Register(context.Background(), older{view{&directory{}}, &id})
		require.NoError(t, err)
	})
	id = x.q.d.id
	x.send(20, time.Second)
	x.clk.Advance(5*time.Second + time.Millisecond)
	ready, delayed, looks := x.counts()
	require.EqualValues(t, []int64{5, 15, 5}, []int64{ready, delayed, int64(looks)})
	require.NoError(t, x.q.Cancel(x.ctx, 0))
	ready, delayed, _ = x.counts()
	require.EqualValues(t, []int64{4, 15}, []int64{ready, delayed})
}

// TestOldestPassesOverOnce: the first message of the backlog is behind many that are not in it, which are read once.
func TestOldestPassesOverOnce(t *testing.T) {
	x := newDelays(t, func(*log.Log) {})
	x.send(1000, time.Hour)
	ids, err := x.q.Send(x.ctx, Message{}, Message{})
	require.NoError(t, err)
	x.clk.Advance(time.Minute)
	_, err = x.q.Send(x.ctx, Message{})
	require.NoError(t, err)
	x.clk.Advance(time.Second)
	for _, id := range ids {
		s, err := x.q.Stats(x.ctx)
		require.NoError(t, err)
		require.Equal(t, time.Minute+time.Second, s.Oldest)
		require.Equal(t, id, x.q.d.skimmed.Load())
		require.NoError(t, x.q.Cancel(x.ctx, id))
	}
	s, err := x.q.Stats(x.ctx)
	require.NoError(t, err)
	require.Equal(t, time.Second, s.Oldest)
	require.EqualValues(t, 1002, x.q.d.skimmed.Load())
}
