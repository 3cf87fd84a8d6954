package log

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stratalog/strata/segment"
)

// view is a registered view with its memory layer.
type view struct {
	l         *Log
	def       View
	answers   Answerer // def, when it answers conditions
	name      string
	topics    []string
	kinds     []string
	producers bool
	// bit is the view's own in the masks of the applier; 0 until it has joined. Guarded by applyMu.
	bit uint64
	// from is the position from which on the applier feeds the view, or, on a log that was opened
	// read-only, up to which it is derived. Guarded by applyMu.
	from uint64
	// replay derives the view on a log that was opened read-only; nil otherwise. Guarded by applyMu.
	replay *replay
	// dead is why the view cannot be used. Stored once.
	dead atomic.Pointer[ViewError]

	mu sync.RWMutex
	// layer holds what was applied and is not in Pebble yet. Guarded by mu, and changed only by who
	// applies.
	layer map[string]cell
	bytes int // about what layer takes; belongs to who applies
}

// cell is a value, or the deletion of one when value is nil. The bytes are never changed.
type cell struct{ value []byte }

// cellBytes is about what a cell takes beside its key and value.
const cellBytes = 64

func newView(l *Log, def View) *view {
	v := &view{l: l, def: def, name: def.Name(), topics: slices.Sorted(slices.Values(def.Topics())), layer: map[string]cell{}}
	v.answers, _ = def.(Answerer)
	if k, ok := def.(KindView); ok {
		v.kinds = slices.Sorted(slices.Values(k.Kinds()))
	}
	if p, ok := def.(ProducerView); ok {
		v.producers = p.ProducerBatches()
	}
	return v
}

// usable returns why v cannot be used.
func (v *view) usable() error {
	if e := v.dead.Load(); e != nil {
		return e
	}
	return nil
}

// kill makes v unusable and tells why.
func (v *view) kill(cause error) *ViewError {
	e := &ViewError{View: v.name, Cause: cause}
	if v.dead.CompareAndSwap(nil, e) {
		v.l.o.Logger.Error("view stopped", "view", v.name, "error", cause.Error())
	}
	return v.dead.Load()
}

// wants reports whether v is derived from the topic, which is of this kind.
func (v *view) wants(topic, kind string) bool {
	return slices.Contains(v.topics, topic) || kind != "" && slices.Contains(v.kinds, kind)
}

// get returns the value of key as it is applied. The bytes must not be changed.
func (v *view) get(key string) (cell, error) {
	if err := v.usable(); err != nil {
		return cell{}, err
	}
	v.mu.RLock()
	c, ok := v.layer[key]
	v.mu.RUnlock()
	if ok {
		return c, nil
	}
	// What was spilled meanwhile is in Pebble before it leaves the layer.
	value, err := v.l.store.get(v.name, key)
	if err != nil {
		return cell{}, &ViewError{View: v.name, Cause: err}
	}
	return cell{value}, nil
}

// apply folds one commit in. The caller is the one who applies.
func (v *view) apply(tx *ViewTx, c *AppliedCommit) error {
	if err := v.usable(); err != nil {
		return err
	}
	tx.v = v
	clear(tx.changes)
	if err := v.def.Apply(tx, c); err != nil {
		return v.kill(err)
	}
	if len(tx.changes) == 0 {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, c := range tx.changes {
		old, had := v.layer[key]
		if had {
			v.bytes -= len(old.value)
		} else {
			v.bytes += len(key) + cellBytes
		}
		v.bytes += len(c.value)
		v.layer[key] = c
	}
	return nil
}

// emptyLayer forgets what is in Pebble now.
func (v *view) emptyLayer() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.layer)
	v.bytes = 0
}

// ViewTx is the key space of a view during Apply.
type ViewTx struct {
	v       *view
	changes map[string]cell
}

// Get returns the value of key, or nil when there is none. The bytes must not be changed.
func (tx *ViewTx) Get(key []byte) ([]byte, error) {
	if c, ok := tx.changes[string(key)]; ok {
		return c.value, nil
	}
	c, err := tx.v.get(string(key))
	return c.value, err
}

// Set sets the value of key. Both are copied.
func (tx *ViewTx) Set(key, value []byte) {
	tx.changes[string(key)] = cell{append(make([]byte, 0, len(value)), value...)}
}

// Delete removes key.
func (tx *ViewTx) Delete(key []byte) { tx.changes[string(key)] = cell{} }

// views is the published set of registered views. It is replaced, never modified.
type views struct {
	byName map[string]*view
	// joined are those that the applier feeds, by bit.
	joined []*view
	// producers is the mask of those that want every batch with a producer id.
	producers uint64
}

// maxViews is how many views can be registered at a time.
const maxViews = 64

// find returns the registered view called name, or nil.
func (l *Log) findView(name string) *view {
	if vs := l.views.Load(); vs != nil {
		return vs.byName[name]
	}
	return nil
}

// maskOf returns the bits of the views that are derived from the topic.
func (vs *views) maskOf(t *Topic) uint64 {
	mask := uint64(0)
	for _, v := range vs.joined {
		if v.wants(t.name, t.kind) {
			mask |= v.bit
		}
	}
	return mask
}

// mask returns the bits of the views that are derived from a batch.
func (l *Log) maskOf(p *Partition, e *segment.Entry) uint64 {
	mask := uint64(0)
	if p != nil {
		mask = p.viewed.Load()
	}
	if e.Head.ProducerID >= 0 {
		if vs := l.views.Load(); vs != nil {
			mask |= vs.producers
		}
	}
	return mask
}

// markViewedLocked tells the partitions of t which views are derived from them. mu is held.
func (l *Log) markViewedLocked(t *Topic) {
	vs := l.views.Load()
	if vs == nil {
		return
	}
	mask := vs.maskOf(t)
	for _, p := range *t.partitions.Load() {
		p.viewed.Store(mask)
	}
}
