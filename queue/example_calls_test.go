package queue_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/timer"
)

// check ends an example that has failed.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Messages are sent in the commit that holds why: both, or neither.
func ExampleQueue_Stage() {
	withLog(func(ctx context.Context, l *log.Log) error {
		orders, err := l.CreateTopic(ctx, "orders", log.TopicOptions{})
		check(err)
		mails, err := queue.Declare(ctx, l, "mails", queue.Options{})
		check(err)
		c := l.NewCommit()
		c.Append(orders, log.Record{Key: []byte("7"), Value: []byte("placed")})
		check(mails.Stage(c, queue.Message{Value: []byte("thank you for order 7")}))
		_, err = c.Commit(ctx)
		check(err)
		s, err := mails.Stats(ctx)
		fmt.Println(s.Ready, "mail to send")
		return err
	})
	// Output: 1 mail to send
}

// High priorities come first, whenever they were sent.
func ExampleMessage_priority() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "jobs", queue.Options{})
		check(err)
		_, err = q.Send(ctx, queue.Message{Value: []byte("report")}, queue.Message{Value: []byte("alarm"), Priority: 9})
		check(err)
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Max: 2})
		for _, m := range ms {
			fmt.Println(string(m.Value))
		}
		return err
	})
	// Output:
	// alarm
	// report
}

// On an ordered queue the messages of a key come one after the other; a failing one holds up its own key alone.
func ExampleOptions_ordered() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "accounts", queue.Options{Ordered: true, Retry: timer.Retry{First: time.Hour, Even: true}})
		check(err)
		for _, v := range []string{"ada +5", "bob +1", "ada -3"} {
			_, err := q.Send(ctx, queue.Message{Key: []byte(v[:3]), Value: []byte(v)})
			check(err)
		}
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Max: 10})
		check(err)
		for _, m := range ms {
			fmt.Println(string(m.Value))
		}
		check(ms[0].Nack(ctx, errors.New("not now")))
		check(ms[1].Ack(ctx))
		ms, err = q.Receive(ctx, queue.ReceiveOptions{Max: 10})
		fmt.Println(len(ms), "more: ada's wait for the first of hers")
		return err
	})
	// Output:
	// ada +5
	// bob +1
	// 0 more: ada's wait for the first of hers
}

// A message with the DedupID of an earlier one is not sent again: its id is the first one's.
func ExampleOptions_dedup() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "payments", queue.Options{Dedup: queue.ForEver})
		check(err)
		for range 2 { // as after a lost reply
			ids, err := q.Send(ctx, queue.Message{Value: []byte("42 EUR"), DedupID: "invoice 7"})
			check(err)
			fmt.Println("message", ids[0])
		}
		s, err := q.Stats(ctx)
		fmt.Println(s.Sent, "sent")
		return err
	})
	// Output:
	// message 0
	// message 0
	// 1 sent
}

// A bounded queue refuses what it has no room for, or has Send wait for room.
func ExampleOptions_maxDepth() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "jobs", queue.Options{MaxDepth: 1})
		check(err)
		_, err = q.Send(ctx, queue.Message{Value: []byte("one")})
		check(err)
		_, err = q.Send(ctx, queue.Message{Value: []byte("two")})
		fmt.Println(errors.Is(err, queue.ErrQueueFull))

		patient, err := queue.Declare(ctx, l, "patient", queue.Options{MaxDepth: 1, WhenFull: queue.WaitWhenFull})
		check(err)
		_, err = patient.Send(ctx, queue.Message{Value: []byte("one")})
		check(err)
		soon, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err = patient.Send(soon, queue.Message{Value: []byte("two")})
		fmt.Println(errors.Is(err, context.DeadlineExceeded))
		return nil
	})
	// Output:
	// true
	// true
}

// What was rejected, or has failed too often, lies in the dead letters, from where it can be taken back.
func ExampleQueue_Redrive() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "mails", queue.Options{})
		check(err)
		dead, err := queue.Open(ctx, l, "mails.dead")
		check(err)
		_, err = q.Send(ctx, queue.Message{Value: []byte("to ada")})
		check(err)
		ms, err := q.Receive(ctx, queue.ReceiveOptions{})
		check(err)
		check(ms[0].Reject(ctx, errors.New("mailbox is full")))
		for m, err := range dead.Messages(ctx) {
			check(err)
			fmt.Println("dead:", string(m.Record.Value))
		}
		n, err := dead.Redrive(ctx, queue.RedriveOptions{Rate: 100})
		check(err)
		ms, err = q.Receive(ctx, queue.ReceiveOptions{})
		fmt.Println(n, "taken back, attempt", ms[0].Attempt)
		return err
	})
	// Output:
	// dead: to ada
	// 1 taken back, attempt 1
}

