package pubsub_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/pubsub"
	"github.com/stratalog/strata/queue"
)

// check ends an example that has failed.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// What no binding wants goes to the alternate exchange, when there is one. A headers exchange compares the
// record's headers.
func ExampleExchangeOptions() {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()}) // in memory
	check(err)
	defer l.Close()
	for _, name := range []string{"invoices", "rest"} {
		_, err := l.CreateTopic(ctx, name, log.TopicOptions{})
		check(err)
	}
	exchanges, err := pubsub.Open(ctx, l)
	check(err)
	check(exchanges.Declare(ctx, "unwanted", pubsub.ExchangeOptions{}))
	check(exchanges.Declare(ctx, "documents", pubsub.ExchangeOptions{Kind: pubsub.Headers, Alternate: "unwanted"}))
	check(exchanges.Bind(ctx, pubsub.Binding{
		Exchange: "documents", Headers: map[string]string{"type": "invoice", "paid": "no"},
		To: pubsub.Destination{Kind: pubsub.ToTopic, Name: "invoices"},
	}))
	check(exchanges.Bind(ctx, pubsub.Binding{Exchange: "unwanted", To: pubsub.Destination{Kind: pubsub.ToTopic, Name: "rest"}}))
	for _, kind := range []string{"invoice", "letter"} {
		headers := []log.Header{{Key: "type", Value: []byte(kind)}, {Key: "paid", Value: []byte("no")}}
		to, err := exchanges.Route("documents", "", headers)
		fmt.Println(kind, "to", to, err)
	}
	// Output:
	// invoice to [topic invoices] <nil>
	// letter to [topic rest] <nil>
}

// Without an exchange the key is the name of a queue.
func ExampleExchanges_Publish() {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()}) // in memory
	check(err)
	defer l.Close()
	jobs, err := queue.Declare(ctx, l, "jobs", queue.Options{})
	check(err)
	exchanges, err := pubsub.Open(ctx, l)
	check(err)
	exchanges.SetTarget(pubsub.ToQueue, queue.Sender(l))
	_, err = exchanges.Publish(ctx, pubsub.Publication{Key: "jobs", Record: log.Record{Value: []byte("sweep")}})
	check(err)
	_, err = exchanges.Publish(ctx, pubsub.Publication{Key: "job", Mandatory: true})
	fmt.Println(errors.Is(err, pubsub.ErrUnroutable))
	ms, err := jobs.Receive(ctx, queue.ReceiveOptions{})
	check(err)
	fmt.Println(string(ms[0].Value))
	// Output:
	// true
	// sweep
}
