package index

import "sync/atomic"

// keptLeaves is how many leaves that lookups read are kept in the whole process: 16 MiB.
const keptLeaves = 4096

// keptLeaf is a leaf that was checked. It never changes.
type keptLeaf struct {
	id    uint64
	block block
}

var (
	// leaves has the leaf of an id, if any, in slot id % keptLeaves.
	leaves [keptLeaves]atomic.Pointer[keptLeaf]
	// leafIDs is how many ids were given out. The leaves of a file have ids that follow each other, so that
	// files with no more leaves than there are slots have one for each.
	leafIDs atomic.Uint64
	// refused counts leaves that found their slot taken.
	refused atomic.Uint64
)

// numberLeaves gives the leaves of f new ids: those that are kept are not found any more.
func (f *File) numberLeaves() {
	n := uint64(f.head.leaves) + 1
	f.leafID.Store(leafIDs.Add(n) - n)
}

// recallLeaf returns a kept leaf, which must not be changed, or nil.
func (f *File) recallLeaf(number uint32) *block {
	id := f.leafID.Load() + uint64(number)
	if k := leaves[id%keptLeaves].Load(); k != nil && k.id == id {
		return &k.block
	}
	return nil
}

// keepLeaf keeps a copy of a leaf that was checked. One that would displace another does so every fourth
// time only: where there are more leaves in use than slots, keeping them all would cost a copy a lookup and
// find few of them again.
func (f *File) keepLeaf(b *block, number uint32) {
	id := f.leafID.Load() + uint64(number)
	slot := &leaves[id%keptLeaves]
	if slot.Load() != nil && refused.Add(1)%4 != 0 {
		return
	}
	slot.Store(&keptLeaf{id, *b})
}
