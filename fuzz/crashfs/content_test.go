package crashfs

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestContentAgainstBytes writes at random into contents that share their pages, and
// compares each with a plain slice.
func TestContentAgainstBytes(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		type pair struct {
			c    content
			want []byte
		}
		pairs := []pair{{}}
		for range 100 {
			p := &pairs[rng.IntN(len(pairs))]
			off := rng.IntN(3 * pageBytes)
			data := make([]byte, rng.IntN(2*pageBytes))
			if rng.IntN(4) > 0 {
				for i := range data {
					data[i] = byte(rng.Uint32())
				}
			}
			if grow := off + len(data) - len(p.want); grow > 0 && len(data) > 0 {
				p.want = append(p.want, make([]byte, grow)...)
			}
			if len(data) > 0 {
				copy(p.want[off:], data)
			}
			p.c.writeAt(data, int64(off), nextEpoch())
			if len(pairs) < 8 {
				pairs = append(pairs, pair{p.c, bytes.Clone(p.want)})
			}
			for k := range pairs {
				require.Equal(t, int64(len(pairs[k].want)), pairs[k].c.size, "seed %d", seed)
				require.True(t, bytes.Equal(pairs[k].want, pairs[k].c.bytes()), "seed %d, copy %d", seed, k)
			}
		}
	}
}

func TestContentZerosCostNothing(t *testing.T) {
	var c content
	c.writeAt(make([]byte, 1<<20), 0, nextEpoch())
	assert.EqualValues(t, 1<<20, c.size)
	assert.Empty(t, c.pages)
}

// TestExtentsAgainstBitmap compares with one bool a byte.
func TestExtentsAgainstBitmap(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var x extents
		taken := make([]bool, 64)
		for range 20 {
			from := rng.Int64N(60)
			to := from + rng.Int64N(64-from)
			free := rng.Int64N(20)

			fit, left := from, free
			for fit < to && (taken[fit] || left > 0) {
				if !taken[fit] {
					left--
				}
				fit++
			}
			require.Equal(t, fit, x.fit(from, to, free), "seed %d: [%d, %d) with %d free in %v", seed, from, to, free, x)

			old := append(extents(nil), x...)
			next := x.add(from, to)
			require.Equal(t, old, append(extents(nil), x...), "add changes nothing")
			x = next
			for i := from; i < to; i++ {
				taken[i] = true
			}
			total := int64(0)
			for _, b := range taken {
				if b {
					total++
				}
			}
			require.Equal(t, total, x.total())
			if from < to {
				require.True(t, x.covers(from, to))
			}
			for k := 1; k < len(x); k++ {
				require.Less(t, x[k-1].to, x[k].from, "in order, and apart")
			}
		}
	}
}

func TestExtentsCovers(t *testing.T) {
	x := extents(nil).add(0, 4).add(6, 8)
	assert.True(t, x.covers(1, 4))
	assert.False(t, x.covers(3, 7))
	assert.False(t, x.covers(4, 5))
}
