package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

// TestSaga looks at sagas beside the running program, repairs one that is parked, and lets the program
// finish it.
func TestSaga(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	var repaired atomic.Bool
	type nothing struct{}
	runs := func(do func(*saga.Runner)) {
		l, err := log.Open(dir, log.Options{})
		require.NoError(t, err)
		r, err := saga.NewRunner(l, saga.Define[nothing]("checkout").
			Step("reserve", func(context.Context, *nothing, *saga.Task) error { return nil }, func(context.Context, *nothing, *saga.Task) error {
				if repaired.Load() {
					return nil
				}
				return saga.Final(errors.New("warehouse is closed"))
			}).
			Step("pay", func(_ context.Context, _ *nothing, t *saga.Task) error {
				if t.ID == "good" {
					return nil
				}
				return saga.Final(errors.New("declined"))
			}, nil))
		require.NoError(t, err)
		runCtx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- r.Run(runCtx) }()
		do(r)
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, l.Close())
	}
	settle := func(r *saga.Runner, id string, want saga.Status) {
		waitCtx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		in, err := r.Wait(waitCtx, "checkout", id)
		require.NoError(t, err)
		require.Equal(t, want, in.Status)
	}
	runs(func(r *saga.Runner) {
		for _, id := range []string{"good", "bad", "given-up"} {
			require.NoError(t, r.Start(ctx, id, nothing{}))
		}
		settle(r, "good", saga.Completed)
		settle(r, "bad", saga.Parked)
		settle(r, "given-up", saga.Parked)
		// Another process sees what is proven to be synced, which lags a little.
		require.Eventually(t, func() bool {
			return len(objects(t, do(t, "", "saga", "list", dir, "--status", "parked", "--saga", "checkout", "--json"))) == 2
		}, 20*time.Second, 10*time.Millisecond)
		list := objects(t, do(t, "", "saga", "list", dir, "--json"))
		require.Len(t, list, 3)
		text := do(t, "", "saga", "list", dir)
		require.Regexp(t, `(?m)^checkout +bad +parked +reserve .*warehouse is closed$`, text)
		shown := do(t, "", "saga", "show", dir, "bad")
		require.Regexp(t, `(?m)^status +parked$`, shown)
		require.Regexp(t, `(?m)^9 .* parked +reserve `, shown)
		one := objects(t, do(t, "", "saga", "show", dir, "bad", "--json"))[0]
		require.Len(t, one["history"], 9)
		require.Equal(t, "parked", one["status"])
		require.Equal(t, exitNotDone, try(t, "", "saga", "retry", dir, "bad").status, "the directory is in use")
	})
	require.Contains(t, try(t, "", "saga", "show", dir, "nobody").errors, `no instance "nobody"`)
	require.Equal(t, exitNotDone, try(t, "", "saga", "retry", dir, "good").status)
	require.Equal(t, exitNotDone, try(t, "", "saga", "list", dir, "--status", "odd").status)
	require.Equal(t, "compensating", objects(t, do(t, "", "saga", "retry", dir, "bad", "--json"))[0]["status"])
	require.Empty(t, do(t, "", "saga", "abort", dir, "given-up"))
	repaired.Store(true)
	runs(func(r *saga.Runner) { settle(r, "bad", saga.Compensated) })
	require.Len(t, objects(t, do(t, "", "saga", "list", dir, "--saga", "checkout", "--status", "aborted", "--json")), 1)
}
