package projection

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/stratalog/strata/log"
)

// shared is a transaction that several goroutines can write to.
type shared[T any] interface {
	// fork returns n further handles. Commit takes up what was written to them, and gives an *OrderError when two
	// of them have written one key.
	fork(n int) []T
}

// sharing is a store whose transactions are shared.
type sharing interface{ shares() }

func (s *PebbleStore) shares() {}

// mayShare returns an error when the definition asks for what the store cannot do.
func (p *Projection[T]) mayShare() error {
	if _, ok := p.store.(sharing); p.d.o.Parallel > 1 && !ok {
		return fmt.Errorf("%w: Parallel %d, and transactions of %s are not shared", ErrDefinition, p.d.o.Parallel, p.store.Kind())
	}
	return nil
}

// gathered are the records of a transaction that are handled at once.
type gathered struct {
	records []log.Record
	bytes   int
}

func (g *gathered) add(rec *log.Record) {
	g.records = append(g.records, rec.Clone())
	g.bytes += len(rec.Key) + len(rec.Value) + gatheredBytes
}

// gatheredBytes is about what a record takes in memory besides its bytes.
const gatheredBytes = 512

func (g *gathered) reset() {
	clear(g.records)
	g.records, g.bytes = g.records[:0], 0
}

// lane is one of the goroutines that handle gathered records. It belongs to that until it has ended.
type lane struct {
	match  matcher
	event  Event
	fx     effects
	events int
	failed *failure
	// panicked is what the handler has panicked with, and where, or "".
	panicked string
	// done says that runLane has returned: a handler can also end its goroutine, as a test does that fails.
	done bool
}

// fewRecords is how many are handled one after the other all the same.
const fewRecords = 64

// spread handles what was gathered: records of one key, which is the stream of an event, in one lane. The
// error is the *failure of the lowest position.
func (r *running[T]) spread() error {
	g := &r.gathered
	defer g.reset()
	n := r.p.d.o.Parallel
	var handles []T
	if len(g.records) < fewRecords {
		n, handles = 1, []T{r.tx.Handle()}
	} else {
		handles = r.tx.(shared[T]).fork(n)
	}
	lanes := make([]lane, n)
	var wg sync.WaitGroup
	for i := range lanes {
		ln := &lanes[i]
		ln.match.o, ln.fx.before = &r.p.d.o, r.fx.before
		wg.Go(func() { runLane(r.p.d, ln, handles[i], g.records, i, n) })
	}
	wg.Wait()
	var failed *failure
	for i := range lanes {
		if p := lanes[i].panicked; p != "" {
			panic(p) // where whoever has called Run may recover
		}
		if !lanes[i].done {
			runtime.Goexit() // as where there are no lanes; its events are not in the transaction
		}
		if f := lanes[i].failed; f != nil && (failed == nil || f.position < failed.position) {
			failed = f
		}
		r.events += lanes[i].events
		r.fx.list = append(r.fx.list, lanes[i].fx.list...)
	}
	if failed != nil {
		return failed
	}
	slices.SortStableFunc(r.fx.list, func(a, b effect) int { return cmp.Compare(a.position, b.position) })
	return nil
}

// runLane handles the records whose keys fall to lane i of n.
func runLane[T any](d *Definition[T], ln *lane, tx T, records []log.Record, i, n int) {
	defer func() {
		if v := recover(); v != nil {
			ln.panicked = fmt.Sprintf("%v\n\n%s", v, debug.Stack())
		}
	}()
	handleLane(d, ln, tx, records, i, n)
	ln.done = true
}

func handleLane[T any](d *Definition[T], ln *lane, tx T, records []log.Record, i, n int) {
	for k := range records {
		rec := &records[k]
		if n > 1 && int(maphash.Bytes(laneSeed, rec.Key)%uint64(n)) != i {
			continue
		}
		wanted, err := ln.match.decode(rec, &ln.event)
		if !wanted {
			continue
		}
		ln.events++
		ln.event.fx = &ln.fx
		if err == nil {
			err = d.handle(tx, &ln.event)
		}
		if err != nil {
			ln.failed = newFailure(rec, err)
			return
		}
	}
}

// laneSeed is that of the hash by which lanes are chosen, which has no meaning beyond that.
var laneSeed = maphash.MakeSeed()
