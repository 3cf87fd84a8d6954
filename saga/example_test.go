package saga_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

// cart is what the sagas of the examples are about.
type cart struct {
	Item     string
	Payment  string
	Approved string
}

func openExample() *log.Log {
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()})
	if err != nil {
		panic(err)
	}
	return l
}

// carry runs a saga until one instance is final or parked.
func carry(r *saga.Runner, name, id string) saga.Instance {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	in, err := r.Wait(ctx, name, id)
	cancel()
	if err := errors.Join(err, <-done); err != nil {
		panic(err)
	}
	return in
}

func reserve(context.Context, *cart, *saga.Task) error { return nil }
func release(context.Context, *cart, *saga.Task) error { fmt.Println("released"); return nil }
func refund(context.Context, *cart, *saga.Task) error  { fmt.Println("refunded"); return nil }
func charge(_ context.Context, c *cart, t *saga.Task) error {
	c.Payment = t.Key // the bank books a key once
	return nil
}

// Three steps, the last of which cannot be undone.
func ExampleDefine() {
	l := openExample()
	defer l.Close()
	ctx := context.Background()
	ship := func(_ context.Context, c *cart, _ *saga.Task) error {
		fmt.Println("shipped", c.Item)
		return nil
	}
	checkout := saga.Define[cart]("checkout").
		Step("reserve", reserve, release).
		Step("pay", charge, refund, saga.Retry(5), saga.Timeout(10*time.Second)).
		Step("ship", ship, nil, saga.Pivot())
	r, err := saga.NewRunner(l, checkout)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := r.Start(ctx, "order-7", cart{Item: "a book"}); err != nil {
		fmt.Println(err)
		return
	}
	in := carry(r, "checkout", "order-7")
	c, _ := saga.State[cart](&in)
	fmt.Println(in.Status, c.Payment)
	// Output:
	// shipped a book
	// completed checkout/order-7/pay
}

// A step that fails for good: what was done is undone, the last one first. Final says that trying again is
// in vain.
func ExampleFinal() {
	l := openExample()
	defer l.Close()
	ship := func(context.Context, *cart, *saga.Task) error { return saga.Final(errors.New("no such address")) }
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").
		Step("reserve", reserve, release).
		Step("pay", charge, refund).
		Step("ship", ship, nil, saga.Pivot()))
	_ = r.Start(context.Background(), "order-7", cart{})
	in := carry(r, "checkout", "order-7")
	fmt.Println(in.Status, "since", in.Cause)
	// Output:
	// refunded
	// released
	// compensated since ship: no such address
}

// A compensation that will not succeed parks its instance, until somebody has seen to it.
func ExampleStore_Retry() {
	l := openExample()
	defer l.Close()
	ctx, closed := context.Background(), true
	release := func(context.Context, *cart, *saga.Task) error {
		if closed {
			return saga.Final(errors.New("warehouse is closed"))
		}
		return nil
	}
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").
		Step("reserve", reserve, release).
		Step("pay", func(context.Context, *cart, *saga.Task) error { return saga.Final(errors.New("declined")) }, nil))
	_ = r.Start(ctx, "order-7", cart{})
	in := carry(r, "checkout", "order-7")
	fmt.Println(in.Status, "at", in.Cause)
	closed = false
	fmt.Println(r.Retry(ctx, "checkout", "order-7"))
	fmt.Println(carry(r, "checkout", "order-7").Status)
	// Output:
	// parked at reserve: warehouse is closed
	// <nil>
	// compensated
}

// A step that waits for somebody, for a day at most.
func ExampleDefinition_Await() {
	l := openExample()
	defer l.Close()
	ctx := context.Background()
	approve := func(_ context.Context, c *cart, t *saga.Task) error {
		c.Approved = string(t.Signal.Payload)
		return nil
	}
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").
		Step("reserve", reserve, release).
		Await("approval", "approved", approve, nil, saga.Deadline(24*time.Hour)).
		Step("pay", charge, nil))
	_ = r.Start(ctx, "order-7", cart{})
	_ = r.Signal(ctx, "checkout", "order-7", "approved", []byte("Ada"), "")
	in := carry(r, "checkout", "order-7")
	c, _ := saga.State[cart](&in)
	fmt.Println(in.Status, "approved by", c.Approved)
	// Output: completed approved by Ada
}

// Records that belong to a result are in its commit.
func ExampleTask_Emit() {
	l := openExample()
	defer l.Close()
	ctx := context.Background()
	mails, _ := l.CreateTopic(ctx, "mails", log.TopicOptions{})
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").
		Step("confirm", func(_ context.Context, c *cart, t *saga.Task) error {
			t.Emit(mails, log.Record{Value: []byte("you have bought " + c.Item)})
			return nil
		}, nil))
	_ = r.Start(ctx, "order-7", cart{Item: "a book"})
	carry(r, "checkout", "order-7")
	for rec := range mails.Read(log.Oldest) {
		fmt.Println(string(rec.Value))
	}
	// Output: you have bought a book
}

