package projection_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// deposit appends an event, and returns the position behind it.
func deposit(s *aggregate.Store, account string, amount int) uint64 {
	return must(s.Append(context.Background(), account, aggregate.Any, aggregate.Event{
		Type: "account.deposited", Data: strconv.AppendInt(nil, int64(amount), 10),
		Time: time.Date(2026, 3, amount%28, 0, 0, 0, 0, time.UTC),
	})).Position
}

// balance is a row of the read model.
type balance struct {
	Amount int
	Last   time.Time
}

var balances = projection.NewTable[balance]("balances").
	Index("day", func(_ string, b balance) []string { return []string{b.Last.Format(time.DateOnly)} })

// booked is the handler: it depends on the model and the event alone.
func booked(tx *projection.Tx, e *projection.Event) error {
	amount, err := strconv.Atoi(string(e.Data))
	if err != nil {
		return err
	}
	return balances.Update(tx, e.Stream, func(b *balance) error {
		b.Amount += amount
		b.Last = e.Time // and not time.Now(): a rebuild must give the same
		return nil
	})
}

// A read model is carried on while it is read. Who has appended an event waits for the model to have it.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))

	m := must(projection.Open(ctx, l, projection.Define("balances", 1, projection.Options{Topics: []string{"accounts"}}, booked)))
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()

	deposit(accounts, "account-1", 10)
	deposit(accounts, "account-2", 7)
	position := deposit(accounts, "account-1", 5)
	check(m.WaitFor(ctx, position))

	for row, err := range balances.Scan(m, "account-") {
		fmt.Println(row.Key, row.Value.Amount, err)
	}
	for row, err := range balances.Find(m, "day", "2026-03-07") {
		fmt.Println("on the 7th:", row.Key, err)
	}
	stop()
	fmt.Println(<-done)
	// Output:
	// account-1 15 <nil>
	// account-2 7 <nil>
	// on the 7th: account-2 <nil>
	// <nil>
}

// A program that does not stay catches up, reads and ends.
func ExampleProjection_CatchUp() {
	ctx := context.Background()
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	deposit(accounts, "account-1", 10)

	m := must(projection.Open(ctx, l, projection.Define("balances", 1, projection.Options{}, booked)))
	check(m.CatchUp(ctx))
	b, ok, err := balances.Get(m, "account-1")
	fmt.Println(b.Amount, ok, err)
	// Output: 10 true <nil>
}

// A changed handler gets another version. The model is built anew beside the old one, which is read until the
// new one is complete.
func ExampleDefine_version() {
	ctx := context.Background()
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	deposit(accounts, "account-1", 10)

	m := must(projection.Open(ctx, l, projection.Define("balances", 1, projection.Options{}, booked)))
	check(m.CatchUp(ctx))

	inCents := projection.Define("balances", 2, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		if err := booked(tx, e); err != nil {
			return err
		}
		return balances.Update(tx, e.Stream, func(b *balance) error { b.Amount *= 100; return nil })
	})
	m = must(projection.Open(ctx, l, inCents))
	b, _, _ := balances.Get(m, "account-1")
	fmt.Println("before:", b.Amount, "version", m.Progress().ActiveVersion)
	check(m.CatchUp(ctx))
	b, _, _ = balances.Get(m, "account-1")
	fmt.Println("after:", b.Amount, "version", m.Progress().ActiveVersion)
	// Output:
	// before: 10 version 1
	// after: 1000 version 2
}

// Watch shows a value whenever it has changed.
func ExampleModel_Watch() {
	ctx, stop := context.WithCancel(context.Background())
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	m := must(projection.Open(ctx, l, projection.Define("last", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		tx.Set(e.Stream, e.Data)
		return nil
	})))
	check(m.CatchUp(ctx))
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()

	n := 0
	for v, err := range m.Watch(ctx, "account-1") {
		check(err)
		fmt.Printf("%v %q\n", v.Exists, v.Data)
		if n++; n == 4 {
			break
		}
		deposit(accounts, "account-1", n)
	}
	stop()
	check(<-done)
	// Output:
	// false ""
	// true "1"
	// true "2"
	// true "3"
}

// An event that the handler does not take is set aside, and tried again when the handler was mended.
func ExampleProjection_Retry() {
	ctx := context.Background()
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	must(accounts.Append(ctx, "account-1", aggregate.Any, aggregate.Event{Type: "account.deposited", Data: []byte("ten")}))
	deposit(accounts, "account-1", 5)

	mended := false
	define := projection.Define("balances", 1, projection.Options{Poison: projection.PoisonParks}, func(tx *projection.Tx, e *projection.Event) error {
		if mended && string(e.Data) == "ten" {
			e.Data = []byte("10")
		}
		return booked(tx, e)
	})
	m := must(projection.Open(ctx, l, define))
	check(m.CatchUp(ctx))
	b, _, _ := balances.Get(m, "account-1")
	fmt.Println(b.Amount)
	for _, p := range must(m.Parked(ctx)) { // they are in the topic balances.parked, too
		fmt.Println(p.Topic, p.Offset, p.Cause)
		mended = true
		fmt.Println(m.Retry(ctx, p.Position))
	}
	b, _, _ = balances.Get(m, "account-1")
	fmt.Println(b.Amount)
	// Output:
	// 5
	// accounts 0 strconv.Atoi: parsing "ten": invalid syntax
	// <nil>
	// 15
}

