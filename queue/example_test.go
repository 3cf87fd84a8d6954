package queue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

func withLog(f func(ctx context.Context, l *log.Log) error) {
	dir, err := os.MkdirTemp("", "queue-example-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := log.Open(dir, log.Options{})
	if err != nil {
		panic(err)
	}
	if err := errors.Join(f(context.Background(), l), l.Close()); err != nil {
		panic(err)
	}
}

// Messages are received under a lease, and are gone when they are acknowledged.
func Example() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "mails", queue.Options{})
		if err != nil {
			return err
		}
		if _, err := q.Send(ctx, queue.Message{Value: []byte("to ada")}, queue.Message{Value: []byte("to bob")}); err != nil {
			return err
		}
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Max: 10, Wait: time.Second})
		if err != nil {
			return err
		}
		for _, m := range ms {
			fmt.Println(m.ID(), string(m.Value), "attempt", m.Attempt)
			if err := m.Ack(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	// Output:
	// 0 to ada attempt 1
	// 1 to bob attempt 1
}

// Run handles messages with a number of workers; what fails is tried again and then goes to the dead
// letters.
func ExampleQueue_Run() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "mails", queue.Options{Retry: timer.Retry{Attempts: 2, First: time.Millisecond}})
		if err != nil {
			return err
		}
		dead, err := queue.Open(ctx, l, "mails.dead")
		if err != nil {
			return err
		}
		if _, err := q.Send(ctx, queue.Message{Value: []byte("to nobody")}); err != nil {
			return err
		}
		running, stop := context.WithCancel(ctx)
		defer stop()
		done := make(chan error)
		go func() {
			done <- q.Run(running, func(ctx context.Context, m *queue.Delivery) error {
				return errors.New("no such address")
			}, queue.RunOptions{Workers: 4})
		}()
		ms, err := dead.Receive(ctx, queue.ReceiveOptions{Wait: time.Minute})
		if err != nil {
			return err
		}
		for _, m := range ms {
			why, err := record.ParseDead(m.Headers)
			if err != nil {
				return err
			}
			fmt.Println(string(m.Value), "-", why.Cause, "-", why.Attempts, "attempts")
		}
		stop()
		return <-done
	})
	// Output: to nobody - no such address - 2 attempts
}

// A message is taken off in the commit that holds what its handling has brought about: both, or neither.
func ExampleDelivery_Done() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "orders", queue.Options{})
		if err != nil {
			return err
		}
		invoices, err := l.CreateTopic(ctx, "invoices", log.TopicOptions{})
		if err != nil {
			return err
		}
		if _, err := q.Send(ctx, queue.Message{Value: []byte("order 7")}); err != nil {
			return err
		}
		ms, err := q.Receive(ctx, queue.ReceiveOptions{})
		if err != nil {
			return err
		}
		c := l.NewCommit()
		c.Append(invoices, log.Record{Value: []byte("invoice for " + string(ms[0].Value))})
		c.Require(ms[0].Done())
		if _, err := c.Commit(ctx); err != nil {
			return err
		}
		for r, err := range invoices.Read(log.Oldest) {
			if err != nil {
				return err
			}
			fmt.Println(string(r.Value))
		}
		s, err := q.Stats(ctx)
		fmt.Println(s.Depth(), "left")
		return err
	})
	// Output:
	// invoice for order 7
	// 0 left
}

// A message can be delayed by any time, and called back before.
func ExampleQueue_Cancel() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "reminders", queue.Options{})
		if err != nil {
			return err
		}
		ids, err := q.Send(ctx, queue.Message{Value: []byte("pay"), Delay: 30 * 24 * time.Hour})
		if err != nil {
			return err
		}
		s, err := q.Stats(ctx)
		if err != nil {
			return err
		}
		fmt.Println(s.Ready, "ready", s.Delayed, "delayed")
		if err := q.Cancel(ctx, ids[0]); err != nil {
			return err
		}
		fmt.Println(errors.Is(q.Cancel(ctx, ids[0]), queue.ErrNoMessage))
		return nil
	})
	// Output:
	// 0 ready 1 delayed
	// true
}
