package consumer_test

import (
	"context"
	"fmt"
	"os"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
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