// What is to happen outside of the model is an effect. It happens at least once, and not again when the model is
// built anew.
func ExampleEvent_Effect() {
	ctx := context.Background()
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	deposit(accounts, "account-1", 10)

	mails := func(tx *projection.Tx, e *projection.Event) error {
		to, id := e.Stream, e.Version
		e.Effect(func(context.Context) error {
			fmt.Println("mail to", to, "about", id)
			return nil
		})
		return booked(tx, e)
	}
	for version := range 2 {
		m := must(projection.Open(ctx, l, projection.Define("mails", 1+version, projection.Options{}, mails)))
		check(m.CatchUp(ctx))
		deposit(accounts, "account-1", 5)
	}
	// Output:
	// mail to account-1 about 1
	// mail to account-1 about 2
}

// The time machine: a model as it was, and what a new handler would have made of the same events.
func ExampleAsOf() {
	ctx := context.Background()
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	then := deposit(accounts, "account-1", 10)
	deposit(accounts, "account-1", 5)
	lasts := projection.Define("lasts", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		tx.Set(e.Stream, e.Data)
		return nil
	})
	firsts := projection.Define("firsts", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		if e.Version == 1 {
			tx.Set(e.Stream, e.Data)
		}
		return nil
	})

	past := must(projection.AsOf(ctx, l, lasts, then))
	v, _, err := past.Get("account-1")
	fmt.Printf("then: %s %v\n", v, err)
	check(past.Close())

	m := must(projection.Open(ctx, l, lasts))
	check(m.CatchUp(ctx))
	live := must(m.Snapshot())
	next := must(projection.AsOf(ctx, l, firsts, live.Position()))
	for d, err := range projection.Diff(live, next) {
		fmt.Printf("%s is %s, and would be %s %v\n", d.Key, d.A, d.B, err)
	}
	check(next.Close())
	check(live.Close())
	// Output:
	// then: 10 <nil>
	// account-1 is 5, and would be 10 <nil>
}

// Functions for typed events.
func ExampleOn() {
	type Deposited struct{ Amount int }
	ctx := context.Background()
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	types := aggregate.NewTypes(aggregate.EventType[Deposited]("account.deposited"))
	must(accounts.Append(ctx, "account-1", aggregate.Any, must(types.Encode(Deposited{10}))))

	h := projection.NewHandlers[*projection.Tx](types)
	projection.On(h, func(tx *projection.Tx, e *projection.Event, d Deposited) error {
		tx.Set(e.Stream, strconv.AppendInt(nil, int64(d.Amount), 10))
		return nil
	})
	m := must(projection.Open(ctx, l, projection.Define("balances", 1, projection.Options{}, h.Handle)))
	check(m.CatchUp(ctx))
	v, _, err := m.Get("account-1")
	fmt.Printf("%s %v\n", v, err)
	// Output: 10 <nil>
}

// Events of different streams are handled at once where the handler says that it does not mind: it touches keys of its
// own stream alone.
func ExampleOptions_parallel() {
	ctx := context.Background()
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	for i := range 300 {
		deposit(accounts, fmt.Sprint("account-", i%50), 1)
	}

	count := func(tx *projection.Tx, e *projection.Event) error {
		tx.Set(e.Stream, strconv.AppendUint(nil, e.Version, 10))
		return nil
	}
	m := must(projection.Open(ctx, l, projection.Define("counts", 1, projection.Options{Parallel: 4}, count)))
	check(m.CatchUp(ctx))
	n, _, err := m.Get("account-7")
	fmt.Println(string(n), err)

	// A handler of which two events write one key is found out.
	total := func(tx *projection.Tx, e *projection.Event) error {
		tx.Set("last", []byte(e.Stream))
		return nil
	}
	m = must(projection.Open(ctx, l, projection.Define("last", 1, projection.Options{Parallel: 4}, total)))
	var order *projection.OrderError
	fmt.Println(errors.As(m.CatchUp(ctx), &order), order.Key)
	// Output:
	// 6 <nil>
	// true last
}

// Progress says how far a projection is, and Pause has it wait while its model goes on being read.
func ExampleProjection_Pause() {
	ctx, stop := context.WithCancel(context.Background())
	l := must(log.Open("data", log.Options{FS: vfs.NewMem()}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	m := must(projection.Open(ctx, l, projection.Define("balances", 1, projection.Options{}, booked)))
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	show := func() {
		p := m.Progress()
		b, _, err := balances.Get(m, "account-1")
		fmt.Println(p.Phase, "lag", p.Lag(), "balance", b.Amount, err)
	}

	check(m.WaitFor(ctx, deposit(accounts, "account-1", 10)))
	m.Pause()
	position := deposit(accounts, "account-1", 5)
	show()
	m.Resume()
	check(m.WaitFor(ctx, position))
	show()
	stop()
	fmt.Println(<-done)
	// Output:
	// paused lag 1 balance 10 <nil>
	// live lag 0 balance 15 <nil>
	// <nil>
}

// A model is built anew when somebody asks for it: from outside of its program, as "strata projections reset" does.
func ExampleMarkReset() {
	ctx := context.Background()
	fs := vfs.NewMem()
	l := must(log.Open("data", log.Options{FS: fs}))
	defer l.Close()
	accounts := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	deposit(accounts, "account-1", 10)
	deposit(accounts, "account-1", 5)
	handled := 0
	m := must(projection.Open(ctx, l, projection.Define("balances", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		handled++
		return booked(tx, e)
	})))
	check(m.CatchUp(ctx))
	fmt.Println(handled)
	check(m.CatchUp(ctx))
	fmt.Println(handled)

	check(projection.MarkReset(fs, "data", "balances", rand.Reader))
	check(m.CatchUp(ctx))
	b, _, _ := balances.Get(m, "account-1")
	fmt.Println(handled, "balance", b.Amount)
	fmt.Println(projection.MarkReset(fs, "data", "balance", rand.Reader))
	// Output:
	// 2
	// 2
	// 4 balance 15
	// projection: no such projection: "balance"
}
