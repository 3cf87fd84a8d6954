package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratalog/strata/index"
)

// PartitionOffset is a place in a partition.
type PartitionOffset struct {
	Partition *Partition
	Offset    int64
}

// WaitBytes returns when the batches that hold records from the given offsets on come to at least
// minBytes together, as far as they are visible, or when ctx's deadline is over, and tells how many
// bytes there are. It counts whole batches as they are stored, and not much beyond minBytes. The error
// of a ctx that was cancelled is returned with what there is; one whose deadline is over is none. It
// is woken by appends.
func (l *Log) WaitBytes(ctx context.Context, minBytes int64, from []PartitionOffset) (int64, error) {
	counts := make([]byteCount, len(from))
	for i, f := range from {
		if f.Partition.topic.l != l {
			return 0, &TopicError{Topic: f.Partition.topic.name}
		}
		if f.Offset < 0 {
			return 0, fmt.Errorf("%w: offset %d", ErrOptions, f.Offset)
		}
		counts[i] = byteCount{p: f.Partition, next: f.Offset}
	}
	total := int64(0)
	for {
		if err := l.readable(); err != nil {
			return total, err
		}
		moved := l.movedChannel() // before looking
		for i := range counts {
			if err := counts[i].p.check(); err != nil {
				return total, err
			}
			n, err := counts[i].more(l, minBytes-total)
			if err != nil {
				return total, err
			}
			if total += n; total >= minBytes {
				return total, nil
			}
		}
		err := l.waitMoved(ctx, moved)
		if errors.Is(err, context.DeadlineExceeded) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// byteCount counts the bytes of a partition's batches.
type byteCount struct {
	p    *Partition
	next int64 // behind what was counted
}

// more counts the visible batches from next on, up to enough bytes.
func (b *byteCount) more(l *Log, enough int64) (int64, error) {
	end := b.p.synced.Load()
	if b.next >= end || enough <= 0 {
		return 0, nil
	}
	ps := *l.parts.Load()
	i, err := l.locate(ps, b.p.number, b.next)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for ; i < len(ps) && total < enough; i++ {
		n, err := b.inSegment(l, ps, i, end, enough-total)
		if total += n; errors.Is(err, index.ErrCorrupt) {
			ps[i].forgetIndex()
			n, err = b.inSegment(l, ps, i, end, enough-total) // goes on behind what was counted
			total += n
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// inSegment counts the batches below end of the segment at i, up to enough bytes.
func (b *byteCount) inSegment(l *Log, ps parts, i int, end, enough int64) (total int64, err error) {
	idx, err := l.index(ps, i)
	if err != nil {
		return 0, err
	}
	for c := idx.Scan(b.p.number, b.next); total < enough; {
		e, ok, err := c.Next()
		if err != nil {
			return total, err
		}
		if !ok || e.Offset >= end {
			break
		}
		b.next = e.End()
		total += int64(e.Bytes)
	}
	return total, nil
}
