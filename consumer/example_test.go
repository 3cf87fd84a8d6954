package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// orders opens a log with three orders in it.
func orders(ctx context.Context) (*log.Log, func()) {
	dir, err := os.MkdirTemp("", "consumer-")
	check(err)
	l, err := log.Open(dir, log.Options{})
	check(err)
	t, err := l.CreateTopic(ctx, "orders", log.TopicOptions{})
	check(err)
	_, err = t.Append(ctx, log.Record{Value: []byte("tea")}, log.Record{Value: []byte("milk")}, log.Record{Value: []byte("honey")})
	check(err)
	return l, func() {
		check(l.Close())
		check(os.RemoveAll(dir))
	}
}

// Read as a member of a group: each record once in the group, and the next time behind what was marked.
func ExampleJoin() {
	ctx := context.Background()
	l, end := orders(ctx)
	defer end()
	for range 2 {
		m, err := consumer.Join(ctx, l, "billing", consumer.Options{Topics: []string{"orders"}})
		check(err)
		for rec, err := range m.Records(ctx) {
			check(err)
			fmt.Println(string(rec.Value))
			m.Mark(rec)
			if string(rec.Value) == "milk" || string(rec.Value) == "honey" {
				break
			}
		}
		check(m.Close())
	}
	// Output:
	// tea
	// milk
	// honey
}

// Consume, transform and produce exactly once: the offset moves in the commit that appends the result.
func ExampleMember_Done() {
	ctx := context.Background()
	l, end := orders(ctx)
	defer end()
	invoices, err := l.CreateTopic(ctx, "invoices", log.TopicOptions{})
	check(err)
	m, err := consumer.Join(ctx, l, "billing", consumer.Options{Topics: []string{"orders"}})
	check(err)
	for rec, err := range m.Records(ctx) {
		check(err)
		c := l.NewCommit()
		c.Append(invoices, log.Record{Value: append([]byte("invoice for "), rec.Value...)})
		c.Require(m.Done(rec))
		_, err := c.Commit(ctx)
		check(err)
		if rec.Offset == 2 {
			break
		}
	}
	check(m.Close())
	for rec, err := range invoices.Read(log.Oldest) {
		check(err)
		fmt.Println(string(rec.Value))
	}
	// Output:
	// invoice for tea
	// invoice for milk
	// invoice for honey
}

// A handler for each record, four at once, in order within a key. What fails three times is parked.
func ExampleRun() {
	l, end := orders(context.Background())
	defer end()
	ctx, stop := context.WithCancel(context.Background())
	dead, err := l.CreateTopic(ctx, "billing.dead", log.TopicOptions{})
	check(err)
	go func() {
		for r, err := range dead.Follow(ctx, log.Oldest) {
			check(err)
			d, err := record.ParseDead(r.Headers)
			check(err)
			fmt.Printf("%s: %s, after %d attempts\n", r.Value, d.Cause, d.Attempts)
			break
		}
		stop()
	}()
	err = consumer.Run(ctx, l, "billing", consumer.Options{Topics: []string{"orders"}}, consumer.RunOptions{
		Workers: 4, Retry: timer.Retry{Attempts: 3, First: time.Millisecond}, Failure: consumer.FailureParks,
	}, func(_ context.Context, rec log.Record) error {
		if string(rec.Value) == "milk" {
			return errors.New("sour")
		}
		return nil
	})
	check(err)
	// Output:
	// milk: sour, after 3 attempts
}

// A loop for each partition, begun when it is assigned.
func ExampleMember_PartitionRecords() {
	ctx := context.Background()
	l, end := orders(ctx)
	defer end()
	assigned := make(chan consumer.TopicPartition, 10)
	m, err := consumer.Join(ctx, l, "billing", consumer.Options{
		Topics:     []string{"orders"},
		OnAssigned: func(all []consumer.TopicPartition) { assigned <- all[0] },
	})
	check(err)
	for rec, err := range m.PartitionRecords(ctx, <-assigned) { // in a goroutine, if there are several
		check(err)
		fmt.Println(rec.Partition, rec.Offset, string(rec.Value))
		m.Mark(rec)
		if rec.Offset == 2 {
			break
		}
	}
	check(m.Close())
	// Output:
	// 0 0 tea
	// 0 1 milk
	// 0 2 honey
}

// Try something on a copy of a group, beginning two records further on, and see what it has left to do.
func ExampleFork() {
	ctx := context.Background()
	l, end := orders(ctx)
	defer end()
	check(consumer.Reset(ctx, l, "billing", consumer.To(log.Oldest), "orders"))
	check(consumer.Fork(ctx, l, "billing", "trial"))
	check(consumer.Reset(ctx, l, "trial", consumer.By(2)))
	s, err := consumer.OpenStore(ctx, l)
	check(err)
	groups, err := s.Groups(ctx)
	check(err)
	for _, group := range groups {
		offsets, err := s.Offsets(ctx, group)
		check(err)
		for _, o := range offsets {
			fmt.Println(group, o.TopicPartition, "lag", o.Lag)
		}
	}
	check(consumer.Delete(ctx, l, "trial"))
	// Output:
	// billing orders/0 lag 3
	// trial orders/0 lag 1
}

// Keep the offsets of a group without members, as a program does that reads by its own plan.
func ExampleStore_Commit() {
	ctx := context.Background()
	l, end := orders(ctx)
	defer end()
	t, err := l.Topic("orders")
	check(err)
	s, err := consumer.OpenStore(ctx, l)
	check(err)
	on, err := s.Commit("audit", 0, consumer.Position{Partition: t.Partition(0), Offset: 2, Metadata: "by hand"})
	check(err)
	c := l.NewCommit()
	c.Require(on...)
	_, err = c.Commit(ctx)
	check(err)
	o, _, err := s.Fetch(ctx, "audit", t.Partition(0))
	check(err)
	fmt.Println(o.Offset, o.Metadata)
	// Output:
	// 2 by hand
}

// Read everything once more.
func ExampleReset() {
	ctx := context.Background()
	l, end := orders(ctx)
	defer end()
	check(consumer.Reset(ctx, l, "billing", consumer.To(log.Newest), "orders"))
	check(consumer.Reset(ctx, l, "billing", consumer.By(-2)))
	m, err := consumer.Join(ctx, l, "billing", consumer.Options{Topics: []string{"orders"}})
	check(err)
	for rec, err := range m.Records(ctx) {
		check(err)
		fmt.Println(string(rec.Value))
		if rec.Offset == 2 {
			break
		}
	}
	s, err := consumer.OpenStore(ctx, l)
	check(err)
	offsets, err := s.Offsets(ctx, "billing")
	check(err)
	fmt.Println(offsets[0].TopicPartition, offsets[0].Offset.Offset, "lag", offsets[0].Lag)
	// Output:
	// milk
	// honey
	// orders/0 1 lag 2
}
