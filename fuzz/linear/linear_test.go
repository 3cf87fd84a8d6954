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

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/fuzz/linear"
	"github.com/stratalog/strata/log"
)

// TestCheck knows a good history from bad ones.
func TestCheck(t *testing.T) {
	done := func(call, ret, expected int64) linear.Op {
		return linear.Op{Key: "k", Call: call, Return: ret, Append: true, Expected: expected}
	}
	read := func(call, ret, version int64) linear.Op {
		return linear.Op{Key: "k", Call: call, Return: ret, Version: version}
	}
	unknown := linear.Op{Key: "k", Call: 5, Return: linear.Forever, Append: true, Expected: 1, Outcome: linear.Unknown}
	conflict := linear.Op{Key: "k", Call: 5, Return: 9, Append: true, Expected: 0, Outcome: linear.Conflict, Version: 1}
	for name, tc := range map[string]struct {
		ops []linear.Op
		ok  bool
	}{
		"one after the other":                {[]linear.Op{done(0, 1, 0), done(2, 3, 1), read(4, 5, 2)}, true},
		"both win":                           {[]linear.Op{done(0, 3, 0), done(1, 4, 0)}, false},
		"a stale read":                       {[]linear.Op{done(0, 1, 0), read(2, 3, 0)}, false},
		"a read at the same time":            {[]linear.Op{done(0, 3, 0), read(1, 2, 0)}, true},
		"conflict with what is there":        {[]linear.Op{done(0, 1, 0), conflict}, true},
		"conflict before the cause":          {[]linear.Op{conflict, done(20, 21, 0)}, false},
		"many at once, and a read behind":    {[]linear.Op{done(0, 9, 2), done(0, 9, 1), done(0, 9, 0), read(10, 11, 3)}, true},
		"many at once, and a read amid":      {[]linear.Op{done(0, 9, 2), done(0, 9, 1), done(0, 9, 0), read(1, 2, 2), read(3, 4, 2)}, true},
		"many at once, and reads backwards":  {[]linear.Op{done(0, 9, 2), done(0, 9, 1), done(0, 9, 0), read(1, 2, 2), read(3, 4, 1)}, false},
		"a version before its predecessor's": {[]linear.Op{done(0, 1, 1), done(2, 3, 0)}, false},
		"unknown, was done":                  {[]linear.Op{done(0, 1, 0), unknown, read(20, 21, 2)}, true},
		"unknown, was not done":              {[]linear.Op{done(0, 1, 0), unknown, read(20, 21, 1), read(22, 23, 1)}, true},
		"unknown, done and undone":           {[]linear.Op{done(0, 1, 0), unknown, read(20, 21, 2), read(22, 23, 1)}, false},
	} {
		err := linear.Check(tc.ops, time.Minute)
		require.Equal(t, tc.ok, err == nil, "%s: %v", name, err)
	}
}

// TestNarrow draws histories of a register, good ones and such with a version that was changed, and shows
// that narrowing changes no verdict.
func TestNarrow(t *testing.T) {
	good, bad := 0, 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var ops []linear.Op
		version := int64(0)
		for at := range int64(2 + rng.IntN(7)) {
			o := linear.Op{Key: "k", Client: int(at), Call: 10*at - int64(rng.IntN(25)), Return: 10*at + int64(rng.IntN(25))}
			switch rng.IntN(3) {
			case 0:
				o.Append, o.Expected = true, version
				version++
			case 1:
				o.Version = version
			default:
				o.Append, o.Outcome, o.Version, o.Expected = true, linear.Conflict, version, version+1
			}
			ops = append(ops, o)
		}
		if rng.IntN(2) == 0 {
			o := &ops[rng.IntN(len(ops))]
			if o.Append && o.Outcome == linear.Done {
				o.Expected = max(0, o.Expected+int64(rng.IntN(3))-1)
			} else {
				o.Version = max(0, o.Version+int64(rng.IntN(3))-1)
				o.Expected = o.Version + 1
			}
		}
		with, without := linear.Check(ops, time.Minute), linear.CheckAsIs(ops, time.Minute)
		require.Equal(t, without == nil, with == nil, "seed %d: %v, %v: %+v", seed, with, without, ops)
		if with == nil {
			good++
		} else {
			bad++
		}
	}
	t.Logf("%d linearizable, %d not", good, bad)
	require.Greater(t, min(good, bad), 300)
}

// TestT10 appends with ExpectOffset from many goroutines, cuts the power in the middle, opens again and
// goes on: the history of each partition must be one that a single register could have had.
func TestT10(t *testing.T) {
	histories := 8
	if testing.Short() {
		histories = 3
	}
	ops := 0
	for seed := range uint64(histories) {
		h := history(t, seed)
		ops += len(h)
		require.NoError(t, linear.Check(h, 30*time.Second), "seed %d", seed)
	}
	t.Logf("T10 histories=%d operations=%d violations=0", histories, ops)
	require.Greater(t, ops, histories*150)
}

func history(t *testing.T, seed uint64) []linear.Op {
	const clients, partitions, lives = 8, 2, 4
	var clock atomic.Int64
	var mu sync.Mutex
	var ops []linear.Op
	fs := crashfs.New(crashfs.Options{})
	for life := range lives {
		l, err := log.Open("data", log.Options{FS: fs, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		require.NoError(t, err)
		tp, err := l.CreateTopic(context.Background(), "streams", log.TopicOptions{Partitions: partitions})
		require.NoError(t, err)
		var wg sync.WaitGroup
		var count atomic.Int64
		var snap atomic.Pointer[crashfs.Snapshot] // stored under mu
		note := func(o linear.Op) {
			mu.Lock()
			defer mu.Unlock()
			if snap.Load() != nil {
				// The power was gone before this was told: it is there or not, and what a read saw may be gone.
				if !o.Append {
					return
				}
				o.Outcome, o.Return = linear.Unknown, linear.Forever
			}
			ops = append(ops, o)
		}
		cut := func() {
			mu.Lock()
			defer mu.Unlock()
			snap.CompareAndSwap(nil, fs.Snapshot())
		}
		for c := range clients {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(life*clients+c)))
				for snap.Load() == nil {
					p := tp.Partition(int32(rng.IntN(partitions)))
					o := linear.Op{Key: fmt.Sprint(p.Index()), Client: c, Append: rng.IntN(3) > 0}
					o.Expected = p.Next()
					o.Call = clock.Add(1)
					if !o.Append {
						o.Version = p.Next()
						o.Return = clock.Add(1)
						note(o)
						continue
					}
					commit := l.NewCommit()
					commit.AppendTo(p, log.Record{Value: fmt.Append(nil, c, life)})
					commit.Require(log.ExpectOffset(p, o.Expected))
					_, err := commit.Commit(context.Background())
					o.Return = clock.Add(1)
					var conflict *log.OffsetError
					switch {
					case err == nil:
					case errors.As(err, &conflict):
						o.Outcome, o.Version = linear.Conflict, conflict.Actual
					default:
						o.Outcome, o.Return = linear.Unknown, linear.Forever
					}
					note(o)
					if count.Add(1) >= 60 {
						cut()
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
