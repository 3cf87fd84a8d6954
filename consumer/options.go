package consumer

import (
	"errors"
	"fmt"
	"time"

	"github.com/stratalog/strata/log"
)

// Committing says how the offsets of a member are committed.
type Committing uint8

const (
	// CommitMarked commits what was marked by Member.Mark, every CommitEvery, when a partition is given up,
	// and by Close.
	CommitMarked Committing = iota
	// CommitReturned is CommitMarked, and a record is marked when the loop asks for the one after it. One
	// whose loop body was left by break or panic is not.
	CommitReturned
	// CommitExplicit leaves it to Member.Commit and Member.Done.
	CommitExplicit
)

// Options configures Join. The zero value but for Topics is ready for production.
type Options struct {
	// Topics are those that the group reads, by name. One that does not exist is read when it is created.
	Topics []string
	// Member is the id of the member, which must be the only one of its name in the group. Zero is a number
	// that no member of the log has had.
	Member string
	// Assignor says how partitions are shared out. That of the member who joined last counts.
	Assignor Assignor
	// Start is where a partition begins of which the group has committed nothing. Zero is log.Oldest.
	Start log.Start
	// Committing says how offsets are committed. Zero is CommitMarked.
	Committing Committing
	// CommitEvery is the time between two commits of what was marked: a crash repeats about that much
	// work. Zero is a second.
	CommitEvery time.Duration
	// DrainTimeout is how long a rebalance waits for the loop body, or the handlers, that are at work on a
	// partition that moves. Behind that the partition moves all the same, and the commit of who held it
	// is refused. Zero is 30 s.
	DrainTimeout time.Duration
	// PollTimeout is how long a loop body, or a handler of Run, may take before the member is taken for dead,
	// and its partitions are given to others. It is looked at every CommitEvery. Zero is five minutes.
	PollTimeout time.Duration
	// MaxUnfinished bounds how many records of a partition are delivered and not finished. Zero is 10,000.
	MaxUnfinished int
	// OnAssigned is told of partitions that the member got, before any of their records, OnRevoked of those
	// that it is about to give up, while their offsets can still be committed. When the change of the group is
	// refused after that, by a full disk, they are assigned to it again. Both must not call the group; a
	// goroutine that they start may.
	OnAssigned, OnRevoked func([]TopicPartition)
}

func (o Options) withDefaults() (Options, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, args...)))
	}
	if len(o.Topics) == 0 {
		bad("no topics")
	}
	if o.Assignor > RoundRobin {
		bad("Assignor %d", o.Assignor)
	}
	if o.Committing > CommitExplicit {
		bad("Committing %d", o.Committing)
	}
	if o.CommitEvery < 0 || o.DrainTimeout < 0 || o.PollTimeout < 0 || o.MaxUnfinished < 0 {
		bad("a negative bound")
	}
	set := func(d *time.Duration, zero time.Duration) {
		if *d == 0 {
			*d = zero
		}
	}
	set(&o.CommitEvery, time.Second)
	set(&o.DrainTimeout, 30*time.Second)
	set(&o.PollTimeout, 5*time.Minute)
	if o.MaxUnfinished == 0 {
		o.MaxUnfinished = 10_000
	}
	return o, errors.Join(errs...)
}
