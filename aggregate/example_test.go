package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// inMemory opens a log in memory, whose clock stands at 2026-05-01 09:00, for the examples.
func inMemory() (*log.Log, *clock.Manual) {
	c := clock.NewManual(time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC))
	l, err := log.Open("data", log.Options{FS: vfs.NewMem(), Clock: c})
	if err != nil {
		panic(err)
	}
	return l, c
}

// must is for examples alone.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An aggregate is a struct with a Root, changed by its events alone. Handle loads it, lets a function
// decide, and saves what that has raised; when somebody else was faster, it does so again.
func Example() {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()}) // in memory
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	store, err := aggregate.Open(ctx, l, "accounts", aggregate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	events := aggregate.NewTypes(
		aggregate.EventType[Opened]("account.opened"),
		aggregate.EventType[Deposited]("account.deposited"),
		aggregate.EventType[Withdrawn]("account.withdrawn"),
	)
	accounts, err := aggregate.NewRepository(store, aggregate.Define("account", events, (*Account).apply))
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = accounts.Handle(ctx, "ann", func(a *Account) error { return a.Deposit(100) })
	fmt.Println(err)
	_, err = accounts.Handle(ctx, "ann", func(a *Account) error { return a.Withdraw(30) })
	fmt.Println(err)
	_, err = accounts.Handle(ctx, "ann", func(a *Account) error { return a.Withdraw(300) })
	fmt.Println(err)

	a, err := accounts.Load(ctx, "ann")
	fmt.Println(a.Balance, a.Version(), err)
	for e, err := range store.Load(ctx, "account-ann") {
		fmt.Println(e.Version, e.Type, string(e.Data), err)
	}
	// Output:
	// <nil>
	// <nil>
	// insufficient funds: 300 of 70
	// 70 3 <nil>
	// 1 account.opened {"Owner":"ann"} <nil>
	// 2 account.deposited {"Amount":100} <nil>
	// 3 account.withdrawn {"Amount":30,"Reason":""} <nil>
}

func ExampleStore_Append() {
	ctx := context.Background()
	l, _ := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "orders", aggregate.Options{}))

	r, err := store.Append(ctx, "order-7", aggregate.NoStream, aggregate.Event{Type: "placed"}, aggregate.Event{Type: "paid"})
	fmt.Println(r.Version("order-7"), err)
	_, err = store.Append(ctx, "order-7", aggregate.At(1), aggregate.Event{Type: "cancelled"})
	var conflict *aggregate.VersionConflictError
	fmt.Println(errors.As(err, &conflict), conflict.Actual)
	r, err = store.Append(ctx, "order-7", aggregate.Any, aggregate.Event{Type: "shipped"})
	fmt.Println(r.Version("order-7"), err)
	// Output:
	// 2 <nil>
	// true 2
	// 3 <nil>
}

// One commit takes from one stream, gives to another, and sends a mail; a second time it does nothing,
// and says what the first has done.
func ExampleStore_Commit() {
	ctx := context.Background()
	l, _ := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	mails := must(l.CreateTopic(ctx, "mails", log.TopicOptions{}))

	transfer := aggregate.Batch{
		CommandID: "transfer-1",
		Appends: []aggregate.Append{
			{Stream: "account-a", Expected: aggregate.NoStream, Events: []aggregate.Event{{Type: "taken"}}},
			{Stream: "account-b", Expected: aggregate.Any, Events: []aggregate.Event{{Type: "given"}}},
		},
		With: func(c *log.Commit) error {
			c.Append(mails, log.Record{Value: []byte("you have money")})
			return nil
		},
	}
	for range 2 {
		r, err := store.Commit(ctx, transfer)
		fmt.Println(r.Version("account-a"), r.Version("account-b"), r.Duplicate, err)
	}
	fmt.Println(mails.Partition(0).Next(), "mail")
	// Output:
	// 1 1 false <nil>
	// 1 1 true <nil>
	// 1 mail
}

