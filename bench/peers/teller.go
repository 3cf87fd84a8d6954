package main

import "sync"

// teller gives followers to an engine that has none: the appender tells them, under a lock and by a
// condition variable, that there is more, and they read it by its number.
type teller struct {
	w writer
	g getter

	mu    sync.Mutex
	moved sync.Cond
	have  int // guarded by mu
}

func (t *teller) append(records [][]byte) error {
	err := t.w.append(records)
	t.mu.Lock()
	t.have += len(records)
	t.mu.Unlock()
	t.moved.Broadcast()
	return err
}

func (t *teller) follow(ready func(), each func([]byte) bool) error {
	ready()
	for seen := 0; ; {
		t.mu.Lock()
		for t.have == seen {
			t.moved.Wait()
		}
		have := t.have
		t.mu.Unlock()
		for ; seen < have; seen++ {
			b, err := t.g.get(seen)
			if err != nil {
				return err
			}
			if !each(b) {
				return nil
			}
		}
	}
}
