package saga_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

// shop is the textbook's saga with a world outside that outlives crashes.
type shop struct {
	b *ledger
}

func newShop() *shop { return &shop{newLedger()} }

func (s *shop) definition(out *log.Topic) saga.Def {
	book := func(_ context.Context, _ *order, t *saga.Task) error {
		s.b.book(t.Key)
		t.Emit(out, log.Record{Key: []byte(t.Key)})
		return nil
	}
	return saga.Define[order]("order").
		Step("reserve", book, book).
		Step("pay", book, book).
		Step("ship", func(ctx context.Context, o *order, t *saga.Task) error {
			if o.Item == "declined" {
				return saga.Final(errBroken)
			}
			return book(ctx, o, t)
		}, nil, saga.Pivot())
}

// moment is what a crash may leave, and what was booked and promised by then.
type moment struct {
	op      crashfs.Op
	snap    *crashfs.Snapshot
	booked  map[string]int
	started []string
}

var orders = map[string]string{"good": "book", "bad": "declined", "late": "pen"}

// TestFault_S28_CrashAtEveryOperation crashes the textbook's saga at each operation on a file, and lets
// each image run on: every instance that was started ends all done or all undone, what its actions emit is
// there once, and the world outside agrees.
func TestFault_S28_CrashAtEveryOperation(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	w := newShop()
	var mu sync.Mutex
	var started []string // guarded by mu
	var moments []moment // guarded by mu
	fs.SetHook(func(op crashfs.Op) {
		if !op.After {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		w.b.mu.Lock()
		defer w.b.mu.Unlock()
		moments = append(moments, moment{op, fs.Snapshot(), maps.Clone(w.b.booked), slices.Clone(started)})
	})
	l := open(t, fs, nil)
	out, err := l.CreateTopic(ctx, "out", log.TopicOptions{})
	require.NoError(t, err)
	r := newRunner(t, l, w.definition(out))
	stop := running(t, r)
	for _, id := range []string{"good", "bad", "late"} {
		require.NoError(t, r.Start(ctx, id, order{Item: orders[id]}))
		mu.Lock()
		started = append(started, id)
		mu.Unlock()
		if id != "good" {
			settled(t, r.Store, "order", id)
		}
	}
	settled(t, r.Store, "order", "good")
	stop()
	require.NoError(t, l.Close())
	fs.SetHook(nil)
	require.Greater(t, len(moments), 50)

	step, images := 1, 0
	if testing.Short() {
		step = 7
	}
	for i := 0; i < len(moments); i += step {
		m := moments[i]
		for _, policy := range []crashfs.Policy{crashfs.None, crashfs.All, crashfs.Subset} {
			cut := crashfs.Cut{Policy: policy, Seed: uint64(i)}
			images++
			if !t.Run(fmt.Sprintf("%d %v", i, cut), func(t *testing.T) { checkShop(t, m, cut) }) {
				return
			}
		}
	}
	t.Logf("%d operations, %d images", len(moments), images)
}

// checkShop lets an image run on, and balances the books.
func checkShop(t *testing.T, m moment, cut crashfs.Cut) {
	l := open(t, m.snap.Image(cut), nil)
	out, err := l.CreateTopic(ctx, "out", log.TopicOptions{})
	require.NoError(t, err)
	w := newShop()
	w.b.booked = maps.Clone(m.booked)
	r := newRunner(t, l, w.definition(out))
	stop := running(t, r)
	instances := 0
	for _, id := range []string{"good", "bad", "late"} {
		if _, err := r.Get(ctx, "order", id); err != nil {
			require.ErrorIs(t, err, saga.ErrInstance)
			require.NotContains(t, m.started, id, "was acknowledged")
			continue
		}
		instances++
		want := saga.Completed
		done, undone := []string{"reserve", "pay", "ship"}, []string{"reserve/undo", "pay/undo"}
		if orders[id] == "declined" {
			want, done = saga.Compensated, []string{"reserve", "pay", "reserve/undo", "pay/undo"}
			undone = []string{"ship"}
		}
		require.Equal(t, want, settled(t, r.Store, "order", id).Status)
		emitted := map[string]int{}
		for rec, err := range out.Read(log.Oldest) {
			require.NoError(t, err)
			emitted[string(rec.Key)]++
		}
		attempts := map[string]int{}
		for e, err := range r.History(ctx, "order", id) {
			require.NoError(t, err)
			if e.Type == saga.EventIntended || e.Type == saga.EventUndoing {
				attempts[e.Key] = max(attempts[e.Key], e.Attempt)
			}
		}
		for _, s := range done {
			key := "order/" + id + "/" + s
			require.Equal(t, 1, emitted[key], key)
			require.GreaterOrEqual(t, w.b.times(key), 1, key)
		}
		for _, s := range undone {
			key := "order/" + id + "/" + s
			require.Zero(t, emitted[key], key)
			require.Zero(t, w.b.times(key), key)
		}
		for key, n := range attempts {
			if key != "order/bad/ship" {
				require.LessOrEqual(t, w.b.times(key), n, "asked more often than intended")
			}
		}
	}
	counts, err := r.Count(ctx, "order")
	require.NoError(t, err)
	require.Equal(t, instances, counts[saga.Completed]+counts[saga.Compensated])
	stop()
	require.NoError(t, l.Close())
}

// TestNaive_S18_CrashAfterEachStep ends the program after each of its commits: what was done is not done
// anew, and the next program goes on behind it.
func TestNaive_S18_CrashAfterEachStep(t *testing.T) {
	for _, item := range []string{"book", "declined"} {
		for n := 1; ; n++ {
			fs := crashfs.New(crashfs.Options{})
			l := open(t, fs, nil)
			out, err := l.CreateTopic(ctx, "out", log.TopicOptions{})
			require.NoError(t, err)
			w := newShop()
			r := newRunner(t, l, w.definition(out))
			require.NoError(t, r.Start(ctx, "7", order{Item: item}))
			runCtx, cancel := context.WithCancel(ctx)
			commits := 0
			require.NoError(t, r.Run(runCtx, saga.Observe(func(in saga.Instance, _ []saga.Event) {
				if commits++; commits == n || in.Status.Final() {
					cancel()
				}
			})))
			cancel()
			before := w.b.keys()
			image := fs.Snapshot().Image(crashfs.Cut{Policy: crashfs.None})
			require.NoError(t, l.Close())
			l = open(t, image, nil)
			out, err = l.Topic("out")
			require.NoError(t, err)
			r = newRunner(t, l, w.definition(out))
			stop := running(t, r)
			in := settled(t, r.Store, "order", "7")
			stop()
			require.NoError(t, l.Close())
			require.True(t, in.Status.Final())
			require.Equal(t, before, w.b.keys()[:len(before)])
			for key, times := range w.b.booked {
				require.Equal(t, 1, times, key)
			}
			if commits < n {
				require.Greater(t, n, 3)
				break
			}
		}
	}
}

// TestFault_S31_CrashOfTransitions crashes an event-driven saga at each operation on a file: on every image
// each command is there once, however often its event comes.
func TestFault_S31_CrashOfTransitions(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	var mu sync.Mutex
	var snaps []*crashfs.Snapshot // guarded by mu
	l := open(t, fs, nil)
	events, commands := withTopics(t, l)
	for _, id := range []string{"a", "b"} {
		send(t, events, id, "OrderShipped", "InventoryReserved", "PaymentProcessed", "InventoryReserved", "Fee", "PaymentProcessed")
	}
	fs.SetHook(func(op crashfs.Op) {
		if op.After {
			mu.Lock()
			defer mu.Unlock()
			snaps = append(snaps, fs.Snapshot())
		}
	})
	r := newRunner(t, l, eventDriven(commands))
	stop := running(t, r)
	ended(t, r.Store, "checkout", 2)
	stop()
	require.NoError(t, l.Close())
	fs.SetHook(nil)
	require.Greater(t, len(snaps), 20)
	step := 1
	if testing.Short() {
		step = 5
	}
	for i := 0; i < len(snaps); i += step {
		for _, policy := range []crashfs.Policy{crashfs.None, crashfs.All, crashfs.Subset} {
			l := open(t, snaps[i].Image(crashfs.Cut{Policy: policy, Seed: uint64(i)}), nil)
			events, commands := withTopics(t, l)
			r := newRunner(t, l, eventDriven(commands))
			stop := running(t, r)
			send(t, events, "a", "PaymentProcessed", "OrderShipped")
			ended(t, r.Store, "checkout", 2)
			stop()
			want := []string{"pay", "ship"}
			require.Equal(t, map[string][]string{"a": want, "b": want}, commandsOf(t, commands), "operation %d, %v", i, policy)
			require.NoError(t, l.Close())
		}
	}
	t.Logf("%d operations", len(snaps))
}
