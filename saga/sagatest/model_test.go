package sagatest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/saga"
	"github.com/stratalog/strata/saga/sagatest"
	"github.com/stratalog/strata/timer"
)

// outcome is what an attempt comes to, by chance that is fixed by the seed and the attempt.
func outcome(seed uint64, t *saga.Task) error {
	rng := rand.New(rand.NewPCG(seed, uint64(len(t.Key))<<20|uint64(t.Key[len(t.Key)-1])<<8|uint64(t.Attempt)))
	switch rng.IntN(10) {
	case 0:
		return saga.Final(errors.New("refused"))
	case 1, 2, 3:
		return errors.New("busy")
	case 4:
		t.Unsure()
		return errors.New("no answer")
	}
	return nil
}

// drawn returns a definition by chance.
func drawn(seed uint64) saga.Def {
	rng := rand.New(rand.NewPCG(seed, 1))
	act := func(_ context.Context, _ *trip, t *saga.Task) error { return outcome(seed, t) }
	retry := timer.Retry{Attempts: 3, First: time.Minute, Even: true}
	d := saga.Define[trip]("drawn")
	n := 2 + rng.IntN(4)
	pivot := rng.IntN(n + 1)
	for i := range n {
		o := []saga.StepOption{saga.RetryPolicy(retry), saga.UndoPolicy(retry)}
		undo := saga.Action[trip](act)
		switch {
		case i == pivot:
			o, undo = append(o, saga.Pivot()), nil
		case i > pivot:
			undo = nil
		case rng.IntN(3) == 0 && i+1 < pivot:
			o = append(o, saga.Parallel(fmt.Sprint("group", i/2)))
		}
		if i%2 == 0 && rng.IntN(5) == 0 { // not within a group
			d.Await(fmt.Sprint("await", i), "go", nil, nil, saga.Deadline(time.Hour))
		}
		d.Step(fmt.Sprint("step", i), act, undo, o...)
	}
	return d
}

// TestHistoryFollowsGraph runs definitions by chance, whose steps fail, time out and are aborted by chance:
// every history is one that its definition comes to, what was done is undone in reverse, and no instance is
// left between.
func TestHistoryFollowsGraph(t *testing.T) {
	seeds, statuses := 200, map[saga.Status]int{}
	if testing.Short() {
		seeds = 40
	}
	ctx := context.Background()
	for seed := range uint64(seeds) {
		d := drawn(seed)
		require.NoError(t, d.Validate(), "seed %d", seed)
		c := sagatest.NewClock()
		l := sagatest.Open(t, c)
		r, err := saga.NewRunner(l, d)
		require.NoError(t, err)
		require.NoError(t, r.Start(ctx, "1", trip{}))
		if seed%3 == 0 {
			require.NoError(t, r.Signal(ctx, "drawn", "1", "go", nil, ""))
		}
		if seed%7 == 0 {
			require.NoError(t, r.Abort(ctx, "drawn", "1"))
		}
		sagatest.Settle(t, r, c)
		in, err := r.Get(ctx, "drawn", "1")
		require.NoError(t, err)
		if in.Status == saga.Parked {
			statuses[saga.Parked]++
			require.NoError(t, [](func(context.Context, string, string) error){r.Retry, r.Resume}[seed%2](ctx, "drawn", "1"))
			sagatest.Settle(t, r, c)
			in, err = r.Get(ctx, "drawn", "1")
			require.NoError(t, err)
		}
		var history []saga.Event
		for e, err := range r.History(ctx, "drawn", "1") {
			require.NoError(t, err)
			history = append(history, e)
		}
		require.NoError(t, saga.Replay(d, history), "seed %d", seed)
		checkOrder(t, seed, &in)
		statuses[in.Status]++
		require.NoError(t, l.Close())
	}
	for _, s := range []saga.Status{saga.Completed, saga.Compensated, saga.Parked} {
		require.NotZero(t, statuses[s], "no instance was ever %s", s)
	}
	t.Log(statuses)
}

// checkOrder checks that an instance is all done or all undone, in reverse.
func checkOrder(t *testing.T, seed uint64, in *saga.Instance) {
	var done []saga.StepState
	for _, s := range in.Steps {
		if s.Order > 0 {
			done = append(done, s)
		}
	}
	slices.SortFunc(done, func(a, b saga.StepState) int { return a.Order - b.Order })
	switch in.Status {
	case saga.Completed:
		require.Len(t, done, len(in.Steps), "seed %d", seed)
		for _, s := range done {
			require.Equal(t, saga.Done, s.Phase, "seed %d", seed)
		}
	case saga.Compensated:
		var last time.Time
		for i := len(done) - 1; i >= 0; i-- {
			if done[i].UndoAttempts == 0 {
				continue // an Await
			}
			require.Equal(t, saga.Undone, done[i].Phase, "seed %d", seed)
			require.False(t, done[i].Ended.Before(last), "seed %d: %s was undone too early", seed, done[i].Name)
			last = done[i].Ended
		}
	default:
		require.Equal(t, saga.Parked, in.Status, "seed %d", seed)
	}
}
