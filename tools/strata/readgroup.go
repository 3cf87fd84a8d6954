package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
)

// How often what was printed is committed, besides at the end.
const (
	groupCommitRecords = 4096
	groupCommitEvery   = time.Second
)

// groupReader prints the records of a topic as a group, and commits what it has printed.
type groupReader struct {
	a *app
	f *readFlags
	m *consumer.Member

	mu  sync.Mutex // over a print and its mark, and over a flush and its commit
	err error      // of a commit by the clock; guarded by mu
}

// readGroup prints the records of a topic from where the group is, and commits how far it came.
func (a *app) readGroup(ctx context.Context, dir, name string, f *readFlags, start log.Start) error {
	for _, flag := range []string{"partition", "key", "unsynced"} {
		if f.changed(flag) {
			return usage("--%s does not go with --group, which reads whole topics and passes what it prints", flag)
		}
	}
	return a.withLog(dir, mustExist, func(l *log.Log) error {
		if _, err := l.Topic(name); err != nil {
			return err
		}
		if f.changed("count") && f.count == 0 {
			return nil
		}
		m, err := consumer.Join(context.WithoutCancel(ctx), l, f.group, consumer.Options{
			Topics: []string{name}, Start: start, Committing: consumer.CommitExplicit,
		})
		if err != nil {
			return err
		}
		r := &groupReader{a: a, f: f, m: m}
		return errors.Join(r.run(ctx, l.Options().Clock), m.Close())
	})
}

// run prints until the end, and commits what was printed.
func (r *groupReader) run(ctx context.Context, clock log.Clock) error {
	stop := make(chan struct{})
	var byClock sync.WaitGroup
	byClock.Go(func() { r.commitByClock(clock, stop) })
	err := r.print(ctx)
	close(stop)
	byClock.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err = errors.Join(err, r.err); errors.Is(err, errOutputClosed) {
		return err // some of what was handed over has not been read, so it comes again
	}
	err = errors.Join(err, r.commitLocked())
	if r.f.follow && err != nil && errors.Is(err, context.Canceled) {
		return nil // that is how following ends
	}
	return err
}

// print prints records until count is reached, ctx ends, or, unless more is waited for, they do.
func (r *groupReader) print(ctx context.Context) error {
	records := r.m.Available
	if r.f.follow {
		records = r.m.Records
	}
	var text []byte
	count := r.f.count
	sinceCommit := 0
	for rec, err := range records(ctx) {
		switch {
		case ctx.Err() != nil:
			return context.Canceled
		case errors.Is(err, log.ErrCorrupt) || errors.Is(err, log.ErrLost):
			r.a.messages.printf("%s", describe(err))
			r.a.bad = true
			continue
		case err != nil:
			return err
		}
		text = r.f.appendRecord(text[:0], &rec)
		r.mu.Lock()
		_, err = r.a.out.Write(text)
		if err == nil {
			r.m.Mark(rec)
			if sinceCommit++; sinceCommit == groupCommitRecords {
				err, sinceCommit = r.commitLocked(), 0
			}
		}
		err = errors.Join(err, r.err)
		r.mu.Unlock()
		if err != nil {
			return err
		}
		if r.f.follow {
			r.a.out.FlushSoon()
		}
		if count--; count == 0 {
			return nil
		}
	}
	return nil
}

// commitLocked commits what was printed, once it is printed.
func (r *groupReader) commitLocked() error {
	if err := r.a.out.Flush(); err != nil {
		return err
	}
	return r.m.Commit(context.Background())
}

// commitByClock commits what was printed until stop is closed.
func (r *groupReader) commitByClock(clock log.Clock, stop <-chan struct{}) {
	timer := clock.NewTimer(groupCommitEvery)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C():
		}
		r.mu.Lock()
		if r.err == nil {
			r.err = r.commitLocked()
		}
		r.mu.Unlock()
		timer.Reset(groupCommitEvery)
	}
}
