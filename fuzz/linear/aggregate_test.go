package linear_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/fuzz/linear"
	"github.com/stratalog/strata/log"
)

// TestFault_S22_StreamsAreLinearizable appends to one stream, or to four, of an event store from 64 goroutines, cuts the
// power in the middle, opens again and goes on: the history of each stream must be one that a single
// register could have had, and its versions are 1..n.
func TestFault_S22_StreamsAreLinearizable(t *testing.T) {
	histories := 6
	if testing.Short() {
		histories = 2
	}
	ops, won := 0, 0
	for seed := range uint64(histories) {
		h := streamHistory(t, seed)
		ops += len(h)
		for _, o := range h {
			if o.Append && o.Outcome == linear.Done {
				won++
			}
		}
		require.NoError(t, linear.Check(h, 30*time.Second), "seed %d", seed)
	}
	t.Logf("histories=%d operations=%d appended=%d violations=0", histories, ops, won)
	require.Greater(t, ops, histories*300)
	require.Greater(t, won, histories*30)
}

// unsure is an append whose outcome was not told before the power was gone.
type unsure struct {
	op   linear.Op
	data string
}

func streamHistory(t *testing.T, seed uint64) []linear.Op {
	const clients, lives, each = 64, 3, 400
	streams := 1 + 3*int(seed%2)
	ctx := context.Background()
	var clock atomic.Int64
	var mu sync.Mutex
	var ops []linear.Op
	var open []unsure
	fs := crashfs.New(crashfs.Options{})
	for life := range lives + 1 {
		l, err := log.Open("data", log.Options{FS: fs, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		require.NoError(t, err)
		s, err := aggregate.Open(ctx, l, "events", aggregate.Options{})
		require.NoError(t, err)
		// What is there now of what was unsure has happened before this moment, and the rest never will.
		there := map[string]bool{}
		for i := range streams {
			versionsDense(t, s, fmt.Sprint("s-", i), there)
		}
		now := clock.Add(1)
		for _, u := range open {
			if there[u.data] {
				u.op.Return = now
				ops = append(ops, u.op)
			}
		}
		open = nil
		if life == lives {
			require.NoError(t, l.Close())
			break
		}
		var wg sync.WaitGroup
		var count atomic.Int64
		var snap atomic.Pointer[crashfs.Snapshot] // stored under mu
		note := func(o linear.Op, data string, known bool) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case known && snap.Load() == nil:
				ops = append(ops, o)
			case o.Append && o.Outcome == linear.Done:
				open = append(open, unsure{o, data})
			}
			// What a read or a conflict saw when the power was gone may be gone.
		}
		for c := range clients {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(life*clients+c)))
				known := make([]int64, streams)
				for snap.Load() == nil {
					i := rng.IntN(streams)
					o := linear.Op{Key: fmt.Sprint("s-", i), Client: c, Append: rng.IntN(4) > 0, Expected: known[i]}
					o.Call = clock.Add(1)
					if !o.Append {
						o.Version = durableVersion(s, o.Key)
						known[i] = o.Version
						o.Return = clock.Add(1)
						note(o, "", true)
						continue
					}
					data := fmt.Sprint(life, "/", c, "/", o.Call)
					_, err := s.Append(ctx, o.Key, aggregate.At(uint64(o.Expected)), aggregate.Event{Type: "happened", Data: []byte(data)})
					o.Return = clock.Add(1)
					var conflict *aggregate.VersionConflictError
					sure := true
					switch {
					case err == nil:
						known[i] = o.Expected + 1
					case errors.As(err, &conflict):
						o.Outcome, o.Version = linear.Conflict, int64(conflict.Actual)
						known[i] = o.Version
					default:
						sure = false
					}
					note(o, data, sure)
					if count.Add(1) >= each {
						mu.Lock()
						snap.CompareAndSwap(nil, fs.Snapshot())
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		require.NoError(t, l.Close())
		fs = snap.Load().Image(crashfs.Cut{Policy: crashfs.Subset, Block: 512, Seed: seed})
	}
	return ops
}

// durableVersion returns the version of the last event that is synced, by loading it, -1 on an error.
func durableVersion(s *aggregate.Store, stream string) int64 {
	e, err := s.Last(context.Background(), stream)
	switch {
	case errors.Is(err, aggregate.ErrNoStream):
		return 0
	case err != nil:
		return -1
	}
	return int64(e.Version)
}

// versionsDense loads a stream, and notes what is in it.
func versionsDense(t *testing.T, s *aggregate.Store, stream string, there map[string]bool) {
	next := uint64(1)
	for e, err := range s.Load(context.Background(), stream) {
		require.NoError(t, err)
		require.Equal(t, next, e.Version)
		require.False(t, there[string(e.Data)], "%s is there twice", e.Data)
		there[string(e.Data)] = true
		next++
	}
}
