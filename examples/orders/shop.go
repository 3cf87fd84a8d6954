package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
	"github.com/stratalog/strata/timer"
)

const (
	sagaName  = "order"
	mailGroup = "mailer"
)

// order is the state of a saga.
type order struct {
	Number int    `json:"number"`
	Stage  string `json:"stage,omitempty"`
}

func (o *order) amount() int { return amountOf(o.Number) }

func amountOf(number int) int { return 100 + number%50 }

func orderID(number int) string { return "order-" + strconv.Itoa(number) }

func numberOf(id string) (int, error) { return strconv.Atoi(strings.TrimPrefix(id, "order-")) }

// One order in ten is declined, one mail in twenty cannot be sent.
func declined(number int) bool   { return number%10 == 3 }
func unmailable(number int) bool { return number%20 == 7 }

var (
	errDeclined = errors.New("the payment was declined")
	errMailbox  = errors.New("there is no such mailbox")
)

// shop is one run of the program.
type shop struct {
	o        options
	l        *log.Log
	w        *world
	mails    *log.Topic
	commands *log.Topic
	events   *log.Topic
	r        *saga.Runner
}

func openShop(ctx context.Context, o options) (*shop, error) {
	l, err := log.Open(o.dir, log.Options{})
	if err != nil {
		return nil, err
	}
	s := &shop{o: o, l: l}
	if s.w, err = openWorld(o.dir + ".world"); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	for name, t := range map[string]**log.Topic{"mails": &s.mails, "commands": &s.commands, "events": &s.events} {
		if *t, err = l.CreateTopic(ctx, name, log.TopicOptions{}); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	d := s.steps()
	if o.eventDriven {
		d = s.transitions()
	}
	if s.r, err = saga.NewRunner(l, d); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *shop) Close() error { return errors.Join(s.l.Close(), s.w.Close()) }

// work carries out all orders that are not finished yet.
func work(ctx context.Context, o options, progress interface{ Write([]byte) (int, error) }) error {
	s, err := openShop(ctx, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	jobs := []func() error{
		func() error { return s.place(ctx) },
		func() error { return s.r.Run(ctx) },
		func() error { return s.sendMails(ctx) },
		func() error { return s.untilFinished(ctx, cancel, progress) },
	}
	if o.eventDriven {
		jobs = append(jobs, func() error { return s.serve(ctx) })
	}
	failures := make(chan error, len(jobs))
	for _, job := range jobs {
		go func() {
			err := job()
			if err != nil {
				cancel()
			}
			failures <- err
		}()
	}
	var errs []error
	for range jobs {
		if err := <-failures; err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	cancel()
	return errors.Join(append(errs, s.Close())...)
}

// place places the orders, each once however often the program is started. An order is the beginning of
// its saga, or the first command of it.
func (s *shop) place(ctx context.Context) error {
	const atOnce = 50
	orders := s.o.orders
	if s.o.hold {
		orders--
	}
	for from := 0; from < orders; from += atOnce {
		var acks []*log.Ack
		for n := from; n < min(from+atOnce, orders); n++ {
			c := s.l.NewCommit()
			if s.o.eventDriven {
				c.Append(s.commands, log.Record{Key: []byte(orderID(n)), Value: []byte("reserve")})
				c.Require(log.Once("place " + orderID(n)))
			} else {
				begins, err := s.r.Starting(orderID(n), order{Number: n})
				if err != nil {
					return err
				}
				c.Require(begins)
			}
			acks = append(acks, c.CommitAsync(ctx))
		}
		for _, a := range acks {
			if _, err := a.Wait(ctx); err != nil && !errors.Is(err, saga.ErrFenced) {
				return err // ErrFenced: it is there already
			}
		}
	}
	return nil
}

// sendMails sends a mail for each order that was shipped. Those that cannot be sent go to mailer.dead.
func (s *shop) sendMails(ctx context.Context) error {
	return consumer.Run(ctx, s.l, mailGroup, consumer.Options{Topics: []string{"mails"}, CommitEvery: 50 * time.Millisecond},
		consumer.RunOptions{Workers: 8, Retry: timer.Retry{Attempts: 3, First: 5 * time.Millisecond}, Failure: consumer.FailureParks},
		func(_ context.Context, r log.Record) error {
			n, err := numberOf(string(r.Key))
			if err != nil {
				return err
			}
			if unmailable(n) {
				return errMailbox
			}
			return s.w.book("mail/"+orderID(n), 0)
		})
}

// deadMails returns how many mails were parked.
func (s *shop) deadMails() int {
	t, err := s.l.Topic(mailGroup + ".dead")
	if err != nil {
		return 0
	}
	return int(t.Partition(0).Next())
}

// untilFinished ends the others when all orders have ended and all mails are sent or dead. It tells how many
// orders have ended.
func (s *shop) untilFinished(ctx context.Context, end func(), progress interface{ Write([]byte) (int, error) }) error {
	defer end()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	last := -1
	for {
		counts, err := s.r.Count(ctx, sagaName)
		if err != nil {
			return err
		}
		n := counts[saga.Completed] + counts[saga.Compensated] + counts[saga.Parked]
		if n != last {
			last = n
			if _, err := fmt.Fprintln(progress, n); err != nil {
				return err
			}
		}
		_, sent := s.w.sum("mail/")
		// Each order that is completed has a mail, which may not be synced yet, and so is not seen by the group.
		mails := max(counts[saga.Completed], int(s.mails.Partition(0).Next()))
		if n >= s.o.orders && sent+s.deadMails() >= mails {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

// count looks at what came of the orders.
func count(ctx context.Context, o options) (*report, error) {
	s, err := openShop(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &report{Duplicates: s.w.duplicates, MailsDead: s.deadMails()}
	r.MoneyIn, r.MailsSent = s.w.sum("mail/")
	for in, err := range s.r.List(ctx, sagaName, 0) {
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		r.Orders++
		switch in.Status {
		case saga.Completed:
			n, err := numberOf(in.ID)
			if err != nil {
				return nil, errors.Join(err, s.Close())
			}
			r.Completed++
			r.MoneyOfCompleted += amountOf(n)
		case saga.Compensated:
			r.Compensated++
		case saga.Parked:
			r.Parked++
		}
	}
	return r, s.Close()
}
