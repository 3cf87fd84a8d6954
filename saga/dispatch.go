package saga

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
)

// running is one call of Run.
type running struct {
	r      *Runner
	o      runOptions
	ctx    context.Context // ends when Run is to end
	stop   context.CancelCauseFunc
	acting context.Context // of the actions
	hard   context.CancelFunc
	slots  chan struct{}
	found  chan *job // closed by find
	wg     sync.WaitGroup
}

// job is an instance that is to be carried out: found in the view, already claimed, and read unless it is
// large; or told of, with nothing but its key.
type job struct {
	key string
	cl  *claim
	in  *Instance
}

const (
	// maxPiece is how many instances are claimed and looked at together.
	maxPiece = 512
	// maxAhead is the largest instance, in bytes of its JSON, that is read ahead; a larger one is read by its
	// worker.
	maxAhead = 32 << 10
	// maxTold bounds how many keys are remembered of instances that were told something; the view knows
	// the others.
	maxTold = 1024
)

// dispatch gives instances to workers until ctx ends.
func (x *running) dispatch() {
	for {
		select {
		case <-x.ctx.Done():
			return
		case x.slots <- struct{}{}:
		}
		j := x.next()
		if j == nil {
			return
		}
		x.wg.Go(func() {
			defer func() { <-x.slots }()
			if err := x.carryOut(j); err != nil {
				x.stop(err)
			}
		})
	}
}

// next waits for a job, and returns nil when ctx has ended. What is found and what is told of take turns by
// chance, so that neither waits for the end of the other.
func (x *running) next() *job {
	for {
		select {
		case <-x.ctx.Done():
			return nil
		case j, ok := <-x.found:
			if !ok {
				return nil // find ends with ctx
			}
			return j
		case <-x.r.wake:
			if key := x.r.pop(); key != "" {
				return &job{key: key}
			}
		}
	}
}

// find looks for ready instances in the view whenever there may be some, until ctx ends.
func (x *running) find() {
	defer close(x.found)
	for {
		select {
		case <-x.ctx.Done():
			return
		case <-x.r.look:
		}
		for _, name := range slices.Sorted(maps.Keys(x.r.latest)) {
			from := prefixed('r', instanceKey(name, ""))
			to := bytes.Clone(from)
			to[len(to)-1] = 1
			for from != nil && x.ctx.Err() == nil {
				var err error
				if from, err = x.piece(from, to); err != nil && x.ctx.Err() == nil {
					x.stop(err)
				}
			}
		}
	}
}

// piece claims the first ready instances of [from, to) and passes them on. It returns where to go on, or
// nil. What becomes ready before that place is told.
func (x *running) piece(from, to []byte) (next []byte, err error) {
	e := x.r.e
	var jobs []*job
	var keys [][]byte
	defer func() {
		for _, j := range jobs {
			e.release(j.key, j.cl)
		}
	}()
	for kv, err := range e.h.Scan(x.ctx, from, to) {
		if err != nil {
			return nil, err
		}
		if len(jobs) == cap(x.found) {
			next = bytes.Clone(kv.Key)
			break
		}
		key := string(kv.Key[1:])
		if cl := e.claim(key); cl != nil {
			jobs = append(jobs, &job{key: key, cl: cl})
			keys = append(keys, prefixed('i', kv.Key[1:]))
		}
	}
	// Read behind the claims: what those who had the instances before have committed is in it.
	err = e.h.GetMany(x.ctx, keys, func(_ int, value []byte) (err error) {
		j := jobs[0]
		if len(value) <= maxAhead {
			if j.in, err = decodeInstance(value); err != nil {
				return err
			}
			if !j.in.ready() || x.r.definition(j.in) == nil {
				e.release(j.key, j.cl)
				jobs = jobs[1:]
				return nil
			}
		}
		select {
		case <-x.ctx.Done():
			return x.ctx.Err()
		case x.found <- j:
			jobs = jobs[1:]
			return nil
		}
	})
	return next, err
}

// end waits for what is under way.
func (x *running) end() {
	done := make(chan struct{})
	go func() {
		x.wg.Wait()
		close(done)
	}()
	grace := x.r.e.l.Options().Clock.NewTimer(x.o.grace)
	defer grace.Stop()
	select {
	case <-done:
	case <-x.r.e.ctx.Done():
	case <-grace.C():
	}
	x.hard()
	<-done
	for j := range x.found {
		x.r.e.release(j.key, j.cl)
	}
}

// enqueue notes that an instance was told something. It is called with engine.mu held.
func (r *Runner) enqueue(key string) {
	saga, _, _ := bytes.Cut([]byte(key), []byte{0})
	if r.defs[string(saga)] == nil {
		return
	}
	r.mu.Lock()
	full := len(r.told) >= maxTold
	if !full {
		r.told = append(r.told, key)
	}
	r.mu.Unlock()
	if full {
		notify(r.look)
	}
	notify(r.wake)
}

// pop returns the key of an instance that was told something, or "".
func (r *Runner) pop() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.told) == 0 {
		return ""
	}
	key := r.told[0]
	r.told[0] = ""
	if r.told = r.told[1:]; len(r.told) > 0 {
		notify(r.wake)
	}
	return key
}

// notify puts something into c, which has room for one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
