package projection

import (
	"context"
	"fmt"
)

// backgroundError is told of an error after which Pebble tries again.
func (s *PebbleStore) backgroundError(err error) {
	s.met.Store(&err)
	if s.troubled.Swap(&err) == nil {
		s.logger.Warn("projections: store cannot write, and tries again", "error", err.Error())
	}
	s.restless.Store(true)
	select {
	case s.trouble <- struct{}{}:
	default:
	}
}

// told returns an error of the background that nobody was told of.
func (s *PebbleStore) told() error {
	if e := s.troubled.Swap(nil); e != nil {
		return fmt.Errorf("%w: %w", ErrStore, *e)
	}
	return nil
}

// notFlushed returns the error that Pebble met last, behind a receive from trouble.
func (s *PebbleStore) notFlushed() error {
	s.troubled.Store(nil)
	return fmt.Errorf("%w: not flushed: %w", ErrStore, *s.met.Load())
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
	s.unflushed = 0
	return s.call(func() (err error) {
		s.flushing, err = s.db.AsyncFlush()
		return err
	})
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
	s.unflushed = 0
	err := s.call(func() (err error) {
		s.flushing, err = s.db.AsyncFlush()
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return s.awaitFlush(ctx, s.flushing)
}

// flush has Pebble write what it has in memory, and waits for that. Close alone calls it.
func (s *PebbleStore) flush() error {
	select {
	case <-s.trouble: // of an earlier attempt
	default:
	}
	s.troubled.Store(nil)
	var done <-chan struct{}
	if err := s.call(func() (err error) { done, err = s.db.AsyncFlush(); return err }); err != nil {
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
