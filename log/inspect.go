package log

import "github.com/stratalog/strata/segment"

// PositionRun is the partition number under which an index holds positions in place of offsets: an
// entry for about every 64 KiB of frames, so that a position is found as fast as an offset.
const PositionRun = positionRun

// Names tells tools that walk segments themselves which partition a number stands for. It is given the
// frames of a segment in order, the catalog frame first. Its zero value is not usable; NewNames makes
// one.
type Names struct{ catalog *catalog }

// NewNames returns names that know of no partition.
func NewNames() *Names { return &Names{newCatalog(nil)} }

// Follow takes in what f, which was checked, says of topics. A catalog frame replaces all that was
// known. After an error the names are as they were before or in the middle of f.
func (n *Names) Follow(f *segment.Frame) error {
	switch f.Kind {
	case segment.Catalog:
		return n.catalog.decode(f.Tables())
	case segment.Commit:
		for e := range f.Entries() {
			if e.Partition != 0 {
				continue
			}
			if err := n.catalog.applyBatch(e.Batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// Partition returns the topic of the partition with this number, and the partition's index in it. It
// reports false for a partition that is not known, or deleted.
func (n *Names) Partition(number uint32) (topic string, partition int32, ok bool) {
	p := n.catalog.partitions[number]
	if p == nil {
		return "", 0, false
	}
	return p.topic.name, p.index, true
}
