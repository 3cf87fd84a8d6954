package projection_test

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/projection"
)

// perStream is a handler whose events depend on the order within their stream alone.
func perStream(tx *projection.Tx, e *projection.Event) error {
	if string(e.Data) == "bad" {
		return fmt.Errorf("no number")
	}
	v, _, err := tx.Get(e.Stream)
	tx.Set(e.Stream, append(append(v[:len(v):len(v)], ' '), e.Data...))
	return err
}

// TestParallel makes the same model in parallel as one after the other, with events that are skipped, and finds
// handlers whose events depend on each other.
func TestParallel(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	for i := range 40 {
		var b aggregate.Batch
		for k := range 50 {
			data := strconv.Itoa(i)
			if i%11 == 3 && k == i {
				data = "bad"
			}
			b.Appends = append(b.Appends, aggregate.Append{Stream: fmt.Sprint("s-", k), Expected: aggregate.Any, Events: []aggregate.Event{{Type: "t", Data: []byte(data)}}})
		}
		_, err := s.Commit(ctx, b)
		require.NoError(t, err)
	}
	var want map[string]string
	for i, parallel := range []int{1, 2, 5, 16} {
		o := projection.Options{Parallel: parallel, BatchEvents: 300, Poison: projection.PoisonSkips}
		m, err := projection.Open(ctx, l, projection.Define(fmt.Sprint("parallel", i), 1, o, perStream))
		require.NoError(t, err)
		require.NoError(t, m.CatchUp(ctx))
		require.Equal(t, uint64(4), m.Progress().Skipped)
		require.Equal(t, uint64(2000), m.Progress().Events)
		if want == nil {
			want = content(t, m)
			require.Len(t, want, 50)
		}
		require.Equal(t, want, content(t, m))
	}
	m, err := projection.Open(ctx, l, projection.Define("dependent", 1, projection.Options{Parallel: 4, Poison: projection.PoisonSkips}, sums))
	require.NoError(t, err)
	var order *projection.OrderError
	require.ErrorAs(t, m.CatchUp(ctx), &order)
	require.Equal(t, "total", order.Key)
}

// TestParallelHandlerEndsItsGoroutine has a handler end the goroutine that it runs in, as a test does that fails: so does
// CatchUp, with and without lanes, nothing waits for ever, and no event of the transaction is taken for handled.
func TestParallelHandlerEndsItsGoroutine(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	for i := range 200 {
		add(t, s, fmt.Sprint("s-", i), i)
	}
	for _, parallel := range []int{1, 4} {
		ends := true
		d := projection.Define(fmt.Sprint("ends", parallel), 1, projection.Options{Parallel: parallel}, func(tx *projection.Tx, e *projection.Event) error {
			if ends && e.Stream == "s-77" {
				runtime.Goexit()
			}
			return perStream(tx, e)
		})
		m, err := projection.Open(ctx, l, d)
		require.NoError(t, err)
		over := make(chan bool)
		go func() {
			returned := false
			defer func() { over <- returned }()
			_ = m.CatchUp(ctx)
			returned = true
		}()
		require.False(t, <-over, parallel)
		ends = false
		require.NoError(t, m.CatchUp(ctx))
		require.Len(t, content(t, m), 200, parallel)
	}
}
