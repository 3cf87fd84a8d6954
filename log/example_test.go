package log_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/log"
)

// must is for examples only, where an error would hide what is shown.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// inMemory keeps the log of an example in memory. The zero Options keep it on disk.
func inMemory() log.Options { return log.Options{FS: vfs.NewMem()} }

// A log is a directory. Open creates it or recovers what the process before has left, and holds it for
// this process alone until Close.
func ExampleOpen() {
	o := inMemory()
	l, err := log.Open("data", o)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = log.Open("data", o)
	fmt.Println("a second time:", errors.Is(err, log.ErrLocked))

	fmt.Println("close:", l.Close())

	o.MustExist = true
	_, err = log.Open("elsewhere", o)
	fmt.Println("no log there:", errors.Is(err, log.ErrNoLog))
	// Output:
	// a second time: true
	// close: <nil>
	// no log there: true
}

// Creating a topic that exists gives the one that exists, provided that it is as asked for.
func ExampleLog_CreateTopic() {
	ctx := context.Background()
	l := must(log.Open("data", inMemory()))
	defer func() { check(l.Close()) }()

	orders := must(l.CreateTopic(ctx, "orders", log.TopicOptions{Partitions: 8}))
	fmt.Println(orders.Name(), orders.Partitions())

	_, err := l.CreateTopic(ctx, "orders", log.TopicOptions{Partitions: 9})
	var mismatch *log.MismatchError
	if errors.As(err, &mismatch) {
		fmt.Println("another", mismatch.Field, mismatch.Have, mismatch.Want)
	}

	for _, t := range l.Topics() {
		fmt.Println(t.Name, t.Partitions, t.Compression)
	}
	// Output:
	// orders 8
	// another partitions 8 9
	// orders 8 none
}

// When Append returns, the records are on disk. Records with the same key go to the same partition, and
// stay in order there.
func ExampleTopic_Append() {
	ctx := context.Background()
	l := must(log.Open("data", inMemory()))
	defer func() { check(l.Close()) }()
	orders := must(l.CreateTopic(ctx, "orders", log.TopicOptions{Partitions: 8}))

	for _, event := range []string{"placed", "paid", "sent"} {
		at := must(orders.Append(ctx, log.Record{Key: []byte("order-17"), Value: []byte(event)}))
		fmt.Printf("%s: partition %d, offset %d\n", event, at.Partition, at.Offset)
	}
	// Output:
	// placed: partition 1, offset 0
	// paid: partition 1, offset 1
	// sent: partition 1, offset 2
}

// Read yields what is there when the loop begins. The bytes of a record are lent for one turn of the
// loop; Record.Clone keeps it.
func ExamplePartition_Read() {
	ctx := context.Background()
	l := must(log.Open("data", inMemory()))
	defer func() { check(l.Close()) }()
	events := must(l.CreateTopic(ctx, "events", log.TopicOptions{}))
	for _, v := range []string{"a", "b", "c", "d"} {
		must(events.Append(ctx, log.Record{Value: []byte(v)}))
	}

	for r, err := range events.Partition(0).Read(log.AtOffset(2)) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(r.Offset, string(r.Value))
	}
	// Output:
	// 2 c
	// 3 d
}

// Follow waits for more when it has shown everything, until its context ends.
func ExampleTopic_Follow() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := must(log.Open("data", inMemory()))
	defer func() { check(l.Close()) }()
	events := must(l.CreateTopic(ctx, "events", log.TopicOptions{}))
	must(events.Append(ctx, log.Record{Value: []byte("was there")}))

	for r, err := range events.Follow(ctx, log.Oldest) {
		if errors.Is(err, context.Canceled) {
			fmt.Println("ended")
			break
		}
		check(err)
		fmt.Println(string(r.Value))
		if r.Offset == 0 {
			must(events.Append(ctx, log.Record{Value: []byte("came later")}))
		} else {
			cancel()
		}
	}
	// Output:
	// was there
	// came later
	// ended
}

// A commit appends to any number of topics. All of it happens, or nothing.
func ExampleCommit() {
	ctx := context.Background()
	l := must(log.Open("data", inMemory()))
	defer func() { check(l.Close()) }()
	orders := must(l.CreateTopic(ctx, "orders", log.TopicOptions{}))
	mails := must(l.CreateTopic(ctx, "mails", log.TopicOptions{}))

	c := l.NewCommit()
	c.Append(orders, log.Record{Key: []byte("order-17"), Value: []byte("placed")})
	c.Append(mails, log.Record{Value: []byte("thank you for your order")})
	result := must(c.Commit(ctx))

	for _, b := range result.Batches() {
		fmt.Printf("%s: offset %d\n", b.Topic.Name(), b.Offset)
	}
	// Output:
	// orders: offset 0
	// mails: offset 0
}

// A condition makes a commit happen only if nobody else came first. Who is too late is told what is
// there now, and nothing of the commit is.
func ExampleExpectOffset() {
	ctx := context.Background()
	l := must(log.Open("data", inMemory()))
	defer func() { check(l.Close()) }()
	account := must(l.CreateTopic(ctx, "account", log.TopicOptions{})).Partition(0)

	withdraw := func(seen int64) error {
		c := l.NewCommit()
		c.Require(log.ExpectOffset(account, seen))
		c.AppendTo(account, log.Record{Value: []byte("withdraw 10")})
		_, err := c.Commit(ctx)
		return err
	}
	seen := account.Next() // two clerks look at the account at the same time
	fmt.Println(withdraw(seen))

	var conflict *log.OffsetError
	if err := withdraw(seen); errors.As(err, &conflict) {
		fmt.Println("expected", conflict.Expected, "but it is", conflict.Actual)
	}
	fmt.Println("records:", account.Next())
	// Output:
	// <nil>
	// expected 0 but it is 1
	// records: 1
}
