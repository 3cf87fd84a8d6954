package saga_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/saga"
)

// TestReplay finds the changes of a definition that stored histories do not follow.
func TestReplay(t *testing.T) {
	l := inMemory(t)
	ok := newLedger().does("x")
	base := func() *saga.Definition[order] {
		return saga.Define[order]("order").Step("a", ok, ok, saga.Parallel("g")).Step("b", ok, ok, saga.Parallel("g")).
			Await("answer", "answer", nil, nil)
	}
	end := func(_ context.Context, o *order, _ *saga.Task) error {
		if o.Item == "bad" {
			return saga.Final(errBroken)
		}
		return nil
	}
	original := func() saga.Def { return base().Step("end", end, nil) }
	r := newRunner(t, l, original())
	running(t, r)
	histories := map[string][]saga.Event{}
	for _, id := range []string{"good", "bad"} {
		require.NoError(t, r.Start(ctx, id, order{Item: id}))
		require.NoError(t, r.Signal(ctx, "order", id, "answer", nil, ""))
		settled(t, r.Store, "order", id)
		for e, err := range r.History(ctx, "order", id) {
			require.NoError(t, err)
			histories[id] = append(histories[id], e)
		}
	}
	for _, h := range histories {
		require.NoError(t, saga.Replay(original(), h))
	}
	renamed := saga.Define[order]("order").Step("a", ok, ok).Step("c", ok, ok).Step("end", end, nil)
	var typed *saga.ReplayError
	require.ErrorAs(t, saga.Replay(renamed, histories["good"]), &typed)
	require.Equal(t, "b", typed.Event.Step)
	longer := base().Step("end", end, ok).Step("more", ok, nil)
	require.ErrorAs(t, saga.Replay(longer, histories["good"]), &typed)
	require.Equal(t, saga.EventCompleted, typed.Event.Type)
	require.Equal(t, []string{"intended more"}, typed.Would)
	require.NoError(t, saga.Replay(longer, histories["bad"]), "it never came that far")
	require.ErrorIs(t, saga.Replay(longer, histories["good"]), saga.ErrReplay)
}
