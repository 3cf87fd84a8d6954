package main

import (
	"context"
	"errors"
	"time"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/timer"
)

var errMailbox = errors.New("there is no such mailbox")

func (s *shop) openMails(ctx context.Context) (err error) {
	s.mails, err = queue.Declare(ctx, s.l, "mails", queue.Options{Retry: timer.Retry{Attempts: 3, First: 5 * time.Millisecond}})
	return err
}

// orderMails is the consumer group that orders a mail for each shipment: the message to the queue and the
// group's offset are one commit.
func (s *shop) orderMails(ctx context.Context) error {
	m, err := consumer.Join(context.WithoutCancel(ctx), s.l, "mailer", consumer.Options{
		Topics: []string{"shipments"}, Committing: consumer.CommitExplicit,
	})
	if err != nil {
		return err
	}
	for r, err := range m.Records(ctx) {
		if err == nil {
			c := s.l.NewCommit()
			c.Require(m.Done(r))
			if err = s.mails.Stage(c, queue.Message{Key: r.Key, Value: r.Value}); err == nil {
				_, err = c.Commit(context.WithoutCancel(ctx))
			}
		}
		if err != nil {
			return errors.Join(err, m.Close())
		}
	}
	return m.Close()
}

// sendMails takes mails off the queue. Those that cannot be sent go to mails.dead, behind their last attempt.
func (s *shop) sendMails(ctx context.Context) error {
	return s.mails.Run(ctx, func(_ context.Context, m *queue.Delivery) error {
		n, err := numberOf(string(m.Key))
		if err != nil {
			return err
		}
		if unmailable(n) {
			return errMailbox
		}
		return s.w.book("mail/"+orderID(n), 0)
	}, queue.RunOptions{Workers: 8})
}

// mailsLeft returns how many mails are neither sent nor dead, and how many are dead. Shipments that the group
// has not ordered a mail for are among those that are left.
func (s *shop) mailsLeft(ctx context.Context) (left, dead int, err error) {
	st, err := s.mails.Stats(ctx)
	return int(s.shipments.Partition(0).Next() - st.Done - st.Dead), int(st.Dead), err
}
