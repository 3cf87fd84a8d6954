package aggregate_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
)

// TestManyWritersOneStream appends from 64 goroutines to one stream, by Any, by Exists, and by At in a
// loop, and checks that the versions are 1..n.
func TestManyWritersOneStream(t *testing.T) {
	const writers, each = 64, 12
	s, _ := newStore(t)
	_, err := s.Append(ctx, "s", aggregate.NoStream, event("first"))
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	by := map[uint64]string{1: "first"} // version to data, as the writers were told
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				data := fmt.Sprintf("%d.%d", w, i)
				var r aggregate.Result
				var err error
				switch w % 3 {
				case 0:
					r, err = s.Append(ctx, "s", aggregate.Any, event(data))
				case 1:
					r, err = s.Append(ctx, "s", aggregate.Exists, event(data))
				default:
					at := uint64(1)
					for {
						if r, err = s.Append(ctx, "s", aggregate.At(at), event(data)); !errors.Is(err, aggregate.ErrVersionConflict) {
							break
						}
						var conflict *aggregate.VersionConflictError
						errors.As(err, &conflict)
						at = conflict.Actual
					}
				}
				if err != nil {
					t.Errorf("%s: %v", data, err)
					return
				}
				mu.Lock()
				if was, ok := by[r.Version("s")]; ok {
					t.Errorf("version %d was given to %s and %s", r.Version("s"), was, data)
				}
				by[r.Version("s")] = data
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	version := uint64(0)
	for e, err := range s.Load(ctx, "s") {
		require.NoError(t, err)
		version++
		require.Equal(t, version, e.Version)
		require.Equal(t, by[version], string(e.Data))
	}
	require.EqualValues(t, writers*each+1, version)
}

// TestLoadBesideWriters loads streams while they grow: each load shows versions 1..n without a gap, and
// never fewer than were acknowledged before it began.
func TestLoadBesideWriters(t *testing.T) {
	s, _ := newStore(t)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	acked := make([]struct {
		sync.Mutex
		version uint64
	}, 4)
	for w := range acked {
		writers.Go(func() {
			for range 150 {
				r, err := s.Append(ctx, fmt.Sprint("s-", w), aggregate.Any, events("a", "b")...)
				if err != nil {
					t.Error(err)
					return
				}
				acked[w].Lock()
				acked[w].version = r.Version(fmt.Sprint("s-", w))
				acked[w].Unlock()
			}
		})
		readers.Go(func() {
			for backward := false; ; backward = !backward {
				select {
				case <-stop:
					return
				default:
				}
				acked[w].Lock()
				least := acked[w].version
				acked[w].Unlock()
				n, first, last := uint64(0), uint64(0), uint64(0)
				for e, err := range s.Load(ctx, fmt.Sprint("s-", w), aggregate.LoadOptions{Backward: backward}) {
					if err != nil {
						t.Error(err)
						return
					}
					if n++; n == 1 {
						first = e.Version
					}
					last = e.Version
				}
				if backward {
					first, last = last, first
				}
				if n < least || n > 0 && (first != 1 || last != n) {
					t.Errorf("%d events, versions %d to %d, at least %d were acknowledged", n, first, last, least)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	require.Len(t, load(t, s, "s-0"), 300)
}

// TestLoadBesideTruncation loads an account while it grows, gets snapshots, and is truncated behind them: it is always
// made of all of its events.
func TestLoadBesideTruncation(t *testing.T) {
	s, _ := newStore(t)
	accounts := aggregate.Define("account", accountEvents, (*Account).apply).Snapshots(1, 3)
	r := accountsOf(t, s, accounts)
	_, err := r.Handle(ctx, "1", func(a *Account) error { return a.Deposit(1) }) // two events
	require.NoError(t, err)
	require.NoError(t, r.Snapshot(ctx, "1"))
	deposits := 600
	if testing.Short() {
		deposits /= 4
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !done.Load() {
			a, err := r.Load(ctx, "1")
			if !assert.NoError(t, err) || !assert.NoError(t, r.Snapshot(ctx, "1")) ||
				!assert.NoError(t, s.TruncateBefore(ctx, "account-1", a.Version())) {
				return
			}
		}
	})
	wg.Go(func() {
		for !done.Load() {
			a, err := r.Load(ctx, "1")
			if !assert.NoError(t, err) || !assert.EqualValues(t, a.Version()-1, a.Balance) {
				return
			}
		}
	})
	for range deposits {
		_, err := r.Handle(ctx, "1", func(a *Account) error {
			if a.Balance != int(a.Version())-1 {
				return fmt.Errorf("balance %d at version %d", a.Balance, a.Version())
			}
			return a.Deposit(1)
		})
		require.NoError(t, err)
	}
	done.Store(true)
	wg.Wait()
}
