package projection

import (
	"context"
	"io"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/stratalog/strata/log"
)

// Model is a projection whose model is in Pebble, or in memory, and can be read: what readers see is whole, and
// never older than what they saw before. Its methods may be called concurrently, also while Run is under way.
type Model struct {
	*Projection[*Tx]
	s *PebbleStore
}

// Open returns the projection that d defines, with its model in the store beside the log, which is opened with
// the first projection and closed with the log. On a log that was opened read-only the model is in memory, and
// built anew. What New says holds.
func Open(ctx context.Context, l *log.Log, d *Definition[*Tx]) (*Model, error) {
	c, err := l.Attach(dirName, func() (io.Closer, error) {
		if l.Options().ReadOnly {
			return NewMemory()
		}
		o := l.Options()
		return OpenPebble(o.FS.PathJoin(dirOf(l), storeName), PebbleOptions{FS: o.FS, Clock: o.Clock, Logger: o.Logger})
	})
	if err != nil {
		return nil, err
	}
	return NewModel(ctx, l, c.(*PebbleStore), d)
}

// NewModel is New for a store that can be read. The store must not be closed before the log.
func NewModel(ctx context.Context, l *log.Log, s *PebbleStore, d *Definition[*Tx]) (*Model, error) {
	p, err := New(ctx, l, s, d)
	if err != nil {
		return nil, err
	}
	return &Model{p, s}, nil
}

// Get returns the value of a key, and whether there is one. The value is the caller's. Before the first build
// is complete the error is ErrNotReady.
func (m *Model) Get(key string) (value []byte, ok bool, err error) {
	s := m.s
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usableLocked(); err != nil {
		return nil, false, err
	}
	b, err := s.activeLocked(m.d.name)
	if err != nil {
		return nil, false, err
	}
	return getLocked(s.db, append(numbered(dataKey, b.Number), key...))
}

// Scan yields the keys that begin with prefix, in order, as of the beginning of the loop.
func (m *Model) Scan(prefix string) iter.Seq2[KeyValue, error] {
	return m.Range(prefix, string(behind([]byte(prefix))))
}

// Range yields the keys in [from, to), in order, as of the beginning of the loop; to "" is no bound.
func (m *Model) Range(from, to string) iter.Seq2[KeyValue, error] {
	return m.s.scan(func(iterate iterate) (*pebble.Iterator, error) {
		b, err := m.s.activeLocked(m.d.name)
		if err != nil {
			return nil, err
		}
		return iterate(m.s.db, b.Number)
	}, from, to)
}

// Snapshot returns the model as of now. It must be closed.
func (m *Model) Snapshot() (*Snapshot, error) { return m.s.Snapshot(m.d.name) }

// Watch yields the value of a key now, and after each transaction that has changed it, until ctx ends, which is
// the loop's last error. A body that takes long misses values, and never the last one; an older value never
// follows a newer one. Before the first build is complete it waits.
func (m *Model) Watch(ctx context.Context, key string) iter.Seq2[Value, error] {
	return m.s.watch(ctx, m.d.name, key)
}
