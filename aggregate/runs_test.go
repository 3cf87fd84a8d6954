package aggregate_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
)

// TestLoadRuns loads streams whose events came in commits of many sizes, so that some are read one by one and some
// by a loop, within a page of the index and across pages: every range of versions, forward and backward, and
// ended at each place, is what was appended.
func TestLoadRuns(t *testing.T) {
	s, _ := newStore(t)
	var all []string
	for _, n := range []int{1, 2, 1, 1, 16, 1, 17, 1, 30, 5, 1, 16, 16, 1, 3} {
		var list []aggregate.Event
		for range n {
			data := fmt.Sprint("e", len(all)+1)
			all, list = append(all, fmt.Sprintf("%d %s", len(all)+1, data)), append(list, event(data))
		}
		_, err := s.Append(ctx, "a", aggregate.Any, list...)
		require.NoError(t, err)
		if n != 16 { // some commits follow each other, others do not
			_, err = s.Append(ctx, "b", aggregate.Any, event("between"))
			require.NoError(t, err)
		}
	}
	require.Greater(t, len(all), 100)
	for from := 1; from <= len(all); from += 3 {
		for to := from; to <= len(all); to += 7 {
			o := aggregate.LoadOptions{From: uint64(from), To: uint64(to)}
			require.Equal(t, all[from-1:to], load(t, s, "a", o))
			o.Backward = true
			back := slices.Clone(all[from-1 : to])
			slices.Reverse(back)
			require.Equal(t, back, load(t, s, "a", o))
		}
	}
	for n := 1; n <= len(all); n++ {
		for _, backward := range []bool{false, true} {
			got := 0
			for _, err := range s.Load(ctx, "a", aggregate.LoadOptions{Backward: backward}) {
				require.NoError(t, err)
				if got++; got == n {
					break
				}
			}
			require.Equal(t, n, got)
		}
	}
	require.Len(t, load(t, s, "b"), 12)
}
