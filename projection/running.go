package projection

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/stratalog/strata/log"
)

// running is one Run, or CatchUp. It belongs to its goroutine.
type running[T any] struct {
	p *Projection[T]
	// work is the build that is carried on, with the checkpoint that the store has. active is the one that
	// readers see, or nil.
	work     Build
	active   *Build
	building bool   // work is not what readers see
	catchUp  bool   // it is CatchUp, which does not wait for Resume
	asked    string // the request that work was made for
	// at is the position in front of which everything is in the store, or did not concern it.
	at uint64
	// done is the checkpoint behind the commit of the log that was read last.
	done Checkpoint

	tx     Transaction[T] // nil when there is none
	events int            // that tx has handled
	fx     effects
	match  matcher
	event  Event
	// gathered are the records of tx that are handled when it is committed, where that is done in parallel.
	gathered gathered
	// gaps are those behind at that take events from the model, by position.
	gaps []*LostError
	// parking are those of passed that tx has met.
	parking []Parked

	// attempts counts the failures of events that may be tried again; passed are those that were given up,
	// nil for ones that are skipped. Both are few: they end with the transaction behind the event.
	attempts map[uint64]int
	passed   map[uint64]*Parked
	// cut is the position of an event before whose commit the transaction is to end; hold one before whose
	// commit reading is to end. 0 is none, since position 0 is never an event's: it holds the creation of a topic.
	cut, hold uint64
}

// batchBytes is how much a transaction may hold before it is committed.
const batchBytes = 8 << 20

// failure is an error of the handler.
type failure struct {
	position uint64
	event    Parked // as it would be parked
	record   log.Record
	cause    error
}

func (f *failure) Error() string { return f.cause.Error() }

func (r *running[T]) phase() Phase {
	if r.building {
		return Building
	}
	return Live
}

func (r *running[T]) rollback() {
	if r.tx != nil {
		r.tx.Rollback()
		r.tx = nil
		r.p.life.turn.Unlock()
	}
	r.events, r.fx.list, r.parking = 0, r.fx.list[:0], r.parking[:0]
	r.gathered.reset()
}

// carry handles what lies before limit. It returns early when Run is paused, or ctx ends.
func (r *running[T]) carry(ctx context.Context, limit uint64) error {
	for {
		err := r.read(ctx, limit)
		var f *failure
		if !errors.As(err, &f) {
			return err
		}
		r.rollback()
		if ctx.Err() != nil {
			return ctx.Err() // the handler may have failed for that
		}
		if err := r.p.broken(ctx, f.cause); err != nil {
			return err
		}
		if err := r.failed(ctx, f, limit); err != nil {
			return err
		}
	}
}

// read handles the records of [at, limit). On an error the transaction is still open.
func (r *running[T]) read(ctx context.Context, limit uint64) error {
	if r.at >= limit {
		return ctx.Err()
	}
	var behind Checkpoint
	o := log.ReadOptions{Topics: r.p.d.Wants, Behind: &behind}
	r.done = Checkpoint{Position: r.at} // not one to be stored: that comes with the first record
	for rec, err := range r.p.l.Read(log.AtPosition(r.at), o) {
		if err != nil {
			if !r.passable(err) {
				return r.stopped(ctx, limit, err)
			}
			continue
		}
		if rec.Position >= limit {
			break
		}
		if rec.Position >= r.done.Position { // the first that is read of another commit
			over, err := r.between(ctx, &behind)
			if err != nil {
				return err
			}
			if over {
				return ctx.Err()
			}
		}
		r.done = behind
		if err := r.take(ctx, &rec); err != nil {
			return err
		}
	}
	if err := r.flush(ctx, limit); err != nil {
		return err
	}
	r.at = limit
	r.advanced(0)
	return nil
}