// A receipt stands for a message elsewhere, as in another process, while its lease lasts.
func ExampleQueue_Redeem() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "jobs", queue.Options{Lease: 10 * time.Minute})
		check(err)
		_, err = q.Send(ctx, queue.Message{Value: []byte("job")})
		check(err)
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Owner: "ada"})
		check(err)
		receipt := ms[0].Receipt() // to be handed to whoever does the job

		m, err := q.Redeem(ctx, receipt)
		check(err)
		check(m.Extend(ctx, time.Hour)) // it takes longer
		check(m.Ack(ctx))
		_, err = q.Redeem(ctx, receipt)
		fmt.Println(errors.Is(err, queue.ErrLease))
		return nil
	})
	// Output: true
}

// A batch handler says for each message what has become of it.
func ExampleQueue_RunBatch() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "rows", queue.Options{})
		check(err)
		_, err = q.Send(ctx, queue.Message{Value: []byte("1")}, queue.Message{Value: []byte("x")}, queue.Message{Value: []byte("3")})
		check(err)
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		return q.RunBatch(ctx, func(ctx context.Context, ms []*queue.Delivery) []error {
			defer stop() // after one batch
			results := make([]error, len(ms))
			for i, m := range ms {
				if string(m.Value) == "x" {
					results[i] = queue.Reject(errors.New("no number"))
				}
				fmt.Println(string(m.Value), results[i])
			}
			return results
		}, queue.RunOptions{Batch: 100})
	})
	// Output:
	// 1 <nil>
	// x no number
	// 3 <nil>
}

// Leases tells what is at work, with whom and until when; an owner that is gone gives all back at once.
func ExampleQueue_ReleaseOwner() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "jobs", queue.Options{})
		check(err)
		_, err = q.Send(ctx, queue.Message{Value: []byte("job")})
		check(err)
		_, err = q.Receive(ctx, queue.ReceiveOptions{Owner: "worker 3", Held: true})
		check(err)
		for m, err := range q.Leases(ctx) {
			check(err)
			fmt.Println(m.ID, "is with", m.Owner)
		}
		n, err := q.ReleaseOwner(ctx, "worker 3")
		fmt.Println(n, "given back")
		return err
	})
	// Output:
	// 0 is with worker 3
	// 1 given back
}

// Messages that were received together and handled in order are acknowledged by the last one.
func ExampleQueue_AckUpTo() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "rows", queue.Options{})
		check(err)
		_, err = q.Send(ctx, queue.Message{Value: []byte("1")}, queue.Message{Value: []byte("2")}, queue.Message{Value: []byte("3")})
		check(err)
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Max: 10})
		check(err)
		for _, m := range ms[:2] {
			fmt.Println("stored", string(m.Value))
		}
		check(q.AckUpTo(ctx, ms[1]))
		s, err := q.Stats(ctx)
		fmt.Println(s.Done, "done,", s.Leased, "leased")
		return err
	})
	// Output:
	// stored 1
	// stored 2
	// 2 done, 1 leased
}

// A lease that is held runs out at no time: it ends with what its receiver says, or with the owner.
func ExampleReceiveOptions_held() {
	withLog(func(ctx context.Context, l *log.Log) error {
		q, err := queue.Declare(ctx, l, "jobs", queue.Options{Lease: time.Millisecond})
		check(err)
		_, err = q.Send(ctx, queue.Message{Value: []byte("long job")})
		check(err)
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Held: true, Owner: "worker 3"})
		check(err)
		fmt.Println("ends by itself:", !ms[0].Until.IsZero())

		n, err := q.ReleaseOwner(ctx, "worker 3") // it is known to be gone
		check(err)
		fmt.Println(n, "given back")
		fmt.Println(errors.Is(ms[0].Ack(ctx), queue.ErrLease))
		ms, err = q.Receive(ctx, queue.ReceiveOptions{Held: true, Owner: "worker 4"})
		fmt.Println(string(ms[0].Value), "attempt", ms[0].Attempt)
		return err
	})
	// Output:
	// ends by itself: false
	// 1 given back
	// true
	// long job attempt 2
}
