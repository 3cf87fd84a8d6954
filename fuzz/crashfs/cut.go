package crashfs

import (
	"fmt"
	"iter"
)

// Policy says which unsynced operations a power cut leaves. What was synced is always
// left.
type Policy uint8

const (
	// None leaves nothing unsynced.
	None Policy = iota
	// All leaves everything, as if all had been synced.
	All
	// Prefix leaves the first Cut.Ops operations, in the order of Snapshot.Unsynced.
	Prefix
	// Torn is Prefix, where of the last write only the first Cut.Bytes bytes arrived.
	Torn
	// Mask is Prefix, where of the last write block i arrived if bit i of Cut.Mask is
	// set. Blocks are those of the file, and the first that the write touches is
	// block 0. Bit 63 stands for all further ones.
	Mask
	// Subset draws for each block of each file how many of its writes arrived, and
	// for each name how many operations.
	Subset
	// SubsetWrites draws for blocks as Subset does, and leaves all operations on names.
	SubsetWrites
	// SubsetEntries draws for names as Subset does, and leaves all writes.
	SubsetEntries
)

var policyNames = [...]string{"none", "all", "prefix", "torn", "mask", "subset", "subset-writes", "subset-entries"}

// String returns the policy's name in lower case.
func (p Policy) String() string {
	if int(p) >= len(policyNames) {
		return fmt.Sprintf("policy(%d)", uint8(p))
	}
	return policyNames[p]
}

// Fill is what an image has in the place of bytes that did not arrive.
type Fill uint8

const (
	// Old leaves what was there: the file is as if the bytes had never been
	// written, and it has grown only as far as later bytes that arrived need.
	Old Fill = iota
	// Zeros is a file that has grown, without its bytes.
	Zeros
	// Garbage is a file that has grown, by blocks in which there is anything.
	Garbage
	// Stale is a file that has grown, by blocks that held Cut.Stale before.
	Stale
	// Mixed draws one of Old, Zeros and Garbage for each file.
	Mixed
)

var fillNames = [...]string{"old", "zeros", "garbage", "stale", "mixed"}

// String returns the fill's name in lower case.
func (f Fill) String() string {
	if int(f) >= len(fillNames) {
		return fmt.Sprintf("fill(%d)", uint8(f))
	}
	return fillNames[f]
}

// Cut chooses one of the images that a power cut may leave. The zero value leaves
// exactly what was synced.
type Cut struct {
	// Policy says which unsynced operations are left.
	Policy Policy
	// Seed decides all that is drawn.
	Seed uint64
	// Ops is the number of operations that Prefix, Torn and Mask leave. More than
	// there are means all.
	Ops int
	// Bytes is where Torn cuts the last write, counted from its beginning.
	Bytes int64
	// Mask says which blocks of the last write Mask leaves.
	Mask uint64
	// Block is the size of the blocks of Mask and Subset in bytes, 512 or 4096 on
	// real disks. Zero means 4096.
	Block int64
	// Keep is the probability that a block or a name lost nothing. Zero means one
	// half.
	Keep float64
	// Missing says what is in the place of every unsynced write that did not arrive,
	// under any policy. It goes for bytes behind the durable end of the file only. A
	// sector is written whole or not at all: one of which Torn leaves a part has old
	// bytes or zeros behind that.
	Missing Fill
	// Stale is, for the fill Stale, an older file that had the same blocks; zeros
	// follow it.
	Stale []byte
	// Overwrites lets Missing harm durable bytes too, where a write that did not
	// arrive would have changed them. It is a worse disk than one with atomic sectors.
	Overwrites bool
	// EarlyUnlinks draws for each removal of a name that the policy leaves undone
	// whether it arrived all the same, by Keep. It needs the name to be bound to the
	// file that was removed.
	EarlyUnlinks bool
}

// String is the cut as it can be written in a test, for messages of failures.
func (c Cut) String() string {
	s := fmt.Sprintf("%s seed=%d", c.Policy, c.Seed)
	switch c.Policy {
	case Prefix:
		s += fmt.Sprintf(" ops=%d", c.Ops)
	case Torn:
		s += fmt.Sprintf(" ops=%d bytes=%d", c.Ops, c.Bytes)
	case Mask:
		s += fmt.Sprintf(" ops=%d mask=%#x block=%d", c.Ops, c.Mask, c.block())
	case Subset, SubsetWrites, SubsetEntries:
		s += fmt.Sprintf(" block=%d keep=%v", c.block(), c.keep())
	}
	s += " missing=" + c.Missing.String()
	if c.Overwrites {
		s += " overwrites"
	}
	if c.EarlyUnlinks {
		s += " early-unlinks"
	}
	return s
}

func (c Cut) block() int64 {
	if c.Block <= 0 {
		return pageBytes
	}
	return c.Block
}

func (c Cut) keep() float64 {
	if c.Keep == 0 {
		return 0.5
	}
	return c.Keep
}

// Prefixes yields a Prefix for each number of operations, from 0 to all.
func (s *Snapshot) Prefixes() iter.Seq[Cut] {
	return func(yield func(Cut) bool) {
		for k := range len(s.plan().ops) + 1 {
			if !yield(Cut{Policy: Prefix, Ops: k}) {
				return
			}
		}
	}
}

// Tears yields a Torn for each cut of the last unsynced write at a multiple of step bytes
// of its file, from nothing of it to all of it. Step 1 is every byte, 512 every
// sector. It yields nothing when there is no unsynced write.
func (s *Snapshot) Tears(step int64) iter.Seq[Cut] {
	return func(yield func(Cut) bool) {
		k, w := s.lastWrite()
		if k < 0 {
			return
		}
		for at := w.off; ; at = min((at/step+1)*step, w.end()) {
			if !yield(Cut{Policy: Torn, Ops: k + 1, Bytes: at - w.off}) || at == w.end() {
				return
			}
		}
	}
}

// Masks yields a Mask for each subset of the blocks of the last unsynced write, nothing
// when there is none or when it has more than limit blocks. Limit is at most 20.
func (s *Snapshot) Masks(block int64, limit int) iter.Seq[Cut] {
	return func(yield func(Cut) bool) {
		k, w := s.lastWrite()
		if k < 0 {
			return
		}
		blocks := (w.end()-1)/block - w.off/block + 1
		if blocks > int64(min(limit, 20)) {
			return
		}
		for mask := range uint64(1) << blocks {
			if !yield(Cut{Policy: Mask, Ops: k + 1, Mask: mask, Block: block}) {
				return
			}
		}
	}
}

// lastWrite returns the last unsynced write and its place among the operations, or -1.
func (s *Snapshot) lastWrite() (int, write) {
	ops := s.plan().ops
	for k := len(ops) - 1; k >= 0; k-- {
		if u := ops[k]; u.write >= 0 {
			return k, s.inodes[u.node].writes[u.write]
		}
	}
	return -1, write{}
}
