package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

func newAccounts(t testing.TB) *aggregate.Repository[Account] {
	t.Helper()
	s, _ := newStore(t)
	return accountsOf(t, s, accountType)
}

func accountsOf(t testing.TB, s *aggregate.Store, at *aggregate.Type[Account]) *aggregate.Repository[Account] {
	t.Helper()
	r, err := aggregate.NewRepository(s, at)
	require.NoError(t, err)
	return r
}

func deposit(t testing.TB, r *aggregate.Repository[Account], id string, amounts ...int) {
	t.Helper()
	for _, n := range amounts {
		_, err := r.Handle(ctx, id, func(a *Account) error { return a.Deposit(n) })
		require.NoError(t, err)
	}
}

func TestHandle(t *testing.T) {
	r := newAccounts(t)
	_, err := r.Load(ctx, "1")
	require.ErrorIs(t, err, aggregate.ErrNoStream)
	res, err := r.Handle(ctx, "1", func(a *Account) error {
		require.EqualValues(t, 0, a.Version())
		return a.Deposit(100)
	})
	require.NoError(t, err)
	require.Equal(t, []aggregate.Appended{{Stream: "account-1", First: 1, Version: 2}}, res.Streams)

	_, err = r.Handle(ctx, "1", func(a *Account) error { return a.Withdraw(101) })
	require.ErrorIs(t, err, errFunds)
	res, err = r.Handle(ctx, "1", func(*Account) error { return nil })
	require.NoError(t, err)
	require.EqualValues(t, 2, res.Version("account-1"))
	_, err = r.Handle(ctx, "1", func(a *Account) error { return a.Withdraw(30) })
	require.NoError(t, err)

	a, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, "1", a.ID())
	require.EqualValues(t, 3, a.Version())
	require.Equal(t, 70, a.Balance)
	require.Equal(t, "1", a.Owner)

	// Two have loaded it; the second one to save is told.
	b, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.NoError(t, a.Withdraw(1))
	require.NoError(t, b.Withdraw(2))
	_, err = r.Save(ctx, a)
	require.NoError(t, err)
	require.EqualValues(t, 4, a.Version())
	require.Empty(t, a.Changes())
	_, err = r.Save(ctx, b)
	require.ErrorIs(t, err, aggregate.ErrVersionConflict)
	require.Len(t, b.Changes(), 1)
	require.NoError(t, a.Withdraw(1))
	_, err = r.Save(ctx, a)
	require.NoError(t, err)
	stale, err := r.Load(ctx, "1", aggregate.AsOf{Version: 2})
	require.NoError(t, err)
	_, err = r.Save(ctx, stale)
	require.ErrorIs(t, err, aggregate.ErrVersionConflict)

	a, err = r.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, 68, a.Balance)

	require.NoError(t, r.Store().End(ctx, "account-1", aggregate.Any))
	_, err = r.Load(ctx, "1")
	require.ErrorIs(t, err, aggregate.ErrTombstone)
	_, err = r.Handle(ctx, "1", func(a *Account) error { return a.Deposit(1) })
	require.ErrorIs(t, err, aggregate.ErrTombstone)
}

func TestHandleRetries(t *testing.T) {
	r := newAccounts(t)
	deposit(t, r, "1", 10)
	calls := 0
	intrude := func(until int) func(*Account) error {
		calls = 0
		return func(a *Account) error {
			if calls++; calls <= until {
				// Somebody else appends in between.
				e, err := accountEvents.Encode(Deposited{1})
				require.NoError(t, err)
				_, err = r.Store().Append(ctx, "account-1", aggregate.Exists, e)
				require.NoError(t, err)
			}
			return a.Withdraw(1)
		}
	}
	_, err := r.Handle(ctx, "1", intrude(3))
	require.NoError(t, err)
	require.Equal(t, 4, calls)
	_, err = r.Handle(ctx, "1", intrude(100), aggregate.SaveOptions{Retries: 2})
	require.ErrorIs(t, err, aggregate.ErrVersionConflict)
	require.Equal(t, 3, calls)
	_, err = r.Handle(ctx, "1", intrude(100), aggregate.SaveOptions{Retries: -1})
	require.ErrorIs(t, err, aggregate.ErrVersionConflict)
	require.Equal(t, 1, calls)
	_, err = r.Handle(ctx, "1", intrude(100))
	require.ErrorIs(t, err, aggregate.ErrVersionConflict)
	require.Equal(t, 17, calls)

	// The turn of a caller who stops waiting passes on.
	entered, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := r.Handle(ctx, "1", func(*Account) error { close(entered); <-leave; return nil })
		require.NoError(t, err)
	})
	<-entered
	short, cancel := context.WithCancel(ctx)
	cancel()
	_, err = r.Handle(short, "1", func(*Account) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
	close(leave)
	wg.Wait()
	deposit(t, r, "1", 1)

	// So does that of one who panics.
	require.Panics(t, func() { _, _ = r.Handle(ctx, "1", func(*Account) error { panic("a bug") }) })
	deposit(t, r, "1", 1)
	panicking := aggregate.Batch{
		Appends: []aggregate.Append{{"account-1", aggregate.Any, events("x")}},
		With:    func(*log.Commit) error { panic("a bug") },
	}
	require.Panics(t, func() { _, _ = r.Store().Commit(ctx, panicking) })
	panicking.With = nil
	_, err = r.Store().Commit(ctx, panicking)
	require.NoError(t, err)
}

