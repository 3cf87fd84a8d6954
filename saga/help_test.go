package saga_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
	"github.com/stratalog/strata/timer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx   = context.Background()
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// quick retries at once, so that tests need no clock.
	quick = timer.Retry{First: time.Microsecond, Attempts: 3}
)

type order struct {
	Item  string   `json:"item"`
	Trail []string `json:"trail,omitempty"`
}

// open opens the log in fs.
func open(t testing.TB, fs vfs.FS, c log.Clock) *log.Log {
	l, err := log.Open("data", log.Options{FS: fs, Clock: c, SyncInterval: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// inMemory opens a new log under the system's clock.
func inMemory(t testing.TB) *log.Log { return open(t, vfs.NewMem(), nil) }

// running runs r until the returned function is called, or the test ends.
func running(t testing.TB, r *saga.Runner, o ...saga.RunOption) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, o...) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil && !errors.Is(err, log.ErrClosed) {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func newRunner(t testing.TB, l *log.Log, d ...saga.Def) *saga.Runner {
	r, err := saga.NewRunner(l, d...)
	require.NoError(t, err)
	return r
}

// settled waits until an instance is final or parked.
func settled(t testing.TB, s *saga.Store, name, id string) saga.Instance {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	in, err := s.Wait(ctx, name, id)
	require.NoError(t, err)
	return in
}

// until waits for something that happens by itself.
func until(t testing.TB, what func() bool) {
	require.Eventually(t, what, 20*time.Second, time.Millisecond)
}

// history returns the types of an instance's events, with their steps.
func history(t testing.TB, s *saga.Store, name, id string) []string {
	var list []string
	for e, err := range s.History(ctx, name, id) {
		require.NoError(t, err)
		require.EqualValues(t, len(list)+1, e.Version)
		text := string(e.Type)
		if e.Step != "" {
			text += " " + e.Step
		}
		list = append(list, text)
	}
	return list
}

// ledger is the world outside: it books effects by idempotency key.
type ledger struct {
	mu     sync.Mutex
	booked map[string]int // how often a key has asked; guarded by mu
	order  []string       // keys as they came first; guarded by mu
}

func newLedger() *ledger { return &ledger{booked: map[string]int{}} }

func (b *ledger) book(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.booked[key]++; b.booked[key] == 1 {
		b.order = append(b.order, key)
	}
}

func (b *ledger) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.order...)
}

func (b *ledger) times(key string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.booked[key]
}

// does returns an action that books its key and leaves a trail in the state.
func (b *ledger) does(mark string) saga.Action[order] {
	return func(_ context.Context, o *order, t *saga.Task) error {
		b.book(t.Key)
		o.Trail = append(o.Trail, mark)
		return nil
	}
}

var errBroken = errors.New("out of order")

func fails(context.Context, *order, *saga.Task) error { return errBroken }
