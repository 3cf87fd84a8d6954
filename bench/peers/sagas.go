package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cschleiden/go-workflows/backend"
	"github.com/cschleiden/go-workflows/backend/sqlite"
	"github.com/cschleiden/go-workflows/client"
	"github.com/cschleiden/go-workflows/worker"
	"github.com/cschleiden/go-workflows/workflow"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

// sagaEngines are those of W20: reserve, pay and ship, each an action that does nothing, durably.
func sagaEngines() []engine {
	only := []string{"W20"}
	return []engine{
		{name: "strata-saga", only: only, open: openSagas,
			note: "a step is intended before it is called, with an idempotency key: one synced commit a step, and one at each end"},
		{name: "go-workflows", only: only, open: openWorkflows,
			note: "SQLite, WAL, synced; looks for work every millisecond rather than the default of 200; the last commit is not waited for"},
	}
}

func isSagas(e engine) bool { return slices.Equal(e.only, []string{"W20"}) }

// sagaWorkloads is W20.
func sagaWorkloads() []workload {
	return []workload{{
		name: "W20", title: "sagas of three steps, synced, so many at once", unit: "sagas/s", value: "rate",
		cases: []string{"1-at-once", "64-at-once"}, takes: isSagas, trial: sagas,
	}}
}

// sagaStore carries out sagas.
type sagaStore interface {
	// begin begins a saga and returns what is closed when it has ended.
	begin(id string) (ended <-chan struct{}, err error)
}

// sagas is a trial of W20.
func sagas(b *run, e engine, name string) (v values, err error) {
	atOnce := 1
	if name == "64-at-once" {
		atOnce = 64
	}
	dir, remove, err := b.newDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	s, err := e.open(dir, options{sync: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	limit := time.Duration(b.syncedSeconds * float64(time.Second))
	var all histogram
	var mu sync.Mutex // guards all and failed
	var failed error
	var wg sync.WaitGroup
	var next atomic.Int64
	runtime.GC()
	began := time.Now()
	for range atOnce {
		wg.Go(func() {
			for time.Since(began) < limit {
				start := time.Now()
				ended, err := s.(sagaStore).begin(fmt.Sprint("saga-", next.Add(1)))
				if err == nil {
					select {
					case <-ended:
					case <-time.After(30 * time.Second):
						err = errors.New("a saga has not ended in 30 s")
					}
				}
				mu.Lock()
				all.add(time.Since(start))
				failed = errors.Join(failed, err)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if failed != nil {
		return nil, failed
	}
	return values{"rate": float64(all.count) / took.Seconds(), "p50": all.quantile(0.5), "p99": all.quantile(0.99), "p999": all.quantile(0.999)}, nil
}

// waiting are sagas that have begun, by id.
type waiting struct{ m sync.Map }

func (w *waiting) add(id string) <-chan struct{} {
	c := make(chan struct{})
	w.m.Store(id, c)
	return c
}

func (w *waiting) ended(id string) {
	if c, ok := w.m.LoadAndDelete(id); ok {
		close(c.(chan struct{}))
	}
}

type strataSagas struct {
	noWriter
	waiting
	l    *log.Log
	r    *saga.Runner
	stop func() error
}

type cart struct{ Item string }

func openSagas(dir string, _ options) (store, error) {
	l, err := log.Open(dir, log.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return nil, err
	}
	nothing := func(context.Context, *cart, *saga.Task) error { return nil }
	r, err := saga.NewRunner(l, saga.Define[cart]("order").
		Step("reserve", nothing, nothing).Step("pay", nothing, nothing).Step("ship", nothing, nil, saga.Pivot()))
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &strataSagas{l: l, r: r}
	ctx, cancel := context.WithCancel(background)
	done := make(chan error, 1)
	go func() {
		done <- r.Run(ctx, saga.Observe(func(in saga.Instance, _ []saga.Event) {
			if in.Status == saga.Completed {
				s.ended(in.ID)
			}
		}))
	}()
	s.stop = func() error { cancel(); return <-done }
	return s, nil
}

func (s *strataSagas) begin(id string) (<-chan struct{}, error) {
	ended := s.add(id)
	return ended, s.r.Start(background, id, cart{"book"})
}

func (s *strataSagas) close() error { return errors.Join(s.stop(), s.l.Close()) }

type workflows struct {
	noWriter
	waiting
	b    interface{ Close() error }
	c    *client.Client
	w    *worker.Worker
	stop context.CancelFunc
}

func openWorkflows(dir string, _ options) (store, error) {
	b := sqlite.NewSqliteBackend(filepath.Join(dir, "workflows.sqlite"),
		sqlite.WithBackendOptions(backend.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))))
	o := worker.DefaultOptions
	o.WorkflowPollingInterval, o.ActivityPollingInterval = time.Millisecond, time.Millisecond
	o.WorkflowPollers, o.ActivityPollers = 4, 4
	o.WorkflowExecutorCacheSize = 1024
	o.SingleWorkerMode = true
	s := &workflows{b: b, c: client.New(b), w: worker.New(b, &o)}
	err := errors.Join(s.w.RegisterWorkflow(s.order), s.w.RegisterActivity(step))
	var ctx context.Context
	ctx, s.stop = context.WithCancel(background)
	if err == nil {
		err = s.w.Start(ctx)
	}
	if err != nil {
		s.stop()
		return nil, errors.Join(err, b.Close())
	}
	return s, nil
}

func step(context.Context, string) error { return nil }

// order is the workflow. It tells that it has ended before its last commit, since waiting for that is by
// polling.
func (s *workflows) order(ctx workflow.Context, id string) error {
	for _, name := range []string{"reserve", "pay", "ship"} {
		if _, err := workflow.ExecuteActivity[any](ctx, workflow.DefaultActivityOptions, step, name).Get(ctx); err != nil {
			return err
		}
	}
	s.ended(id)
	return nil
}

func (s *workflows) begin(id string) (<-chan struct{}, error) {
	ended := s.add(id)
	_, err := s.c.CreateWorkflowInstance(background, client.WorkflowInstanceOptions{InstanceID: id}, s.order, id)
	return ended, err
}

func (s *workflows) close() error {
	s.stop()
	return errors.Join(s.w.WaitForCompletion(), s.b.Close())
}
