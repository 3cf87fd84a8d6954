package main

import (
	"context"
	"errors"
	"fmt"

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
		On("events", "InventoryReserved", is("InventoryReserved"), command("reserved", "pay")).
		On("events", "PaymentProcessed", is("PaymentProcessed"), command("paid", "ship"), saga.After("InventoryReserved")).
		On("events", "OrderShipped", is("OrderShipped"), func(o *order, t *saga.Turn) error {
			o.Stage = "shipped"
			t.Emit(s.mails, log.Record{Key: []byte(t.ID), Value: []byte("your order is on its way")})
			t.Complete()
			return nil
		}, saga.After("PaymentProcessed")).
		On("events", "InventoryReservationFailed", is("InventoryReservationFailed"), func(_ *order, t *saga.Turn) error {
			t.Compensated("sold out")
			return nil
		}).
		On("events", "PaymentFailed", is("PaymentFailed"), func(_ *order, t *saga.Turn) error {
			t.Emit(s.commands, log.Record{Key: []byte(t.ID), Value: []byte("release")})
			t.Compensated(errDeclined.Error())
			return nil
		}, saga.After("InventoryReserved"))
}

// serve is warehouse, bank and carrier: each command is carried out once, and answered by an event in the
// commit that passes it.
func (s *shop) serve(ctx context.Context) error {
	m, err := consumer.Join(context.WithoutCancel(ctx), s.l, "services", consumer.Options{Topics: []string{"commands"}, Committing: consumer.CommitExplicit})
	if err != nil {
		return err
	}
	for r, err := range m.Records(ctx) {
		if err == nil {
			err = s.carryOut(m, r)
		}
		if err != nil {
			return errors.Join(err, m.Close())
		}
	}
	return m.Close()
}

func (s *shop) carryOut(m *consumer.Member, r log.Record) error {
	n, err := numberOf(string(r.Key))
	if err != nil {
		return err
	}
	c := s.l.NewCommit()
	c.Require(m.Done(r))
	event, amount := "", 0
	switch command := string(r.Value); command {
	case "reserve":
		event = "InventoryReserved"
	case "pay":
		event, amount = "PaymentProcessed", amountOf(n)
		if declined(n) {
			event, amount = "PaymentFailed", 0
		}
	case "ship":
		event = "OrderShipped"
	case "release":
	default:
		return fmt.Errorf("command %q", command)
	}
	if err := s.w.book(sagaName+"/"+string(r.Key)+"/"+string(r.Value), amount); err != nil {
		return err
	}
	if event != "" {
		c.Append(s.events, log.Record{Key: r.Key, Value: []byte(event)})
	}
	_, err = c.Commit(context.Background())
	return err
}
