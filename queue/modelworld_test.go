package queue_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/timer"
)

// moment is the model as it was when so much of the log was written.
type moment struct {
	position uint64
	m        model
	out      int
}

// world is a log with queues beside the model.
type world struct {
	t       testing.TB
	rng     *rand.Rand
	fs      *vfs.MemFS
	clk     *clock.Manual
	l       *log.Log
	m       model
	out     int // records of the topic that acknowledgements go along with
	moments []moment
	open    map[string]*queue.Delivery // by receipt
	stale   []*queue.Delivery
	next    int
	tiny    bool // what queues hold in memory is made to overflow
	opening int
	calls   int // of Receive
	serial  int // of the last message that was handed out
}

// tinyAside is how many messages a call hands out at most when the world is tiny.
const tinyAside = 3

var queueNames = []string{"a", "b"}

func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

// options draws those of a queue.
func (w *world) options() queue.Options {
	o := queue.Options{Lease: time.Minute, Retry: timer.Retry{Attempts: 1 + w.rng.IntN(4), First: 10 * time.Second, Even: true}}
	switch w.rng.IntN(3) {
	case 0:
		o.Ordered = true
	case 1:
		o.Dedup = []time.Duration{queue.ForEver, time.Minute}[w.rng.IntN(2)]
	}
	if w.chance(3) {
		o.MaxDepth = 6
	}
	if w.chance(4) {
		o.MaxBytes = 40
	}
	if w.chance(4) {
		o.TTL = 90 * time.Second
	}
	if w.chance(4) {
		o.Delay = 20 * time.Second
	}
	if w.chance(4) {
		o.MaxInFlight = 3
	}
	o.Discard = w.chance(4)
	return o
}

func (w *world) declare(name string, o queue.Options) {
	q, err := queue.Declare(ctx, w.l, name, o)
	require.NoError(w.t, err)
	w.m[name] = &modelQueue{o: q.Options(), live: map[string]modelMessage{}, sentIDs: map[string]modelSent{}}
	if !o.Discard {
		w.deadOf(w.m[name])
	}
}

func (w *world) openLog() {
	o := log.Options{FS: w.fs, Clock: w.clk, SyncInterval: -1, SegmentBytes: 256 << 10} // more expire together than there are
	if w.tiny {
		o.SegmentBytes = 64 << 10
	}
	l, err := log.Open("data", o)
	require.NoError(w.t, err)
	w.l = l
	w.opening++
	if w.tiny {
		queue.OpenTiny(w.t, l)
	}
}

// begin has the queues opened, so that what they do by themselves begins.
func (w *world) begin() {
	w.open, w.stale = map[string]*queue.Delivery{}, nil
	for name := range w.m {
		w.queue(name)
	}
	_, err := w.l.CreateTopic(ctx, "out", log.TopicOptions{})
	require.NoError(w.t, err)
}

func (w *world) queue(name string) *queue.Queue {
	q, err := queue.Open(ctx, w.l, name)
	require.NoError(w.t, err)
	return q
}

// waitFor polls for something that happens in the background without a clock.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); runtime.Gosched() {
		require.True(t, time.Now().Before(end), "it does not happen")
	}
}

// settle waits until leases have ended whose time is over, and ends them in the model.
func (w *world) settle(held bool) {
	now := w.l.Now()
	ended := 0
	for _, name := range w.names() {
		q := w.m[name]
		for _, value := range slices.Sorted(maps.Keys(q.live)) {
			m := q.live[value]
			if !m.leased || m.until.After(now) || m.until.IsZero() && !held {
				continue
			}
			ended++
			w.unlease(&m)
			if most := q.most(&m); most > 0 && m.attempts >= most {
				w.bury(q, value, m)
				q.dead++
			} else {
				q.live[value] = m
			}
		}
	}
	for name := range w.m {
		leased := 0
		for _, m := range w.m[name].live {
			if m.leased {
				leased++
			}
		}
		waitFor(w.t, func() bool {
			q, err := queue.Open(ctx, w.l, name)
			if errors.Is(err, queue.ErrNoQueue) {
				return false // of dead letters that come anew, with the first of them
			}
			require.NoError(w.t, err)
			s, err := q.Stats(ctx)
			require.NoError(w.t, err)
			return s.Leased <= int64(leased)
		})
	}
	if ended > 0 {
		require.NoError(w.t, w.l.Sync(ctx))
	}
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.m)) }

// reopen ends the log by Close or by a crash, and opens it again, perhaps without its views.
func (w *world) reopen() {
	fs := w.fs
	crash := w.rng.IntN(3)
	if crash > 0 {
		for _, q := range w.m {
			if q.o.Dedup > 0 { // forgetting is a commit of its own, whenever it comes
				require.NoError(w.t, w.l.Sync(ctx))
			}
		}
		synced := w.l.Position()
		unsynced := 100 // the process dies
		if crash == 2 {
			unsynced = w.rng.IntN(101)
		}
		// How often it draws depends on files that come by timing: the walk must not.
		draws := rand.New(rand.NewPCG(w.rng.Uint64(), 51))
		fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: draws})
		defer func() { require.GreaterOrEqual(w.t, w.l.Metrics().Written, synced) }()
	}
	require.NoError(w.t, w.l.Close())
	w.fs = fs
	if w.chance(3) {
		require.NoError(w.t, fs.RemoveAll("data/state"))
	}
	w.openLog()
	at := w.l.Metrics().Written
	for i := range slices.Backward(w.moments) {
		if w.moments[i].position <= at {
			w.m, w.out = w.moments[i].m.clone(), w.moments[i].out
			break
		}
	}
	w.begin()
	w.settle(true)
	require.NoError(w.t, w.l.Sync(ctx))
	w.moments = w.moments[:0]
}