// TestHandleAfterForeignFailure shows that nobody decides on events that did not happen: commands of one
// aggregate in turn, half of whose commits are refused for a reason of their own, while others append, too.
func TestHandleAfterForeignFailure(t *testing.T) {
	r := newAccounts(t)
	deposit(t, r, "1", 0)
	var done atomic.Int64
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 20 {
				o := aggregate.SaveOptions{With: func(c *log.Commit) error {
					if (w+i)%2 == 0 {
						c.Require(r.Store().Expect("account-none", aggregate.Exists)) // does not hold
					}
					return nil
				}}
				if w%4 == 3 {
					o.CommandID = fmt.Sprint("c-", w, "-", i/2) // each comes twice
				}
				res, err := r.Handle(ctx, "1", func(a *Account) error { return a.Deposit(1) }, o)
				switch {
				case err == nil && !res.Duplicate:
					done.Add(1)
				case err != nil && !errors.Is(err, aggregate.ErrVersionConflict):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	a, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.EqualValues(t, done.Load(), a.Balance)
	require.EqualValues(t, done.Load()+2, a.Version())
	require.Greater(t, done.Load(), int64(100))
}

// TestManyHandlesOneStream handles commands of 64 goroutines on one aggregate: none is lost, and the versions
// are 1..n.
func TestManyHandlesOneStream(t *testing.T) {
	r := newAccounts(t)
	const workers, each = 64, 5
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := r.Handle(ctx, "1", func(a *Account) error { return a.Deposit(1) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	a, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, workers*each, a.Balance)
	require.EqualValues(t, workers*each+1, a.Version())
	require.Len(t, load(t, r.Store(), "account-1"), workers*each+1)
}

func TestHandleCommandOnce(t *testing.T) {
	r := newAccounts(t)
	o := aggregate.SaveOptions{Origin: aggregate.Origin{
		CommandID: "c-1", CorrelationID: "corr", CausationID: "cause", Tenant: "t", Metadata: map[string]string{"user": "u"},
	}}
	calls := 0
	decide := func(a *Account) error { calls++; return a.Deposit(5) }
	first, err := r.Handle(ctx, "1", decide, o)
	require.NoError(t, err)
	deposit(t, r, "1", 1)
	again, err := r.Handle(ctx, "1", decide, o)
	require.NoError(t, err)
	require.Equal(t, 1, calls)
	require.True(t, again.Duplicate)
	require.Equal(t, first.Streams, again.Streams)
	require.Equal(t, first.Position, again.Position)
	_, err = r.Handle(ctx, "2", decide, o)
	require.ErrorIs(t, err, aggregate.ErrCommand)
	for e, err := range r.Store().Load(ctx, "account-1", aggregate.LoadOptions{To: 2}) {
		require.NoError(t, err)
		require.Equal(t, []string{"c-1", "corr", "cause", "t", "u", "application/json"},
			[]string{e.CommandID, e.CorrelationID, e.CausationID, e.Tenant, e.Metadata["user"], e.ContentType})
	}

	// A command that decides nothing is done, too.
	o.CommandID = "c-2"
	nothing := func(*Account) error { calls++; return nil }
	for range 2 {
		_, err = r.Handle(ctx, "1", nothing, o)
		require.NoError(t, err)
	}
	require.Equal(t, 2, calls)

	// A command that was refused was not done.
	o.CommandID = "c-3"
	for range 2 {
		_, err = r.Handle(ctx, "1", func(a *Account) error { calls++; return a.Withdraw(100) }, o)
		require.ErrorIs(t, err, errFunds)
	}
	require.Equal(t, 4, calls)

	// With rides along, and only once.
	mails, err := r.Store().Log().CreateTopic(ctx, "mails", log.TopicOptions{})
	require.NoError(t, err)
	o = aggregate.SaveOptions{
		Origin: aggregate.Origin{CommandID: "c-4"},
		With:   func(c *log.Commit) error { c.Append(mails, log.Record{Value: []byte("x")}); return nil },
	}
	for range 2 {
		_, err = r.Handle(ctx, "1", decide, o)
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, mails.Partition(0).Next())
}

func TestTransferBetweenAggregates(t *testing.T) {
	r := newAccounts(t)
	deposit(t, r, "a", 10)
	deposit(t, r, "b", 1)
	transfer := func() error {
		a, err := r.Load(ctx, "a")
		require.NoError(t, err)
		b, err := r.Load(ctx, "b")
		require.NoError(t, err)
		require.NoError(t, a.Withdraw(3))
		require.NoError(t, b.Deposit(3))
		deposit(t, r, "c", 1) // of no concern
		from, err := r.Append(a)
		require.NoError(t, err)
		to, err := r.Append(b)
		require.NoError(t, err)
		_, err = r.Store().Commit(ctx, aggregate.Batch{Appends: []aggregate.Append{from, to}})
		return err
	}
	require.NoError(t, transfer())
	a, err := r.Load(ctx, "a")
	require.NoError(t, err)
	b, err := r.Load(ctx, "b")
	require.NoError(t, err)
	require.Equal(t, []int{7, 4}, []int{a.Balance, b.Balance})
}

func TestLoadAsOf(t *testing.T) {
	s, c := newStore(t)
	r := accountsOf(t, s, aggregate.Define("account", accountEvents, (*Account).apply).Snapshots(1, 3))
	var positions []uint64
	for range 10 {
		res, err := r.Handle(ctx, "1", func(a *Account) error { return a.Deposit(10) })
		require.NoError(t, err)
		positions = append(positions, res.Position)
		c.Advance(time.Second)
	}
	for i := range 10 {
		for name, asOf := range map[string]aggregate.AsOf{
			"version": {Version: uint64(i + 2)}, "time": {Time: start.Add(time.Duration(i) * time.Second)}, "position": {Position: positions[i]},
		} {
			a, err := r.Load(ctx, "1", asOf)
			require.NoError(t, err, name)
			require.Equal(t, 10*(i+1), a.Balance, name)
			require.EqualValues(t, i+2, a.Version(), name)
		}
	}
	_, err := r.Load(ctx, "1", aggregate.AsOf{Time: start.Add(-time.Second)})
	require.ErrorIs(t, err, aggregate.ErrNoStream)
}

func TestDefinitionErrors(t *testing.T) {
	s, _ := newStore(t)
	types := aggregate.NewTypes(
		aggregate.EventType[Opened]("a"), aggregate.EventType[Closed]("a"), aggregate.EventType[Opened]("b"),
		aggregate.EventType[Deposited](""), aggregate.EventType[error]("c"),
		aggregate.Upcast("a", 1, nil), aggregate.Upcast("a", 1, nil), aggregate.Upcast("a", 1, func(*aggregate.Event) error { return nil }),
		aggregate.Upcast("a", 1, func(*aggregate.Event) error { return nil }),
	)
	_, err := aggregate.NewRepository(s, aggregate.Define("acc-ount", types, (*Account).apply))
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	for _, part := range []string{"registered twice", "is the type of", "the type is empty", "an interface", "upcast of", `category "acc-ount"`} {
		require.Contains(t, err.Error(), part)
	}
	require.Equal(t, 6, strings.Count(err.Error(), "\n")+1, err)
	var loose Account
	require.ErrorIs(t, loose.Raise(Opened{}), aggregate.ErrInvalid)
	a := accountType.New("1")
	require.NoError(t, a.Deposit(3))
	require.Equal(t, []any{Opened{"1"}, Deposited{3}}, a.Changes())
	require.Error(t, a.Raise(struct{}{}))
	require.Len(t, a.Changes(), 2)
}

func TestCommands(t *testing.T) {
	r := newAccounts(t)
	var trace []string
	around := func(name string) aggregate.Middleware {
		return func(next aggregate.CommandHandler) aggregate.CommandHandler {
			return func(ctx context.Context, c aggregate.Command) (aggregate.Result, error) {
				trace = append(trace, name+" in")
				defer func() { trace = append(trace, name+" out") }()
				return next(ctx, c)
			}
		}
	}
	cs := aggregate.NewCommands(around("outer"), around("inner"))
	aggregate.Route(cs, r, func(c put) string { return c.Account }, func(_ context.Context, a *Account, c put) error {
		trace = append(trace, fmt.Sprint("put ", c.Amount))
		return a.Deposit(c.Amount)
	})
	first, err := cs.Do(ctx, aggregate.Command{Origin: aggregate.Origin{CommandID: "p-1"}, Body: put{"1", 7}})
	require.NoError(t, err)
	require.Equal(t, []string{"outer in", "inner in", "put 7", "inner out", "outer out"}, trace)
	again, err := cs.Do(ctx, aggregate.Command{Origin: aggregate.Origin{CommandID: "p-1"}, Body: put{"1", 7}})
	require.NoError(t, err)
	require.Equal(t, first.Streams, again.Streams)
	_, err = cs.Do(ctx, aggregate.Command{Body: put{"1", -1}})
	require.ErrorIs(t, err, aggregate.ErrRejected)
	require.ErrorIs(t, err, errNegative)
	_, err = cs.Do(ctx, aggregate.Command{Body: 7})
	require.ErrorIs(t, err, aggregate.ErrNoHandler)
	_, err = cs.Do(ctx, aggregate.Command{})
	require.ErrorIs(t, err, aggregate.ErrNoHandler)
	e, err := r.Store().Last(ctx, "account-1")
	require.NoError(t, err)
	require.Equal(t, []string{"p-1", "p-1", "p-1"}, []string{e.CommandID, e.CausationID, e.CorrelationID})
	a, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, 7, a.Balance)
}

type put struct {
	Account string
	Amount  int
}

var errNegative = errors.New("negative")

func (p put) Validate() error {
	if p.Amount < 0 {
		return errNegative
	}
	return nil
}