// between is called between commits of the log: behind is the checkpoint behind the next one. It reports whether
// reading is to end here.
func (r *running[T]) between(ctx context.Context, behind *Checkpoint) (over bool, err error) {
	d := r.p.d
	over = ctx.Err() != nil || !r.catchUp && r.p.life.isPaused() || r.hold > 0 && behind.Position > r.hold
	full := r.events+len(r.gathered.records) >= d.o.BatchEvents || r.tx != nil && r.tx.Bytes()+r.gathered.bytes >= batchBytes
	if over || full || r.cut > 0 && behind.Position > r.cut {
		if behind.Position > r.cut {
			r.cut = 0
		}
		if err := r.commit(ctx); err != nil {
			return true, err
		}
	}
	return over, nil
}

// stopped commits what lies in front of an error of reading, and returns it. When that was met within a commit of the
// log, the checkpoint must not lie behind that commit: all before it is read again.
func (r *running[T]) stopped(ctx context.Context, limit uint64, cause error) error {
	if !r.within(cause) {
		return errors.Join(cause, r.commit(ctx))
	}
	r.rollback()
	if r.hold > 0 {
		return cause // what is asked for lies behind
	}
	r.hold = r.done.Position - 1
	err := r.read(ctx, limit)
	r.hold = 0
	return errors.Join(cause, err)
}

// within reports whether what was read last is of the commit in which damage was met, or may be.
func (r *running[T]) within(cause error) bool {
	if r.done.Log == (log.UUID{}) {
		return false // nothing was read
	}
	var corrupt *log.CorruptError
	var lost *log.LostError
	switch {
	case errors.As(cause, &corrupt):
		return corrupt.Position < r.done.Position
	case errors.As(cause, &lost):
		t, err := r.p.l.Topic(lost.Topic)
		if err != nil {
			return true
		}
		rec, err := t.Partition(lost.Partition).Get(lost.To)
		return err != nil || rec.Position < r.done.Position
	}
	return false
}

// leave stores how far the build has come, behind an error that ends the run.
func (r *running[T]) leave(ctx context.Context, cause error) error {
	err := r.save(ctx)
	if err != nil && ended(ctx, cause) {
		return err // rather than that ctx has ended
	}
	return errors.Join(cause, err)
}

// passable reports whether an error of reading is passed over.
func (r *running[T]) passable(err error) bool {
	if r.p.d.o.Poison == PoisonStops || !errors.Is(err, log.ErrCorrupt) && !errors.Is(err, log.ErrLost) {
		return false
	}
	r.p.l.Options().Logger.Warn("records passed over", "projection", r.p.d.name, "error", err.Error())
	return true
}

