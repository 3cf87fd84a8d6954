package queue

import (
	"iter"

	"github.com/stratalog/strata/log"
)

// How many of the delayed messages are due is counted by stretches of time, since time alone makes them due: Stats
// adds up the stretches that are over, and looks at the messages of the current one alone.
const (
	// fineShift makes stretches of 2^20 µs, about a second; coarseShift of 2^32 µs, about 72 minutes.
	fineShift   = 20
	coarseShift = 32
)

// stretch is the time from at << shift on, up to the next one, in µs.
type stretch struct {
	shift uint8
	at    uint64
}

func keyTally(id uint64, s stretch) []byte {
	return be.AppendUint64(append(keyOf(prefixTally, id), s.shift), s.at)
}

// tally is what a commit changes of these counts.
type tally map[stretch]int64

func (t *tally) add(due, n int64) {
	if *t == nil {
		*t = tally{}
	}
	for _, shift := range []uint8{fineShift, coarseShift} {
		(*t)[stretch{shift, uint64(due) >> shift}] += n
	}
}

// flush brings the view up to date.
func (t tally) flush(tx *log.ViewTx, id uint64) error {
	for s, change := range t {
		if change == 0 {
			continue
		}
		key := keyTally(id, s)
		b, err := tx.Get(key)
		if err != nil {
			return err
		}
		n := change
		if len(b) == 8 {
			n += int64(be.Uint64(b))
		}
		if n <= 0 { // below: of a queue that is gone, whose messages a derivation behind a crash does not see any more
			tx.Delete(key)
			continue
		}
		tx.Set(key, be.AppendUint64(nil, uint64(n)))
	}
	return nil
}

// dueBy returns how many delayed messages are due at the time now, in µs. It looks at no more keys than there are
// stretches of 72 minutes in which some are due, 4096 of a second, and messages that have become due within the
// last second.
func (s *state) dueBy(id uint64, now int64, scan func(from, to []byte) iter.Seq2[log.KeyValue, error]) (n int64, err error) {
	counted := uint64(0) // up to here, µs
	if s.tallied {
		over := uint64(now) >> fineShift << fineShift
		coarse := uint64(now) >> coarseShift << coarseShift
		for _, part := range []struct {
			shift    uint8
			from, to uint64
		}{{coarseShift, 0, coarse}, {fineShift, coarse, over}} {
			from, to := stretch{part.shift, part.from >> part.shift}, stretch{part.shift, part.to >> part.shift}
			for kv, err := range scan(keyTally(id, from), keyTally(id, to)) {
				if err != nil {
					return 0, err
				}
				if len(kv.Value) != 8 {
					return 0, ErrCorrupt
				}
				n += int64(be.Uint64(kv.Value))
			}
		}
		counted = over
	}
	for _, err := range scan(keyOf(prefixDelayed, id, counted), keyOf(prefixDelayed, id, uint64(now+1))) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
