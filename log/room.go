package log

import (
	"context"
	"errors"
	"syscall"
)

// Every byte of a commit is claimed on disk before the commit is sequenced, so that a full disk
// refuses commits and does not fail the log. Those who find no room wait in order of arrival; the first
// of them makes room: it writes what is pending, claims more of the file, or begins a new segment.

const (
	// keptRoom is what only commits that free space, and end marks, may use.
	keptRoom = 4 << 10
	// Claims grow with the file: a small log stays small.
	leastClaim = 64 << 10
	mostClaim  = 4 << 20
)

// roomQueue is guarded by Log.mu.
type roomQueue struct {
	// waiting are those who wait for room. The first of them is making it.
	waiting []*roomTicket
}

type roomTicket struct {
	c chan struct{} // closed when the ticket is the first
}

// makeRoomLocked returns when a frame of n bytes has room. It returns with mu held, which it may have
// given up in between; then nobody else has taken the room.
func (l *Log) makeRoomLocked(ctx context.Context, n int64, freeing bool) error {
	if l.tail.seg == nil {
		return l.usableLocked() // opened read-only: there is no room to be had
	}
	if len(l.room.waiting) == 0 && l.fitsLocked(n, freeing) {
		return nil
	}
	if err := l.usableLocked(); err != nil {
		return err
	}
	t := &roomTicket{c: make(chan struct{})}
	l.room.waiting = append(l.room.waiting, t)
	if l.room.waiting[0] != t {
		l.mu.Unlock()
		select {
		case <-t.c:
		case <-ctx.Done():
		}
		l.mu.Lock()
	}
	defer l.room.leaveLocked(t)
	for {
		if err := l.usableLocked(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if l.fitsLocked(n, freeing) {
			return nil
		}
		if err := l.moreRoomLocked(n); err != nil {
			return err
		}
	}
}

// leaveLocked takes t off the queue and calls the next.
func (q *roomQueue) leaveLocked(t *roomTicket) {
	for i, other := range q.waiting {
		if other == t {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			break
		}
	}
	q.wakeAllLocked()
}

// wakeAllLocked calls the first in the queue.
func (q *roomQueue) wakeAllLocked() {
	if len(q.waiting) > 0 {
		select {
		case <-q.waiting[0].c:
		default:
			close(q.waiting[0].c)
		}
	}
}

// fitsLocked reports whether a frame of n bytes can be sequenced now.
func (l *Log) fitsLocked(n int64, freeing bool) bool {
	if !freeing {
		n += keptRoom
	}
	full := l.pending.commits > 0 && l.pending.bytes+n > maxPending
	return !full && !l.segmentFullLocked(n) && l.tail.byte+n <= l.tail.claimed
}

// segmentFullLocked reports whether the next frame, of n bytes, begins a new segment: because this one
// has its size, or because its zeros are used up and a prepared file is ready.
func (l *Log) segmentFullLocked(n int64) bool {
	if l.tail.byte+n > l.tail.seg.Data()+l.o.SegmentBytes {
		return true
	}
	return l.tail.byte >= preparedLeast && l.tail.byte+n > l.tail.zeros && l.preparer.ready.Load()
}

// moreRoomLocked does one step towards room for n bytes. It gives up mu meanwhile.
func (l *Log) moreRoomLocked(n int64) error {
	n += keptRoom
	full, rest := l.segmentFullLocked(n), l.pending.bytes
	tail := l.tail
	l.mu.Unlock()
	defer l.mu.Lock()
	switch {
	case full:
		l.takePen()
		defer l.passPen()
		// Close may have had the pen meanwhile, and then nothing is written any more.
		if err := l.usable(); err != nil {
			return err
		}
		if err := l.writePending(); err != nil {
			return err
		}
		return l.noteSpace(l.roll(n))
	case rest > 0 && rest+n > maxPending:
		l.takePen()
		defer l.passPen()
		return l.writePending()
	}
	to, err := claim(tail.seg, tail.claimed, tail.byte, n)
	if err != nil {
		return l.noteSpace(err)
	}
	l.mu.Lock()
	l.tail.claimed = to
	l.mu.Unlock()
	return nil
}

// noteSpace reports a full disk.
func (l *Log) noteSpace(err error) error {
	if errors.Is(err, ErrNoSpace) {
		l.count.noSpace.Add(1)
		if l.o.Events.NoSpace != nil {
			l.o.Events.NoSpace(err)
		}
	}
	return err
}

// claimer is what claim needs of a segment.
type claimer interface {
	Preallocate(at, n int64) error
}

// claim claims room behind claimed for n bytes from byte position tail on, and more when there is
// more, and returns up to where.
func claim(seg claimer, claimed, tail, n int64) (int64, error) {
	need := tail + n
	if need <= claimed {
		return claimed, nil
	}
	for _, to := range []int64{max(need, tail+min(max(tail/4, leastClaim), mostClaim)), need} {
		err := seg.Preallocate(claimed, to-claimed)
		switch {
		case err == nil, errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EOPNOTSUPP):
			// Where nothing can be claimed, a full disk is found out by the write, and fails the log.
			return to, nil
		case to == need:
			return 0, spaceError(err)
		}
	}
	panic("unreachable")
}
