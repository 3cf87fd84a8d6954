package log

import (
	"context"
	"errors"
)

// Commit commits c and waits until it has its durability, or ctx ends. Once it was sequenced, a ctx
// that ends makes it return an *UnknownError: the commit is then there whole, or not at all. Any other
// error means that nothing of it is there, but for a *FailedError, which leaves that to the next
// opening.
//
// Afterwards c must be Reset before it is used again.
func (c *Commit) Commit(ctx context.Context) (Result, error) {
	l := c.l
	payload, err := c.prepare(ctx)
	if err != nil {
		return Result{}, err
	}
	w := l.newWaiter()
	*w = waiter{durability: c.durability, c: w.c, err: errUndecided}
	l.mu.Lock()
	if dup, err := l.sequenceLocked(ctx, c, payload, w); err != nil || dup != nil {
		l.mu.Unlock()
		l.waiters.Put(w)
		return l.refuse(c, dup, err)
	}
	r := c.result()
	if c.durability == Buffered {
		l.wakeScribeLocked()
		l.mu.Unlock()
		l.waiters.Put(w)
		return r, nil
	}
	if mine := !l.pen.held; mine {
		l.pen.held, w.writing = true, true
		l.mu.Unlock()
		l.writeAndPass(w)
		err = w.err
		l.waiters.Put(w)
	} else {
		l.mu.Unlock()
		err = l.await(ctx, c, w)
	}
	if err != nil {
		return Result{}, err
	}
	return r, nil
}

// errUndecided is what a commit would get that nobody has decided.
var errUndecided = errors.New("log: a commit was not decided")

var errUsed = errors.New("log: a commit was used twice without Reset")

