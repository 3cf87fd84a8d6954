package queue

import (
	"context"
	"errors"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

const (
	// deadRoom is how much longer a message becomes, at most, by the headers of its death without its history.
	// A message that is sent leaves as much of the bound of records.
	deadRoom = 2 << 10
	// attemptRoom is the same for each attempt of the history.
	attemptRoom = maxCauseBytes + 64
	// endRoom is how long the rest of a commit is that ends messages.
	endRoom = 2 << 10
	// togetherBytes bounds how much goes to the dead letters in one commit, but for the last message of it.
	togetherBytes = 1 << 20
)

// letterBytes returns how long a dead letter may be: so long that it fits a commit behind others.
func letterBytes(o log.Options) int { return min(o.MaxRecordBytes, (o.MaxCommitBytes-endRoom)/4*3) }

// together returns when no other message goes to the dead letters in a commit.
func (dir *directory) together() int { return min(togetherBytes, dir.letterBytes/4) }

// letterRoom returns how long the dead letter of r is at most.
func letterRoom(r *log.Record, attempts int) int {
	return record.EncodedRecordBytes(r) + deadRoom + min(attempts, maxHistory)*attemptRoom
}

// dying is a leased message that goes to the dead letters.
type dying struct {
	lease   uint64
	record  log.Record
	attempt int
	end     outcome // dead
}

// buryAll moves messages to the dead letters, in as few commits as may be. Those whose leases are gone meanwhile
// are passed over.
func (d *dispatcher) buryAll(ctx context.Context, list []dying, synced bool) error {
	for len(list) > 0 {
		n, bytes := 0, 0
		for n < len(list) && (n == 0 || bytes < d.dir.together()) {
			bytes += letterRoom(&list[n].record, list[n].attempt)
			n++
		}
		err := d.buryTogether(ctx, list[:n], synced)
		if errors.Is(err, ErrLease) && n > 1 {
			n = 1 // which of them it is comes out singly
			err = d.buryTogether(ctx, list[:1], synced)
		}
		if err != nil && !errors.Is(err, ErrLease) {
			return err
		}
		list = list[n:]
	}
	return nil
}

// buryTogether moves leased messages to the dead letters, all in one commit, or drops them.
func (d *dispatcher) buryTogether(ctx context.Context, list []dying, synced bool) error {
	c := d.newCommit(synced)
	byLease := map[uint64][]outcome{}
	for i := range list {
		m := &list[i]
		byLease[m.lease] = append(byLease[m.lease], m.end)
		if d.o.Discard {
			continue
		}
		history, err := d.history(ctx, m.record.Offset)
		if err != nil {
			return err
		}
		history = append(history, Attempt{d.dir.l.Now(), m.end.cause})
		if err := d.bury(c, &m.record, m.attempt, m.end.cause, history); err != nil {
			return err
		}
	}
	for lease, outcomes := range byLease {
		c.Require(d.settlement(lease, true, outcomes...))
	}
	_, err := c.Commit(ctx)
	d.unsettled.Store(true)
	if errors.Is(err, log.ErrNoTopic) && !d.o.Discard {
		return errNoDead
	}
	return err
}

// history returns the attempts of a message that have failed.
func (d *dispatcher) history(ctx context.Context, offset int64) ([]Attempt, error) {
	b, _, err := d.dir.view.Get(ctx, keyOf(prefixHistory, d.id, uint64(offset)))
	return decodeHistory(b), err
}
