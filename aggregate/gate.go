package aggregate

import (
	"context"
	"sync"
)

// gates let one caller at a time to each name. Who holds one may leave something to the next.
type gates struct {
	mu    sync.Mutex
	named map[string]*gate // guarded by mu; those that somebody holds or waits for
}

type gate struct {
	name  string
	turn  chan struct{} // holds a token while nobody holds the gate
	users int           // guarded by gates.mu
	// left is what the last holder has left, or nil. It belongs to the holder.
	left any
}

// take returns what the last holder has left, and forgets it.
func (t *gate) take() any {
	left := t.left
	t.left = nil
	return left
}

// enter waits for the gate called name.
func (g *gates) enter(ctx context.Context, name string) (*gate, error) {
	g.mu.Lock()
	t := g.named[name]
	if t == nil {
		t = &gate{name: name, turn: make(chan struct{}, 1)}
		t.turn <- struct{}{}
		if g.named == nil {
			g.named = map[string]*gate{}
		}
		g.named[name] = t
	}
	t.users++
	g.mu.Unlock()
	select {
	case <-t.turn:
		return t, nil
	case <-ctx.Done():
		g.forget(t)
		return nil, context.Cause(ctx)
	}
}

// leave lets the next one in.
func (g *gates) leave(t *gate) {
	t.turn <- struct{}{}
	g.forget(t)
}

func (g *gates) forget(t *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(g.named, t.name)
	}
}
