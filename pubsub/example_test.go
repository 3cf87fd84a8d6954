package pubsub_test

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/pubsub"
	"github.com/stratalog/strata/queue"
)

// Live messages: to whoever subscribes at the moment.
func ExampleHub() {
	ctx := context.Background()
	hub := pubsub.NewHub()
	defer hub.Close()
	prices, err := hub.Subscribe("stock.*.nyse", pubsub.SubscribeOptions{Policy: pubsub.DropOldest, Buffer: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, price := range []string{"101", "102", "103"} {
		n, err := hub.Publish(ctx, pubsub.Message{Topic: "stock.usd.nyse", Value: []byte(price)})
		fmt.Println("subscribers:", n, err)
	}
	_, err = hub.Publish(ctx, pubsub.Message{Topic: "weather", Mandatory: true})
	fmt.Println(err)

	_ = prices.Close() // what is in the buffer is still received
	for m, err := range prices.Messages(ctx) {
		fmt.Println(m.Topic, string(m.Value), err)
	}
	fmt.Println("dropped:", prices.Dropped())
	// Output:
	// subscribers: 1 <nil>
	// subscribers: 1 <nil>
	// subscribers: 1 <nil>
	// pubsub: nobody subscribes to "weather"
	// stock.usd.nyse 102 <nil>
	// stock.usd.nyse 103 <nil>
	// dropped: 1
}

// A request waits for its reply.
func ExampleHub_Request() {
	ctx := context.Background()
	hub := pubsub.NewHub()
	served := make(chan struct{})
	sub, err := hub.Subscribe("greet", pubsub.SubscribeOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		defer close(served)
		for m, err := range sub.Messages(ctx) {
			if err == nil {
				err = m.Respond(pubsub.Message{Value: []byte("hello, " + string(m.Value))})
			}
			if err != nil {
				fmt.Println(err)
			}
		}
	}()
	reply, err := hub.Request(ctx, pubsub.Message{Topic: "greet", Value: []byte("world")})
	fmt.Println(string(reply.Value), err)
	_ = hub.Close()
	<-served
	// Output: hello, world <nil>
}

// A topic exchange leads orders of Europe to one topic and all orders to another, in one commit.
func ExampleExchanges() {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()}) // in memory
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	exchanges, err := pubsub.Open(ctx, l)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := exchanges.Declare(ctx, "orders", pubsub.ExchangeOptions{Kind: pubsub.Topic}); err != nil {
		fmt.Println(err)
		return
	}
	for pattern, topic := range map[string]string{"order.eu.*": "europe", "order.#": "all"} {
		_, err := l.CreateTopic(ctx, topic, log.TopicOptions{})
		if err == nil {
			err = exchanges.Bind(ctx, pubsub.Binding{
				Exchange: "orders", Key: pattern, To: pubsub.Destination{Kind: pubsub.ToTopic, Name: topic},
			})
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	for _, key := range []string{"order.eu.paid", "order.us.paid", "refund.us"} {
		_, err := exchanges.Publish(ctx, pubsub.Publication{
			Exchange: "orders", Key: key, Record: log.Record{Value: []byte(key)}, Mandatory: true,
		})
		fmt.Println(key, err)
	}
	for r, err := range l.Read(log.Oldest) {
		fmt.Println(r.Topic, string(r.Value), err)
	}
	// Unordered output:
	// order.eu.paid <nil>
	// order.us.paid <nil>
	// refund.us pubsub: exchange "orders" routes key "refund.us" nowhere
	// all order.eu.paid <nil>
	// europe order.eu.paid <nil>
	// all order.us.paid <nil>
}

// An exchange leads to queues when it is told how to send to them.
func ExampleExchanges_SetTarget() {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()}) // in memory
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	mails, err := queue.Declare(ctx, l, "mails", queue.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	exchanges, err := pubsub.Open(ctx, l)
	if err != nil {
		fmt.Println(err)
		return
	}
	exchanges.SetTarget(pubsub.ToQueue, queue.Sender(l))
	if err := exchanges.Declare(ctx, "orders", pubsub.ExchangeOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	toMails := pubsub.Binding{Exchange: "orders", To: pubsub.Destination{Kind: pubsub.ToQueue, Name: "mails"}}
	if err := exchanges.Bind(ctx, toMails); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := exchanges.Publish(ctx, pubsub.Publication{Exchange: "orders", Record: log.Record{Value: []byte("paid")}}); err != nil {
		fmt.Println(err)
		return
	}
	// What a message asks of its queue goes along.
	urgent := queue.Message{Value: []byte("refused"), Priority: 9}.Record()
	if _, err := exchanges.Publish(ctx, pubsub.Publication{Exchange: "orders", Record: urgent}); err != nil {
		fmt.Println(err)
		return
	}
	messages, err := mails.Receive(ctx, queue.ReceiveOptions{Max: 2})
	for _, m := range messages {
		fmt.Println(string(m.Value), m.Ack(ctx))
	}
	fmt.Println(err)
	// Output:
	// refused <nil>
	// paid <nil>
	// <nil>
}
