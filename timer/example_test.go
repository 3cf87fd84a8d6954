package timer_test

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// An order is to be paid within some time. The timer is set in the commit of the order; what happens
// when it fires is one commit with the timer's removal, and so happens once.
func Example() {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()}) // in memory
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	orders, err := l.CreateTopic(ctx, "orders", log.TopicOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	timers, err := timer.Open(ctx, l)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = timers.HandleEach("unpaid", func(ctx context.Context, c *log.Commit, due timer.Timer) error {
		c.Append(orders, log.Record{Key: []byte(due.ID), Value: []byte("cancelled: " + string(due.Payload))})
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	c := l.NewCommit()
	c.Append(orders, log.Record{Key: []byte("order-7"), Value: []byte("placed")})
	c.Require(timer.Set("unpaid", "order-7", l.Now().Add(10*time.Millisecond), []byte("not paid in time")))
	if _, err := c.Commit(ctx); err != nil {
		fmt.Println(err)
		return
	}
	for r, err := range orders.Follow(ctx, log.Oldest) {
		fmt.Println(string(r.Key), string(r.Value), err)
		if r.Offset == 1 {
			break
		}
	}
	// Output:
	// order-7 placed <nil>
	// order-7 cancelled: not paid in time <nil>
}

// What is paid is no longer waited for.
func ExampleCancel() {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	timers, err := timer.Open(ctx, l)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, condition := range []log.Condition{
		timer.Set("unpaid", "order-7", l.Now().Add(time.Hour), nil),
		timer.Cancel("unpaid", "order-7"),
	} {
		c := l.NewCommit()
		c.Require(condition)
		if _, err := c.Commit(ctx); err != nil {
			fmt.Println(err)
			return
		}
		n, err := timers.Count(ctx, "unpaid")
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 0 <nil>
}

// A policy of at most four attempts, without jitter.
func ExampleRetry() {
	r := timer.Retry{Attempts: 4, First: time.Second, Factor: 3, Even: true}
	for failed := 1; ; failed++ {
		wait, again := r.Next(failed, nil, 0)
		if !again {
			fmt.Println("given up")
			break
		}
		fmt.Println("wait", wait)
	}
	// Output:
	// wait 1s
	// wait 3s
	// wait 9s
	// given up
}
