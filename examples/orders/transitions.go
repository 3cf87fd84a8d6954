package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

// transitions is the saga as transitions on the events of the services, to which it sends commands.
func (s *shop) transitions() saga.Def {
	is := func(event string) func(log.Record) (string, bool) {
		return func(r log.Record) (string, bool) { return string(r.Key), string(r.Value) == event }
	}
	command := func(stage, text string) saga.Transition[order] {
		return func(o *order, t *saga.Turn) error {
			o.Stage = stage
			t.Emit(s.commands, log.Record{Key: []byte(t.ID), Value: []byte(text)})
			return nil
		}
	}
	return saga.Define[order](sagaName).
		On("services", "InventoryReserved", is("InventoryReserved"), command("reserved", "pay")).
		On("services", "PaymentProcessed", is("PaymentProcessed"), command("paid", "ship"), saga.After("InventoryReserved")).
		On("services", "OrderShipped", is("OrderShipped"), func(o *order, t *saga.Turn) error {
			o.Stage = "shipped"
			t.Emit(s.shipments, log.Record{Key: []byte(t.ID), Value: []byte("your order is on its way")})
			t.Complete()
			return nil
		}, saga.After("PaymentProcessed")).
		On("services", "InventoryReservationFailed", is("InventoryReservationFailed"), func(_ *order, t *saga.Turn) error {
			t.Emit(s.commands, log.Record{Key: []byte(t.ID), Value: []byte("cancel")})
			t.Compensated(errSoldOut.Error())
			return nil
		}).
		On("services", "PaymentFailed", is("PaymentFailed"), func(_ *order, t *saga.Turn) error {
			t.Emit(s.commands, log.Record{Key: []byte(t.ID), Value: []byte("release")}, log.Record{Key: []byte(t.ID), Value: []byte("cancel")})
			t.Compensated(errDeclined.Error())
			return nil
		}, saga.After("InventoryReserved"))
}

// serve is warehouse, bank and carrier: a member for each partition of the commands.
func (s *shop) serve(ctx context.Context) error {
	done := make(chan error, partitions)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range partitions {
		go func() {
			defer cancel()
			done <- s.serveSome(ctx)
		}()
	}
	var errs []error
	for range partitions {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

func (s *shop) serveSome(ctx context.Context) error {
	m, err := consumer.Join(context.WithoutCancel(ctx), s.l, "services", consumer.Options{
		Topics: []string{"commands"}, Committing: consumer.CommitExplicit, Assignor: consumer.CooperativeSticky,
	})
	if err != nil {
		return err
	}
	for r, err := range m.Records(ctx) {
		if err == nil {
			err = s.carryOut(context.WithoutCancel(ctx), m, r)
		}
		if errors.Is(err, consumer.ErrFenced) {
			continue // another member's now, which gets it again
		}
		if err != nil && ctx.Err() == nil {
			return errors.Join(err, m.Close())
		}
	}
	return m.Close()
}

// carryOut carries out a command. What it changes, the event that answers it, and the offset behind it are
// one commit; what a service outside books has the command for its key.
func (s *shop) carryOut(ctx context.Context, m *consumer.Member, r log.Record) error {
	id, command := string(r.Key), string(r.Value)
	n, err := numberOf(id)
	if err != nil {
		return err
	}
	answer := func(event string) aggregate.SaveOptions {
		return aggregate.SaveOptions{With: func(c *log.Commit) error {
			if event != "" {
				c.Append(s.services, log.Record{Key: r.Key, Value: []byte(event)})
			}
			c.Require(m.Done(r))
			return nil
		}}
	}
	onItem := func(decide func(*Item, string) error, event string) error {
		_, err := s.inventory.Handle(ctx, itemOf(n), func(i *Item) error { return decide(i, id) }, answer(event))
		return err
	}
	onOrder := func(decide func(*Order) error, event string) error {
		_, err := s.orders.Handle(ctx, id, decide, answer(event))
		return err
	}
	key := sagaName + "/" + id + "/" + command
	switch command {
	case "reserve":
		err := onItem((*Item).reserve, "InventoryReserved")
		if errors.Is(err, errSoldOut) {
			return onItem(func(*Item, string) error { return nil }, "InventoryReservationFailed")
		}
		return err
	case "pay":
		if declined(n) {
			return onOrder(func(*Order) error { return nil }, "PaymentFailed")
		}
		if err := s.w.book(key, amountOf(n)); err != nil {
			return err
		}
		return onOrder((*Order).pay, "PaymentProcessed")
	case "ship":
		if err := s.w.book(key, 0); err != nil {
			return err
		}
		return onOrder((*Order).ship, "OrderShipped")
	case "release":
		return onItem((*Item).release, "")
	case "cancel":
		return onOrder((*Order).cancel, "")
	}
	return fmt.Errorf("command %q", command)
}
