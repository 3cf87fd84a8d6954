package consumer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/stratalog/strata/log"
)

// Records yields the records of the partitions that the member owns, as they come and go, until ctx ends,
// which is the last error, or the member is closed, which is ErrClosed. Records of a partition come in
// order.
//
// Key, Value and Headers are valid only inside the loop body. A *CorruptError or *LostError of the log is
// passed on, and the loop may go on behind it; any other error ends it.
func (m *Member) Records(ctx context.Context) iter.Seq2[log.Record, error] {
	return m.records(ctx, func(*claim) int64 { return math.MaxInt64 }, true)
}

// Available is Records up to the end that each partition had when it was called, or when the member got the
// partition. It waits for nothing: what cannot be delivered because too many records are unfinished, or
// the partition is paused, is left.
func (m *Member) Available(ctx context.Context) iter.Seq2[log.Record, error] {
	ends := map[*claim]int64{}
	end := func(c *claim) int64 {
		at, known := ends[c]
		if !known {
			at = c.p.Next()
			ends[c] = at
		}
		return at
	}
	for _, c := range m.current() {
		end(c)
	}
	return m.records(ctx, end, false)
}

// everything is what Records and Available read.
var everything = TopicPartition{}

// enter begins a loop over tp, or over everything. False says that there is one already.
func (m *Member) enter(tp TopicPartition) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loops[everything] || m.loops[tp] || tp == everything && len(m.loops) > 0 {
		return false
	}
	m.loops[tp] = true
	return true
}

func (m *Member) exit(tp TopicPartition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.loops, tp)
}

// errLoops is the error of a loop that enter has refused.
var errLoops = fmt.Errorf("%w: two loops over the same records of a member", ErrOptions)

// PartitionRecords is Records for one partition. Loops over different partitions may run at the same time,
// but not beside one over all. The loop ends, without an error, when the partition is not the member's, or
// is given up; OnAssigned tells of those to begin one for, and may start its goroutine.
func (m *Member) PartitionRecords(ctx context.Context, tp TopicPartition) iter.Seq2[log.Record, error] {
	return func(yield func(log.Record, error) bool) {
		if !m.enter(tp) {
			yield(log.Record{}, errLoops)
			return
		}
		defer m.exit(tp)
		for {
			c := m.claim(tp)
			if c == nil || c.isOver() {
				return
			}
			if err := m.usable(ctx); err != nil {
				if !errors.Is(err, ErrClosed) {
					yield(log.Record{}, err)
				}
				return
			}
			some, goOn := m.deliver(ctx, c, math.MaxInt64, false, yield)
			if !goOn {
				return
			}
			if some {
				continue
			}
			if err := m.wait(ctx, []*claim{c}, func() bool { return m.claims[tp] != c }); err != nil {
				yield(log.Record{}, err)
				return
			}
		}
	}
}

// records yields the records in front of the end of each partition.
func (m *Member) records(ctx context.Context, end func(*claim) int64, wait bool) iter.Seq2[log.Record, error] {
	return func(yield func(log.Record, error) bool) {
		if !m.enter(everything) {
			yield(log.Record{}, errLoops)
			return
		}
		defer m.exit(everything)
		for first := 0; ; first++ {
			if err := m.usable(ctx); err != nil {
				yield(log.Record{}, err)
				return
			}
			list := m.current()
			delivered := false
			for i := range list {
				c := list[(first+i)%len(list)]
				m.last.Store(c)
				some, goOn := m.deliver(ctx, c, end(c), len(list) > 1, yield)
				if !goOn {
					return
				}
				delivered = delivered || some
			}
			switch {
			case delivered:
			case !wait:
				return
			default:
				if err := m.wait(ctx, list, func() bool { return !slices.Equal(m.list, list) }); err != nil {
					yield(log.Record{}, err)
					return
				}
			}
		}
	}
}

func (m *Member) usable(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	return ctx.Err()
}

// turnRecords is how many records of a partition come before those of the next one.
const turnRecords = 4096

// deliver hands the records of c out that there are in front of end, or some of them when others want
// their turn.
func (m *Member) deliver(ctx context.Context, c *claim, end int64, others bool, yield func(log.Record, error) bool) (some, goOn bool) {
	end = min(end, c.p.Next())
	from, ok := c.wanted(m.o.MaxUnfinished)
	if !ok || from >= end {
		return false, true
	}
	n, gaps, more := 0, false, true
	returned := m.o.Committing == CommitReturned
	defer func() { c.back(more && returned) }()
	for r, err := range c.p.Read(log.AtOffset(from)) {
		if err != nil {
			c.back(returned)
			if errors.Is(err, log.ErrNoTopic) {
				c.lose() // deleted; the next rebalance takes it away
				return some, true
			}
			if !yield(log.Record{}, err) {
				return some, false
			}
			if errors.Is(err, log.ErrLost) || errors.Is(err, log.ErrCorrupt) {
				gaps, some = true, true
				continue
			}
			return some, false
		}
		if r.Offset >= end {
			break
		}
		if !c.deliver(r.Offset, m.o.MaxUnfinished, returned) {
			return some, true
		}
		some, more = true, false // it stays so when the body panics
		if more = yield(r, nil); !more {
			return some, false
		}
		n++
		if ctx.Err() != nil || others && n >= turnRecords {
			return some, true
		}
	}
	if gaps {
		c.skip(end) // the last of them may have been behind the last record
	}
	return some, true
}

// wait waits for records of list or for a change of it, which changed, called with mu held, may tell of
// already.
func (m *Member) wait(ctx context.Context, list []*claim, changed func() bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	if m.closed || changed() {
		m.mu.Unlock()
		return nil
	}
	m.waits[&cancel] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.waits, &cancel)
		m.mu.Unlock()
	}()
	var at []log.PartitionOffset
	for _, c := range list {
		if from, ok := c.wanted(m.o.MaxUnfinished); ok {
			at = append(at, log.PartitionOffset{Partition: c.p, Offset: from})
		}
	}
	if len(at) == 0 {
		<-ctx.Done()
		return nil
	}
	if _, err := m.g.l.WaitBytes(ctx, 1, at); err != nil && ctx.Err() == nil && !errors.Is(err, log.ErrNoTopic) {
		return err
	}
	return nil
}
