package projection

import (
	"bytes"
	"context"
	"iter"
	"sync"
)

// watchers are those who wait for keys of a model to change.
type watchers struct {
	mu    sync.Mutex
	byKey map[string]map[*watcher]struct{} // guarded by mu
}

// watcher waits for one key. wake has room for one.
type watcher struct{ wake chan struct{} }

func (w *watcher) tell() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (ws *watchers) add(key string) *watcher {
	w := &watcher{make(chan struct{}, 1)}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.byKey == nil {
		ws.byKey = map[string]map[*watcher]struct{}{}
	}
	if ws.byKey[key] == nil {
		ws.byKey[key] = map[*watcher]struct{}{}
	}
	ws.byKey[key][w] = struct{}{}
	return w
}

func (ws *watchers) remove(key string, w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.byKey[key], w)
	if len(ws.byKey[key]) == 0 {
		delete(ws.byKey, key)
	}
}

// changed wakes those who watch a key of what was written.
func (ws *watchers) changed(layer map[string]layered) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.byKey) < len(layer) {
		for key, set := range ws.byKey {
			if _, ok := layer[key]; ok {
				tellAll(set)
			}
		}
		return
	}
	for key := range layer {
		tellAll(ws.byKey[key])
	}
}

// all wakes everybody.
func (ws *watchers) all() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, set := range ws.byKey {
		tellAll(set)
	}
}

func tellAll(set map[*watcher]struct{}) {
	for w := range set {
		w.tell()
	}
}

// Value is what Watch yields.
type Value struct {
	// Exists says whether the model has the key.
	Exists bool
	// Data is the value. It is the caller's.
	Data []byte
	// Position is that of the first record that is not in the model with this value.
	Position uint64
}

// watch yields the value of a key now, and after each transaction that has changed it, until ctx ends.
func (s *PebbleStore) watch(ctx context.Context, name, key string) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		s.mu.Lock() // modelsOf makes an entry
		ws := &modelsOf(s.names, name).watching
		s.mu.Unlock()
		w := ws.add(key)
		defer ws.remove(key, w)
		var last Value
		for begun := false; ; {
			v, err := s.valueNow(name, key)
			if err != nil && err != ErrNotReady {
				yield(Value{}, err)
				return
			}
			if err == nil && (!begun || v.Exists != last.Exists || !bytes.Equal(v.Data, last.Data)) {
				begun, last = true, Value{Exists: v.Exists, Data: bytes.Clone(v.Data)}
				if !yield(v, nil) {
					return
				}
			}
			select {
			case <-w.wake:
			case <-s.deadC: // which the next look tells
			case <-ctx.Done():
				yield(Value{}, ctx.Err())
				return
			}
		}
	}
}

// valueNow reads a key and the position that belongs to it.
func (s *PebbleStore) valueNow(name, key string) (Value, error) {
	sn, err := s.Snapshot(name)
	if err != nil {
		return Value{}, err
	}
	v := Value{Position: sn.Position()}
	v.Data, v.Exists, err = sn.Get(key)
	if closeErr := sn.Close(); err == nil {
		err = closeErr
	}
	return v, err
}
