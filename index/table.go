package index

import (
	"math/bits"
	"sync/atomic"
)

// table maps partitions to runs: open addressing with linear probing, at most two thirds full. One writer
// puts, readers look up without a lock; a slot goes from nil to its run once and stays.
type table struct {
	slots []atomic.Pointer[run] // a power of two of them
	shift uint8                 // 32 minus the logarithm of their number
	used  int                   // the writer's own
}

func newTable(slots int) *table {
	return &table{slots: make([]atomic.Pointer[run], slots), shift: uint8(32 - bits.TrailingZeros(uint(slots)))}
}

// get returns the run of a partition, nil when it has none. It ends because a slot is free.
func (t *table) get(partition uint32) *run {
	mask := uint32(len(t.slots) - 1)
	for i := t.slot(partition); ; i = (i + 1) & mask {
		if r := t.slots[i].Load(); r == nil || r.partition == partition {
			return r
		}
	}
}

// slot is Fibonacci hashing: it spreads partitions numbered in sequence as evenly as any.
func (t *table) slot(partition uint32) uint32 { return partition * 0x9E3779B1 >> t.shift }

// put publishes a run whose partition has none yet. The caller has seen to it that t is not full.
func (t *table) put(r *run) {
	mask := uint32(len(t.slots) - 1)
	i := t.slot(r.partition)
	for t.slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	t.slots[i].Store(r)
	t.used++
}

func (t *table) full() bool { return 3*(t.used+1) > 2*len(t.slots) }

// grown is a copy of twice the size.
func (t *table) grown() *table {
	g := newTable(2 * len(t.slots))
	for i := range t.slots {
		if r := t.slots[i].Load(); r != nil {
			g.put(r)
		}
	}
	return g
}
