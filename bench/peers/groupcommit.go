package main

import "sync"

// groupCommitter gives many writers to an engine that takes one: a goroutine appends, in one unit, all
// records that have come while it was appending the last ones. It is the plainest that there is.
type groupCommitter struct {
	mu      sync.Mutex
	came    *sync.Cond
	pending [][]byte
	round   *round // of pending
	closed  bool
	done    chan struct{}
}

type round struct {
	done chan struct{}
	err  error // set before done is closed
}

func newGroupCommitter(w writer) *groupCommitter {
	g := &groupCommitter{round: &round{done: make(chan struct{})}, done: make(chan struct{})}
	g.came = sync.NewCond(&g.mu)
	go g.run(w)
	return g
}

func (g *groupCommitter) append(records [][]byte) error {
	g.mu.Lock()
	g.pending = append(g.pending, records...)
	r := g.round
	g.mu.Unlock()
	g.came.Signal()
	<-r.done
	return r.err
}

func (g *groupCommitter) run(w writer) {
	defer close(g.done)
	var spare [][]byte
	for {
		g.mu.Lock()
		for len(g.pending) == 0 && !g.closed {
			g.came.Wait()
		}
		if g.closed {
			g.mu.Unlock()
			return
		}
		records, r := g.pending, g.round
		g.pending, g.round = spare[:0], &round{done: make(chan struct{})}
		g.mu.Unlock()
		r.err = w.append(records)
		close(r.done)
		spare = records
	}
}

// close ends the goroutine. Nobody appends any more.
func (g *groupCommitter) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.came.Signal()
	<-g.done
}
