package projection

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// getLocked returns the caller's copy of a value. PebbleStore.mu is held.
func getLocked(r pebble.Reader, key []byte) ([]byte, bool, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	v = append(make([]byte, 0, len(v)), v...)
	return v, true, closer.Close()
}

// buildBase reads a build as it is.
type buildBase struct {
	s      *PebbleStore
	number uint64
	key    []byte
}

func (b *buildBase) get(key string) ([]byte, bool, error) {
	b.key = append(append(b.key[:0], numbered(dataKey, b.number)...), key...)
	b.s.mu.RLock()
	defer b.s.mu.RUnlock()
	if err := b.s.usableLocked(); err != nil {
		return nil, false, err
	}
	return getLocked(b.s.db, b.key)
}

func (b *buildBase) scan(from, to string) iter.Seq2[KeyValue, error] {
	return b.s.scan(func(iterate iterate) (*pebble.Iterator, error) { return iterate(b.s.db, b.number) }, from, to)
}

// iterate makes an iterator over the keys of a build.
type iterate func(r pebble.Reader, build uint64) (*pebble.Iterator, error)

// source says what to iterate over. It is called under PebbleStore.mu.
type source func(iterate) (*pebble.Iterator, error)

// scan yields the keys in [from, to) of what of gives when the loop begins.
func (s *PebbleStore) scan(of source, from, to string) iter.Seq2[KeyValue, error] {
	return func(yield func(KeyValue, error) bool) {
		c, err := s.newCursor(of, from, to)
		if err != nil {
			yield(KeyValue{}, err)
			return
		}
		defer func() { _ = c.end() }()
		var kv KeyValue
		for {
			more, err := c.next(&kv)
			if err != nil {
				yield(KeyValue{}, err)
				return
			}
			if !more || !yield(kv, nil) {
				return
			}
		}
	}
}

// cursor is a loop over keys. The store closes it when it is closed itself.
type cursor struct {
	s     *PebbleStore
	it    *pebble.Iterator
	begun bool
	value []byte
	once  sync.Once
	err   error // of closing
}

func (s *PebbleStore) newCursor(of source, from, to string) (*cursor, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usableLocked(); err != nil {
		return nil, err
	}
	it, err := of(func(r pebble.Reader, build uint64) (*pebble.Iterator, error) {
		p := numbered(dataKey, build)
		bounds := &pebble.IterOptions{LowerBound: append(bytes.Clone(p), from...), UpperBound: behind(p)}
		if to != "" {
			bounds.UpperBound = append(bytes.Clone(p), to...)
		}
		it, err := r.NewIter(bounds)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStore, err)
		}
		return it, nil
	})
	if err != nil {
		return nil, err
	}
	c := &cursor{s: s, it: it}
	s.keep(c)
	return c, nil
}

// released is what the store ends when it is closed.
type released interface{ release() error }

func (s *PebbleStore) keep(c released) {
	s.openMu.Lock()
	defer s.openMu.Unlock()
	s.open[c] = struct{}{}
}

func (s *PebbleStore) forget(c released) {
	s.openMu.Lock()
	defer s.openMu.Unlock()
	delete(s.open, c)
}

// next moves on and fills kv, whose value is valid until the next call.
func (c *cursor) next(kv *KeyValue) (bool, error) {
	c.s.mu.RLock()
	defer c.s.mu.RUnlock()
	if err := c.s.usableLocked(); err != nil {
		return false, err
	}
	more := false
	if c.begun {
		more = c.it.Next()
	} else {
		more, c.begun = c.it.First(), true
	}
	if !more {
		if err := c.it.Error(); err != nil {
			return false, fmt.Errorf("%w: %w", ErrStore, err)
		}
		return false, nil
	}
	value, err := c.it.ValueAndErr()
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	c.value = append(c.value[:0], value...)
	kv.Key, kv.Value = string(c.it.Key()[dataPrefixBytes:]), c.value
	return true, nil
}

// end closes c, unless the store has.
func (c *cursor) end() error {
	c.s.mu.RLock()
	defer c.s.mu.RUnlock()
	c.s.forget(c)
	return c.release()
}

func (c *cursor) release() error {
	c.once.Do(func() { c.err = c.it.Close() })
	return c.err
}

// activeLocked returns the build of a projection that readers see.
func (s *PebbleStore) activeLocked(name string) (*build, error) {
	m := s.names[name]
	if m == nil || m.active == 0 {
		return nil, ErrNotReady
	}
	return m.builds[m.active], nil
}

// Snapshot is a model as of one moment. It must be closed. Its methods may be called concurrently.
type Snapshot struct {
	s       *PebbleStore // immutable, like the next three
	number  uint64
	version int
	at      Checkpoint

	mu   sync.RWMutex
	snap *pebble.Snapshot // nil when it was closed; guarded by mu
}

// Snapshot returns what readers see of a projection, as of now.
func (s *PebbleStore) Snapshot(name string) (*Snapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usableLocked(); err != nil {
		return nil, err
	}
	b, err := s.activeLocked(name)
	if err != nil {
		return nil, err
	}
	sn := &Snapshot{s: s, snap: s.db.NewSnapshot(), number: b.Number, version: b.Version} // Close closes it
	v, _, err := getLocked(sn.snap, numbered(checkpointKey, b.Number))
	if err == nil {
		sn.at, err = decodeCheckpoint(v)
	}
	if err != nil {
		return nil, errors.Join(err, sn.snap.Close())
	}
	s.keep(sn)
	return sn, nil
}

// Position returns that of the first record that is not in the snapshot.
func (sn *Snapshot) Position() uint64 { return sn.at.Position }

// Version returns the version of the definition that made the model.
func (sn *Snapshot) Version() int { return sn.version }

// Get returns the value of a key, and whether there is one. The value is the caller's.
func (sn *Snapshot) Get(key string) (value []byte, ok bool, err error) {
	sn.s.mu.RLock()
	defer sn.s.mu.RUnlock()
	sn.mu.RLock()
	defer sn.mu.RUnlock()
	if err := sn.s.usableLocked(); err != nil {
		return nil, false, err
	}
	if sn.snap == nil {
		return nil, false, ErrClosed
	}
	return getLocked(sn.snap, append(numbered(dataKey, sn.number), key...))
}

// Scan yields the keys that begin with prefix, in order.
func (sn *Snapshot) Scan(prefix string) iter.Seq2[KeyValue, error] {
	return sn.Range(prefix, string(behind([]byte(prefix))))
}

// Range yields the keys in [from, to), in order; to "" is no bound.
func (sn *Snapshot) Range(from, to string) iter.Seq2[KeyValue, error] {
	return sn.s.scan(func(iterate iterate) (*pebble.Iterator, error) {
		sn.mu.RLock()
		defer sn.mu.RUnlock()
		if sn.snap == nil {
			return nil, ErrClosed
		}
		return iterate(sn.snap, sn.number)
	}, from, to)
}

// Close ends the use of sn. It may be called twice.
func (sn *Snapshot) Close() error {
	sn.s.mu.RLock()
	defer sn.s.mu.RUnlock()
	sn.s.forget(sn)
	return sn.release()
}

func (sn *Snapshot) release() error {
	sn.mu.Lock()
	defer sn.mu.Unlock()
	if sn.snap == nil {
		return nil
	}
	err := sn.snap.Close()
	sn.snap = nil
	return err
}