// take handles a record.
func (r *running[T]) take(ctx context.Context, rec *log.Record) error {
	wanted, err := r.match.decode(rec, &r.event)
	if !wanted {
		return nil
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	if parked, given := r.passed[rec.Position]; given {
		r.events++
		if parked != nil {
			r.parking = append(r.parking, *parked)
		}
		return nil
	}
	if r.p.d.o.Parallel > 1 {
		r.gathered.add(rec)
		return nil
	}
	r.events++
	r.event.fx = &r.fx
	if err == nil {
		err = r.p.d.handle(r.tx.Handle(), &r.event)
	}
	if err != nil {
		return newFailure(rec, err)
	}
	return nil
}

// begin begins a transaction where there is none.
func (r *running[T]) begin(ctx context.Context) error {
	if r.tx != nil {
		return nil
	}
	r.p.life.turn.Lock()
	tx, err := r.p.store.Begin(ctx, r.p.d.name, r.work)
	if err != nil {
		r.p.life.turn.Unlock()
		return err
	}
	r.tx = tx
	return nil
}

func newFailure(rec *log.Record, cause error) *failure {
	return &failure{
		position: rec.Position, record: rec.Clone(), cause: cause,
		event: Parked{
			Position: rec.Position, Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Cause: cause.Error(), Time: rec.Timestamp,
		},
	}
}

// flush commits what is left in front of limit, which may lie within a commit of the log.
func (r *running[T]) flush(ctx context.Context, limit uint64) error {
	if r.done.Position > limit {
		at, err := r.p.l.Checkpoint(limit)
		if err != nil {
			return err
		}
		r.done = at
	}
	return r.commit(ctx)
}

// commit runs the effects and commits the transaction, if there is one, with the checkpoint done.
func (r *running[T]) commit(ctx context.Context) error {
	if r.tx == nil {
		r.at = max(r.at, r.done.Position)
		return nil
	}
	if len(r.gathered.records) > 0 {
		if err := r.spread(); err != nil {
			return err
		}
	}
	for _, e := range r.fx.list {
		if err := e.run(ctx); err != nil {
			return r.effectFailed(e.position, err)
		}
	}
	tx, events := r.tx, r.events
	change := Change{From: r.work.Checkpoint, To: r.done, Park: r.parking}
	err := tx.Commit(ctx, change)
	r.tx = nil
	r.p.life.turn.Unlock()
	if err != nil {
		r.rollback()
		return err
	}
	r.work.Checkpoint, r.at = r.done, r.done.Position
	if len(r.parking) > 0 {
		n := len(r.parking)
		r.p.life.update(func(pr *Progress) { pr.Parked += n })
	}
	r.rollback()
	maps.DeleteFunc(r.passed, func(position uint64, _ *Parked) bool { return position < r.at })
	maps.DeleteFunc(r.attempts, func(position uint64, _ int) bool { return position < r.at })
	r.advanced(events)
	r.p.publish(false)
	return nil
}

// effectFailed returns the failure of an event whose effect has failed.
func (r *running[T]) effectFailed(position uint64, cause error) error {
	for rec, err := range r.p.l.Read(log.AtPosition(position)) {
		if err != nil {
			return errors.Join(cause, err)
		}
		return newFailure(&rec, cause)
	}
	return cause
}

// advanced tells how far the build has come.
func (r *running[T]) advanced(events int) { r.p.life.advanced(r.at, events, !r.building) }

// idlePositions is after how many positions without events the checkpoint is stored nevertheless.
const idlePositions = 1 << 17

// save stores how far the build has come, where only records that did not concern it lie behind the
// checkpoint.
func (r *running[T]) save(ctx context.Context) error {
	if r.tx != nil || r.at <= r.work.Checkpoint.Position {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	to, err := r.p.l.Checkpoint(r.at)
	if errors.Is(err, log.ErrClosed) {
		return nil // it is read once more
	}
	if err != nil {
		return err
	}
	r.p.life.turn.Lock()
	defer r.p.life.turn.Unlock()
	tx, err := r.p.store.Begin(ctx, r.p.d.name, r.work)
	if err == nil {
		err = tx.Commit(ctx, Change{From: r.work.Checkpoint, To: to})
	}
	if errors.Is(err, ErrClosed) {
		return nil
	}
	if err == nil {
		r.work.Checkpoint = to
	}
	return err
}

// complete makes readers see the build, and drops the one that they saw.
func (r *running[T]) complete(ctx context.Context) error {
	p := r.p
	if err := r.save(ctx); err != nil {
		return err
	}
	if err := p.store.Switch(ctx, p.d.name, r.work); err != nil {
		return err
	}
	r.building = false
	p.life.update(func(pr *Progress) { pr.Phase, pr.ActiveVersion = Live, r.work.Version })
	r.advanced(0)
	if err := p.sync(ctx); err != nil { // what readers saw once they see, whatever crashes
		return err
	}
	if old := r.active; old != nil {
		if err := p.store.Drop(ctx, p.d.name, *old); err != nil {
			return fmt.Errorf("projection: %q: drop version %d: %w", p.d.name, old.Version, err)
		}
	}
	if r.asked != "" {
		p.board.resetDone(r.asked)
	}
	active := r.work
	r.active = &active
	p.publish(true)
	return nil
}
