package projection

import (
	"context"
	"fmt"
)

// backgroundError is told of an error after which Pebble tries again.
func (s *PebbleStore) backgroundError(err error) {
	s.restless.Store(true)
	s.tellMu.Lock()
	s.met.Store(&err)
	first := s.troubled.Swap(&err) == nil
	select {
	case s.trouble <- struct{}{}:
	default:
	}
	s.tellMu.Unlock()
	if first {
		s.logger.Warn("projections: store cannot write, and tries again", "error", err.Error())
	}
}

// told returns an error of the background that nobody was told of.
func (s *PebbleStore) told() error {
	if e := s.takeTrouble(); e != nil {
		return fmt.Errorf("%w: %w", ErrStore, *e)
	}
	return nil
}

// notFlushed returns the error that Pebble met last, behind a receive from trouble.
func (s *PebbleStore) notFlushed() error {
	s.takeTrouble()
	return fmt.Errorf("%w: not flushed: %w", ErrStore, *s.met.Load())
}

// takeTrouble returns the error that nobody was told of, or nil, and leaves nothing of it in trouble: who waits for
// a flush later is not told of it.
func (s *PebbleStore) takeTrouble() *error {
	s.tellMu.Lock()
	defer s.tellMu.Unlock()
	e := s.troubled.Swap(nil)
	if e != nil {
		s.drain()
	}
	return e
}

// took notes that Pebble has taken so many bytes, and has it write them when there are many. It waits for
// the flush before.
func (s *PebbleStore) took(ctx context.Context, bytes int) error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	if s.unflushed += bytes; s.unflushed < flushBytes {
		return nil
	}
	if err := s.awaitFlush(ctx, s.flushing); err != nil {
		return err
	}
	return s.beginFlush()
}

// beginFlush has Pebble write what it has in memory. flushMu is held, and mu for reading.
func (s *PebbleStore) beginFlush() error {
	s.drain()
	s.unflushed = 0
	done, err := s.asyncFlush()
	if err == nil {
		s.flushing = done
	}
	return err
}

// asyncFlush begins a flush. The channel is closed when it is done.
func (s *PebbleStore) asyncFlush() (<-chan struct{}, error) {
	db := s.db
	begun := make(chan (<-chan struct{}), 1) // since the call may be left behind
	err := s.call(func() error {
		done, err := db.AsyncFlush()
		begun <- done
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-begun, nil
}

// drain takes what is in trouble, of an earlier attempt.
func (s *PebbleStore) drain() {
	select {
	case <-s.trouble:
	default:
	}
}

// awaitFlush waits until done is closed, or the flush cannot succeed for now.
func (s *PebbleStore) awaitFlush(ctx context.Context, done <-chan struct{}) error {
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-s.trouble:
		return s.notFlushed()
	case <-s.deadC:
		return *s.dead.Load()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ending:
		return ErrClosed
	}
}

// syncing is a store whose transactions are not durable at once.
type syncing interface {
	// Sync returns when all that was committed is.
	Sync(ctx context.Context) error
}

// sync makes what was committed durable.
func (p *Projection[T]) sync(ctx context.Context) error {
	if s, ok := p.store.(syncing); ok {
		return s.Sync(context.WithoutCancel(ctx))
	}
	return nil
}

// Sync writes what is in memory to disk. An error is one of ErrStore, and the store goes on trying.
func (s *PebbleStore) Sync(ctx context.Context) error {
	if err := s.told(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usableLocked(); err != nil {
		return err
	}
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	if err := s.awaitFlush(ctx, s.flushing); err != nil {
		return err
	}
	if err := s.beginFlush(); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return s.awaitFlush(ctx, s.flushing)
}

// flush has Pebble write what it has in memory, and waits for that. Close alone calls it.
func (s *PebbleStore) flush() error {
	s.drain()
	s.troubled.Store(nil)
	done, err := s.asyncFlush()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	select {
	case <-done:
		return nil
	case <-s.trouble:
		return s.notFlushed()
	case <-s.deadC:
		return *s.dead.Load()
	}
}