func ExampleStore_Load() {
	ctx := context.Background()
	l, clock := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "orders", aggregate.Options{}))
	for _, name := range []string{"placed", "paid", "packed", "shipped"} {
		must(store.Append(ctx, "order-7", aggregate.Any, aggregate.Event{Type: name}))
		clock.Advance(time.Hour)
	}
	print := func(o aggregate.LoadOptions) {
		fmt.Print("Versions:")
		for e, err := range store.Load(ctx, "order-7", o) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Print(" ", e.Version, " ", e.Type)
		}
		fmt.Println(".")
	}
	print(aggregate.LoadOptions{From: 3})
	print(aggregate.LoadOptions{Backward: true, To: 2})
	print(aggregate.LoadOptions{Until: time.Date(2026, 5, 1, 11, 30, 0, 0, time.UTC)})
	// Output:
	// Versions: 3 packed 4 shipped.
	// Versions: 2 paid 1 placed.
	// Versions: 1 placed 2 paid 3 packed.
}

func ExampleStore_Streams() {
	ctx := context.Background()
	l, _ := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "shop", aggregate.Options{}))
	for _, stream := range []string{"order-1", "order-2", "customer-1", "order-1"} {
		must(store.Append(ctx, stream, aggregate.Any, aggregate.Event{Type: "happened"}))
	}
	for i, err := range store.Streams(ctx, "order-") {
		fmt.Println(i.Stream, i.Version, err)
	}
	categories, err := store.Categories(ctx)
	fmt.Println(categories, err)
	// Output:
	// order-1 2 <nil>
	// order-2 1 <nil>
	// [customer order] <nil>
}

// Events are ordinary records: a consumer group shares them out, in order for each stream, and remembers how
// far it is.
func ExampleDecode() {
	ctx := context.Background()
	l, _ := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "orders", aggregate.Options{}))
	must(store.Append(ctx, "order-7", aggregate.NoStream, aggregate.Event{Type: "placed"}, aggregate.Event{Type: "paid"}))

	mailer := must(consumer.Join(ctx, l, "mailer", consumer.Options{Topics: []string{"orders"}}))
	for rec, err := range mailer.Available(ctx) {
		if err != nil {
			fmt.Println(err)
			break
		}
		e, err := aggregate.Decode(&rec)
		fmt.Println(e.Stream, e.Version, e.Type, err)
		mailer.Mark(rec)
	}
	fmt.Println(mailer.Close())
	// Output:
	// order-7 1 placed <nil>
	// order-7 2 paid <nil>
	// <nil>
}

// A stream that has grown long is closed: one commit appends how things stand, and takes off what was
// before.
func ExampleStore_Truncate() {
	ctx := context.Background()
	l, _ := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "ledger", aggregate.Options{}))
	must(store.Append(ctx, "book", aggregate.NoStream, aggregate.Event{Type: "entered"}, aggregate.Event{Type: "entered"}))
	must(store.Commit(ctx, aggregate.Batch{
		Appends: []aggregate.Append{{Stream: "book", Expected: aggregate.At(2), Events: []aggregate.Event{{Type: "carried-forward"}}}},
		With: func(c *log.Commit) error {
			c.Require(store.Truncate("book", aggregate.At(3), 3))
			return nil
		},
	}))
	for e, err := range store.Load(ctx, "book") {
		fmt.Println(e.Version, e.Type, err)
	}
	fmt.Println(store.End(ctx, "book", aggregate.At(3)))
	_, err := store.Append(ctx, "book", aggregate.Any, aggregate.Event{Type: "entered"})
	fmt.Println(err)
	// Output:
	// 3 carried-forward <nil>
	// <nil>
	// aggregate: stream "book" has a tombstone
}

// A command with an id is done once, however often it is sent.
func ExampleRepository_Handle_commandID() {
	ctx := context.Background()
	l, _ := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	accounts := must(aggregate.NewRepository(store, accountType))
	for range 2 {
		r, err := accounts.Handle(ctx, "ann", func(a *Account) error { return a.Deposit(100) },
			aggregate.SaveOptions{Origin: aggregate.Origin{CommandID: "deposit-1", Tenant: "bank"}})
		fmt.Println(r.Version("account-ann"), r.Duplicate, err)
	}
	// Output:
	// 2 false <nil>
	// 2 true <nil>
}

