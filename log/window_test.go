package log

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWindow holds the window against all changes that there ever were: who has read as of a position
// that is not below the floor finds every change behind it, and only what is applied is forgotten.
func TestWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := window{}
	v := &view{}
	var all []windowSlot
	latest := map[windowKey]windowEntry{}
	applied := uint64(0)
	for i := range uint64(40_000) {
		k := windowKey{v, fmt.Sprint("key", rng.IntN(3000))}
		position := i + 1
		value := fmt.Append(nil, i)
		w.put(k, value, position, applied)
		all = append(all, windowSlot{key: k, position: position})
		latest[k] = windowEntry{value, position}
		if rng.IntN(50) == 0 {
			applied += rng.Uint64N(position - applied + 1)
		}
		require.LessOrEqual(t, w.floor, applied)
		if i%997 != 0 {
			continue
		}
		for _, change := range all[w.floor:] {
			require.Equal(t, latest[change.key], w.entries[change.key])
		}
	}
	require.Positive(t, w.floor)
	w.put(windowKey{v, "last"}, nil, 50_000, 49_999)
	require.LessOrEqual(t, w.bytes, windowBytes+1024)
	require.LessOrEqual(t, len(w.entries), windowBytes/cellBytes)
}