// A saga that reacts to events, which may come in any order and several times.
func ExampleDefinition_On() {
	l := openExample()
	defer l.Close()
	ctx := context.Background()
	events, _ := l.CreateTopic(ctx, "events", log.TopicOptions{})
	commands, _ := l.CreateTopic(ctx, "commands", log.TopicOptions{})
	is := func(event string) func(log.Record) (string, bool) {
		return func(r log.Record) (string, bool) { return string(r.Key), string(r.Value) == event }
	}
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").
		On("events", "reserved", is("reserved"), func(_ *cart, t *saga.Turn) error {
			t.Emit(commands, log.Record{Value: []byte("pay")})
			return nil
		}).
		On("events", "paid", is("paid"), func(_ *cart, t *saga.Turn) error {
			t.Emit(commands, log.Record{Value: []byte("ship")})
			t.Complete()
			return nil
		}, saga.After("reserved")))
	for _, e := range []string{"paid", "reserved", "paid", "reserved"} {
		_, _ = events.Append(ctx, log.Record{Key: []byte("order-7"), Value: []byte(e)})
	}
	runCtx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.Run(runCtx) }()
	n := 0
	for rec := range commands.Follow(ctx, log.Oldest) {
		fmt.Println(string(rec.Value))
		if n++; n == 2 {
			break
		}
	}
	cancel()
	fmt.Println(<-done)
	// Output:
	// pay
	// ship
	// <nil>
}

// What has happened to an instance.
func ExampleStore_History() {
	l := openExample()
	defer l.Close()
	ctx := context.Background()
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").Step("pay", charge, nil))
	_ = r.Start(ctx, "order-7", cart{})
	carry(r, "checkout", "order-7")
	for e, err := range r.History(ctx, "checkout", "order-7") {
		fmt.Println(e.Version, e.Type, e.Step, err)
	}
	// Output:
	// 1 started  <nil>
	// 2 intended pay <nil>
	// 3 done pay <nil>
	// 4 completed  <nil>
}

// An event of an aggregate, and the record of the step that has brought it about, are one commit.
func ExampleTask_With() {
	l := openExample()
	defer l.Close()
	ctx := context.Background()
	store, err := aggregate.Open(ctx, l, "orders", aggregate.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").
		Step("pay", func(_ context.Context, _ *cart, t *saga.Task) error {
			t.With(func(ctx context.Context, c *log.Commit) error {
				_, err := store.Stage(ctx, c, t.ID, aggregate.NoStream, aggregate.Event{Type: "order.paid"})
				return err
			})
			return nil
		}, nil))
	_ = r.Start(ctx, "order-7", cart{Item: "a book"})
	carry(r, "checkout", "order-7")
	for e, err := range store.Load(ctx, "order-7") {
		fmt.Println(e.Version, e.Type, err)
	}
	// Output: 1 order.paid <nil>
}

// Steps of a group run at once; each changes fields of its own.
func ExampleParallel() {
	l := openExample()
	defer l.Close()
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").
		Step("pay", charge, refund, saga.Parallel("first")).
		Step("pick", func(_ context.Context, c *cart, _ *saga.Task) error { c.Item = "picked " + c.Item; return nil }, release, saga.Parallel("first")).
		Step("ship", func(_ context.Context, c *cart, _ *saga.Task) error { fmt.Println("ships", c.Item); return nil }, nil))
	_ = r.Start(context.Background(), "order-7", cart{Item: "book"})
	in := carry(r, "checkout", "order-7")
	fmt.Println(in.Status, string(in.State))
	// Output:
	// ships picked book
	// completed {"Item":"picked book","Payment":"checkout/order-7/pay","Approved":""}
}

// Before a definition is changed under its old version number: would the instances that there are follow it?
func ExampleReplay() {
	l := openExample()
	defer l.Close()
	ctx := context.Background()
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").Step("reserve", reserve, release).Step("pay", charge, nil))
	_ = r.Start(ctx, "order-7", cart{})
	carry(r, "checkout", "order-7")
	var history []saga.Event
	for e := range r.History(ctx, "checkout", "order-7") {
		history = append(history, e)
	}
	fmt.Println(saga.Replay(saga.Define[cart]("checkout").Step("pay", charge, refund).Step("reserve", reserve, nil), history))
	// Output: saga: history of "checkout": event 2 is intended reserve, and the definition comes to ["intended pay"]
}

// What cannot go on its way is undone, unless it is too late.
func ExampleStore_Abort() {
	l := openExample()
	defer l.Close()
	ctx := context.Background()
	r, _ := saga.NewRunner(l, saga.Define[cart]("checkout").Step("reserve", reserve, release).Step("pay", charge, nil))
	_ = r.Start(ctx, "order-7", cart{})
	fmt.Println(r.Abort(ctx, "checkout", "order-7"))
	fmt.Println(carry(r, "checkout", "order-7").Status)
	fmt.Println(r.Abort(ctx, "checkout", "order-7"))
	// Output:
	// <nil>
	// compensated
	// saga: abort of "order-7" of "checkout": it is compensated
}