// The state as it was at a version, at a time, or at a position of the log.
func ExampleRepository_Load_asOf() {
	ctx := context.Background()
	l, clock := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	accounts := must(aggregate.NewRepository(store, accountType))
	for range 3 {
		must(accounts.Handle(ctx, "ann", func(a *Account) error { return a.Deposit(100) }))
		clock.Advance(24 * time.Hour)
	}
	for _, asOf := range []aggregate.AsOf{{}, {Version: 2}, {Time: time.Date(2026, 5, 2, 12, 0, 0, 0, time.UTC)}} {
		a := must(accounts.Load(ctx, "ann", asOf))
		fmt.Println(a.Version(), a.Balance)
	}
	// Output:
	// 4 300
	// 2 100
	// 3 200
}

// An event that was written before its type changed is read as one of today.
func ExampleUpcast() {
	types := aggregate.NewTypes(
		aggregate.EventType[Withdrawn]("withdrawn", 1),
		aggregate.Upcast("withdrawn", 0, func(e *aggregate.Event) error {
			e.Data = []byte(`{"Amount":` + string(e.Data) + `,"Reason":"unknown"}`) // was a bare number
			e.Schema = 1
			return nil
		}),
	)
	v, err := types.Decode(aggregate.Event{Type: "withdrawn", Data: []byte("30")})
	fmt.Printf("%+v %v\n", v, err)
	// Output:
	// {Amount:30 Reason:unknown} <nil>
}

func ExampleType_Snapshots() {
	ctx := context.Background()
	l, _ := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	folded := 0
	accounts := must(aggregate.NewRepository(store, aggregate.Define("account", accountEvents, func(a *Account, e any) error {
		folded++
		return a.apply(e)
	}).Snapshots(1, 100)))
	must(accounts.Handle(ctx, "ann", func(a *Account) error {
		for range 120 {
			if err := a.Deposit(1); err != nil {
				return err
			}
		}
		return nil
	}))
	must(accounts.Handle(ctx, "ann", func(a *Account) error { return a.Withdraw(1) }))
	folded = 0
	a := must(accounts.Load(ctx, "ann"))
	fmt.Println(a.Version(), a.Balance, folded)
	// Output:
	// 122 119 1
}

// Commands go to the aggregates that they are for, once each, and only when they are valid.
func ExampleCommands() {
	ctx := context.Background()
	l, _ := inMemory()
	defer l.Close()
	store := must(aggregate.Open(ctx, l, "accounts", aggregate.Options{}))
	accounts := must(aggregate.NewRepository(store, accountType))

	logged := func(next aggregate.CommandHandler) aggregate.CommandHandler {
		return func(ctx context.Context, c aggregate.Command) (aggregate.Result, error) {
			r, err := next(ctx, c)
			fmt.Printf("%T %v\n", c.Body, err)
			return r, err
		}
	}
	commands := aggregate.NewCommands(logged)
	aggregate.Route(commands, accounts, func(c put) string { return c.Account },
		func(ctx context.Context, a *Account, c put) error { return a.Deposit(c.Amount) })

	_, _ = commands.Do(ctx, aggregate.Command{Origin: aggregate.Origin{CommandID: "1"}, Body: put{"ann", 5}})
	_, _ = commands.Do(ctx, aggregate.Command{Origin: aggregate.Origin{CommandID: "1"}, Body: put{"ann", 5}})
	_, _ = commands.Do(ctx, aggregate.Command{Body: put{"ann", -5}})
	fmt.Println(must(accounts.Load(ctx, "ann")).Balance)
	// Output:
	// aggregate_test.put <nil>
	// aggregate_test.put <nil>
	// aggregate_test.put aggregate: command is not valid: negative
	// 5
}
