package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/saga"
)

const (
	sagaName = "order"
	// partitions is how many partitions the commands and the events of the services have.
	partitions = 8
)

// order is the state of a saga.
type order struct {
	Number int    `json:"number"`
	Stage  string `json:"stage,omitempty"`
}

func (o *order) amount() int { return amountOf(o.Number) }

// One order in ten is declined, one mail in twenty cannot be sent.
func declined(number int) bool   { return number%10 == 3 }
func unmailable(number int) bool { return number%20 == 7 }

var errDeclined = errors.New("the payment was declined")

// shop is one run of the program.
type shop struct {
	o         options
	l         *log.Log
	w         *world
	store     *aggregate.Store
	orders    *aggregate.Repository[Order]
	inventory *aggregate.Repository[Item]
	mails     *queue.Queue
	reports   reports
	shipments *log.Topic
	commands  *log.Topic // to the services, in the event-driven shop
	services  *log.Topic // their events
	r         *saga.Runner
}

func openShop(ctx context.Context, o options) (*shop, error) {
	// That views are derived again after a kill is no news here.
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	l, err := log.Open(o.dir, log.Options{Logger: logger})
	if err != nil {
		return nil, err
	}
	s := &shop{o: o, l: l}
	if s.w, err = openWorld(o.dir + ".world"); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := s.openParts(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
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

// openParts opens what the saga stands on.
func (s *shop) openParts(ctx context.Context) (err error) {
	if s.shipments, err = s.l.CreateTopic(ctx, "shipments", log.TopicOptions{}); err != nil {
		return err
	}
	for name, t := range map[string]**log.Topic{"commands": &s.commands, "services": &s.services} {
		if *t, err = s.l.CreateTopic(ctx, name, log.TopicOptions{Partitions: partitions}); err != nil {
			return err
		}
	}
	return errors.Join(s.openAggregates(ctx), s.openMails(ctx), s.openReports(ctx))
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
		func() error { return s.orderMails(ctx) },
		func() error { return s.sendMails(ctx) },
		func() error { return s.reports.status.Run(ctx) },
		func() error { return s.reports.revenue.Run(ctx) },
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

// place places the orders, each once however often the program is started: the first event of an order is
// in one commit with the beginning of its saga, or with the first command of it.
func (s *shop) place(ctx context.Context) error {
	if err := s.stock(ctx); err != nil {
		return err
	}
	const atOnce = 50
	orders := s.o.orders
	if s.o.hold {
		orders--
	}
	for from := 0; from < orders; from += atOnce {
		var acks []*log.Ack
		for n := from; n < min(from+atOnce, orders); n++ {
			c := s.l.NewCommit()
			placed, err := orderEvents.Encode(OrderPlaced{n, amountOf(n)})
			if err != nil {
				return err
			}
			if _, err := s.store.Stage(ctx, c, s.orders.Type().Stream(orderID(n)), aggregate.NoStream, placed); err != nil {
				return err
			}
			if s.o.eventDriven {
				c.Append(s.commands, log.Record{Key: []byte(orderID(n)), Value: []byte("reserve")})
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
			// One of these says that it is there already.
			_, err := a.Wait(ctx)
			if err != nil && !errors.Is(err, saga.ErrFenced) && !errors.Is(err, aggregate.ErrVersionConflict) {
				return err
			}
		}
	}
	return nil
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
		// The shipment of an order that has completed is written with it.
		left, _, err := s.mailsLeft(ctx)
		if err != nil {
			return err
		}
		if n >= s.o.orders && left == 0 {
			// A transition has only commanded what becomes of the order.
			statuses, _, err := s.reports.read(ctx)
			if err != nil || statuses["shipped"]+statuses["cancelled"]+counts[saga.Parked] >= s.o.orders {
				return err
			}
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
	r := &report{Duplicates: s.w.duplicates}
	r.MoneyIn, r.MailsSent = s.w.sum("mail/")
	if _, r.MailsDead, err = s.mailsLeft(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if r.Statuses, r.Revenue, err = s.reports.read(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
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