// prepare does what needs no lock.
func (c *Commit) prepare(ctx context.Context) (payload uint64, err error) {
	if c.err != nil {
		return 0, c.err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if c.durability == defaultDurability {
		c.durability = c.l.o.Durability
	}
	if err := c.resolve(ctx); err != nil {
		return 0, err
	}
	if payload, err = c.encode(); err != nil {
		return 0, err
	}
	return payload, c.readAnswers()
}

// refuse returns what a commit gets that was not sequenced, dup or err, when what that rests on is
// durable.
func (l *Log) refuse(c *Commit, dup *Result, err error) (Result, error) {
	if restErr := l.rest(c); restErr != nil {
		return Result{}, restErr
	}
	if dup != nil {
		return *dup, nil
	}
	return Result{}, err
}

// writeAndPass is what the holder of the pen does, who waits for w; nil for nobody. It decides w, whose commit is
// pending.
func (l *Log) writeAndPass(w *waiter) {
	l.join()
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.writePendingLocked() // its waiters have been told
	l.passPenLocked()
	if w != nil {
		w.writing = false
	}
}

// await waits for w to be decided, and writes when it is given the pen.
func (l *Log) await(ctx context.Context, c *Commit, w *waiter) error {
	if ctx.Done() == nil { // a receive costs a third of what a select does
		if <-w.c == given {
			l.writeAndPass(w)
		}
		err := w.err
		l.waiters.Put(w)
		return err
	}
	for {
		select {
		case s := <-w.c:
			if s == given {
				l.writeAndPass(w)
			}
			err := w.err
			l.waiters.Put(w)
			return err
		case <-ctx.Done():
			l.mu.Lock()
			select {
			case s := <-w.c:
				l.mu.Unlock()
				w.c <- s // it has room: it was just taken out
				ctx = context.WithoutCancel(ctx)
				continue
			default:
			}
			if w.decided {
				l.mu.Unlock()
				ctx = context.WithoutCancel(ctx) // the signal is under way
				continue
			}
			w.gone = true
			l.mu.Unlock()
			c.disown()
			return &UnknownError{Cause: context.Cause(ctx)}
		}
	}
}

// disown leaves the memory of c to the commit group that still has it.
func (c *Commit) disown() {
	c.pieces, c.free, c.frame, c.own = nil, nil, nil, nil
}

// sequenceLocked gives c its place in the log: the verdict on its conditions falls, and offsets and
// positions are assigned. w is nil for a commit that nobody waits for by blocking. It returns with mu
// held, which it may have given up in between.
func (l *Log) sequenceLocked(ctx context.Context, c *Commit, payload uint64, w *waiter) (dup *Result, err error) {
	for {
		if err := l.makeRoomLocked(ctx, int64(len(c.frame)), c.freeing); err != nil {
			return nil, err
		}
		if err := l.usableLocked(); err != nil {
			return nil, err
		}
		for _, pc := range c.pieces {
			if err := pc.p.check(); err != nil {
				return nil, err
			}
		}
		if l.freshLocked(c) {
			break
		}
		l.mu.Unlock()
		err := c.readAnswers()
		l.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	if dup, err := l.verdictLocked(c); err != nil || dup != nil {
		return dup, err
	}
	g := l.pending
	if g.commits == 0 {
		g.start = l.tail.byte
		g.time = l.readTimeLocked()
		l.groupOpen.Store(true)
	}
	l.lastTime = max(l.lastTime, g.time)
	c.place(l.position, l.lastTime, payload)
	for _, pc := range c.pieces {
		l.position += uint64(pc.count)
	}
	if c.sequenced != nil {
		c.sequenced()
	}
	l.sequencedLocked(c)
	c.err = errUsed
	g.add(c.frame, c.durability != Buffered && (w == nil || w.ack == nil), !l.pen.held)
	g.position = l.position
	l.tail.byte += int64(len(c.frame))
	l.appended += int64(len(c.frame))
	l.arrived.Add(1)
	l.count.sequenced.Add(1)
	if c.durability != Buffered {
		g.waiters = append(g.waiters, w)
		g.sync = g.sync || c.durability == Synced
		g.unsynced = g.unsynced || c.durability == Written
		g.hurry = true
	}
	return nil, nil
}

// readTimeLocked reads the log's time, in microseconds since 1970.
func (l *Log) readTimeLocked() int64 {
	t := l.time.read()
	l.coarse.Store(t / 1000)
	return t
}

// nowMS returns the log's time in milliseconds since 1970: while commits are pending, that of the
// first of them, since reading the clock costs a fifth of an append.
func (l *Log) nowMS() int64 {
	if l.groupOpen.Load() {
		return l.coarse.Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readTimeLocked() / 1000
}

// Ack is a commit under way. Its methods may be called concurrently.
type Ack struct {
	done   chan struct{}
	result Result
	err    error // set before done is closed
	// sequenced says that the commit has its place. Set before CommitAsync returns.
	sequenced bool
	end       uint64 // behind its last record, of one that is sequenced; set with that
}

// Sequenced reports whether the commit has got its place in the log, which is so or not when CommitAsync
// returns: it will be there unless the log fails, and with it every later commit. One that is refused, or a
// duplicate, has none.
func (a *Ack) Sequenced() bool { return a.sequenced }

// End returns the position behind the last record of a commit that is Sequenced: who waits for that by
// ViewHandle.Wait sees the commit applied, before it is synced.
func (a *Ack) End() uint64 { return a.end }

// Done is closed when the commit is decided.
func (a *Ack) Done() <-chan struct{} { return a.done }

// Wait waits for the commit and returns what Commit.Commit would. When ctx ends first it returns an
// *UnknownError; the commit goes on.
func (a *Ack) Wait(ctx context.Context) (Result, error) {
	select {
	case <-a.done:
	default:
		select {
		case <-a.done:
		case <-ctx.Done():
			return Result{}, &UnknownError{Cause: context.Cause(ctx)}
		}
	}
	if a.err != nil {
		return Result{}, a.err
	}
	return a.result, nil
}

// CommitAsync sequences c and returns a handle, without waiting for the commit's durability. Commits
// are decided in the order in which they were sequenced, those of each durability by themselves. ctx
// bounds the wait for room only. Afterwards c must be Reset before it is used again, which may be done
// at once.
func (c *Commit) CommitAsync(ctx context.Context) *Ack {
	a := &Ack{done: make(chan struct{})}
	refuse := func(err error) *Ack {
		a.err = err
		close(a.done)
		return a
	}
	payload, err := c.prepare(ctx)
	if err != nil {
		return refuse(err)
	}
	l := c.l
	w := &waiter{durability: c.durability, ack: a}
	l.mu.Lock()
	defer l.mu.Unlock()
	dup, err := l.sequenceLocked(ctx, c, payload, w)
	if err != nil && c.rests == 0 {
		return refuse(err)
	}
	if err != nil || dup != nil {
		// The answer waits for what it rests on; this call does not.
		asked := &Commit{l: l, durability: c.durability, rests: c.rests}
		l.answering.Add(1)
		go func() {
			defer l.answering.Done()
			a.result, a.err = l.refuse(asked, dup, err)
			close(a.done)
		}()
		return a
	}
	a.sequenced, a.end = true, l.position
	a.result = c.result()
	a.result.batches = append([]AppendedBatch(nil), a.result.batches...)
	a.result.refs = append([]ref(nil), a.result.refs...)
	if c.durability == Buffered {
		l.wakeScribeLocked()
		close(a.done)
		return a
	}
	if !l.pen.held {
		l.callScribeLocked()
	}
	return a
}
