package aggregate_test

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// TestNaive_S14_StoreIsTheBus follows the topic while events are appended: there is no second write by which
// an event could be published and not stored, or stored and not published. The follower sees each event
// once, in order of version, when it can be loaded; crashes are in TestFault_S25_CrashAtEveryOperation.
func TestNaive_S14_StoreIsTheBus(t *testing.T) {
	const streams, rounds = 5, 40
	s, _ := newStore(t)
	topic, err := s.Log().Topic(s.Topic())
	require.NoError(t, err)
	following, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		seen := map[string]uint64{}
		n := 0
		for r, err := range topic.Follow(following, log.Oldest) {
			if err != nil {
				t.Error(err)
				return
			}
			e, err := aggregate.Decode(&r)
			if err != nil || e.Version != seen[e.Stream]+1 {
				t.Errorf("version %d of %s behind %d: %v", e.Version, e.Stream, seen[e.Stream], err)
				return
			}
			seen[e.Stream] = e.Version
			if list := load(t, s, e.Stream, aggregate.LoadOptions{From: e.Version, To: e.Version}); len(list) != 1 {
				t.Errorf("version %d of %s is seen and not stored", e.Version, e.Stream)
				return
			}
			if n++; n == streams*rounds*2 {
				return
			}
		}
	})
	for i := range streams {
		wg.Go(func() {
			for range rounds {
				if _, err := s.Append(ctx, fmt.Sprint("s-", i), aggregate.Any, events("a", "b")...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestNaive_S17_HandlesAreNotCopied shows that what holds a lock is used by pointer: constructors return
// pointers, and the types have no methods by value. go vet, which the project runs, finds copies.
func TestNaive_S17_HandlesAreNotCopied(t *testing.T) {
	for _, f := range []any{aggregate.Open, aggregate.NewRepository[Account], aggregate.NewCommands, aggregate.NewTypes, aggregate.Define[Account, *Account]} {
		require.Equal(t, reflect.Pointer, reflect.TypeOf(f).Out(0).Kind(), "%T", f)
	}
	for _, v := range []any{&aggregate.Store{}, &aggregate.Repository[Account]{}, &aggregate.Commands{}, &aggregate.Types{}, &aggregate.Type[Account]{}} {
		require.NotZero(t, reflect.TypeOf(v).NumMethod(), "%T", v)
		require.Zero(t, reflect.TypeOf(v).Elem().NumMethod(), "%T by value", v)
	}
}
