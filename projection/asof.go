package projection

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/stratalog/strata/log"
)

// Past is a model as it was, in memory. It must be closed.
type Past struct {
	*Snapshot
	s *PebbleStore
}

// Close frees the memory. It may be called twice.
func (p *Past) Close() error { return errors.Join(p.Snapshot.Close(), p.s.Close()) }

// AsOf returns the model that d makes of the records before position. It handles them all: what it costs
// depends on how much history there is. Effects are held back. The log may have been opened read-only, and the
// definition may be one that is still to be used: Diff compares what it makes with what there is.
func AsOf(ctx context.Context, l *log.Log, d *Definition[*Tx], position uint64) (*Past, error) {
	return past(ctx, l, d, min(position, l.Position()))
}

// AsOfTime returns the model that d makes of the events that had happened by a time, as they say themselves: an
// event that is recorded late counts when it happened. What AsOf says holds.
func AsOfTime(ctx context.Context, l *log.Log, d *Definition[*Tx], at time.Time) (*Past, error) {
	until := *d
	until.handle = func(tx *Tx, e *Event) error {
		if e.Time.After(at) {
			return nil
		}
		return d.handle(tx, e)
	}
	return past(ctx, l, &until, l.Position())
}

func past(ctx context.Context, l *log.Log, d *Definition[*Tx], position uint64) (*Past, error) {
	s, err := NewMemory()
	if err != nil {
		return nil, err
	}
	sn, err := pastIn(ctx, s, l, d, position)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Past{sn, s}, nil
}

func pastIn(ctx context.Context, s *PebbleStore, l *log.Log, d *Definition[*Tx], position uint64) (*Snapshot, error) {
	p, err := newScratch(l, s, d)
	if err != nil {
		return nil, err
	}
	p.heldBack = true
	if err := p.run(ctx, &position); err != nil {
		return nil, err
	}
	return s.Snapshot(d.name)
}

// Difference is a key in which two models differ. A value is nil where the model has no such key.
type Difference struct {
	Key string
	// A and B are valid inside the loop body.
	A, B []byte
}

// Diff yields the keys in which a and b differ, in order. Models should be compared as of one position: take
// a Snapshot, and AsOf its Position. An error is the last pair.
func Diff(a, b Reader) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		next, stop := iter.Pull2(b.Range("", ""))
		defer stop()
		kb, err, more := next()
		failed := func(err error) bool {
			if err != nil {
				yield(Difference{}, err)
			}
			return err != nil
		}
		only := func() bool { // yields what b has alone, and moves on
			ok := yield(Difference{Key: kb.Key, B: kb.Value}, nil)
			kb, err, more = next()
			return ok
		}
		for ka, errA := range a.Range("", "") {
			if failed(errA) {
				return
			}
			for more && err == nil && kb.Key < ka.Key {
				if !only() {
					return
				}
			}
			if failed(err) {
				return
			}
			if !more || kb.Key > ka.Key {
				if !yield(Difference{Key: ka.Key, A: ka.Value}, nil) {
					return
				}
				continue
			}
			if !bytes.Equal(ka.Value, kb.Value) && !yield(Difference{Key: ka.Key, A: ka.Value, B: kb.Value}, nil) {
				return
			}
			kb, err, more = next()
		}
		for more && err == nil {
			if !only() {
				return
			}
		}
		failed(err)
	}
}
