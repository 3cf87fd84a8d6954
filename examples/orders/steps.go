package main

import (
	"context"
	"errors"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

// steps is the saga as steps with compensations. What an action does elsewhere it does under the step's key;
// the event of the order is in the commit of the step's result.
func (s *shop) steps() saga.Def {
	return saga.Define[order](sagaName).
		Step("reserve", s.reserve, s.release).
		Step("pay", s.pay, s.refund).
		Step("ship", s.ship, nil, saga.Pivot())
}

// onItem changes the item of an order, by a command whose id is the step's key.
func (s *shop) onItem(ctx context.Context, o *order, t *saga.Task, decide func(*Item, string) error) error {
	_, err := s.inventory.Handle(ctx, itemOf(o.Number), func(i *Item) error { return decide(i, t.ID) },
		aggregate.SaveOptions{Origin: aggregate.Origin{CommandID: t.Key}})
	return err
}

func (s *shop) reserve(ctx context.Context, o *order, t *saga.Task) error {
	err := s.onItem(ctx, o, t, (*Item).reserve)
	if !errors.Is(err, errSoldOut) {
		return err
	}
	// There is nothing to release, and so nobody else who cancels the order.
	if _, err := s.orders.Handle(ctx, t.ID, (*Order).cancel); err != nil {
		return err
	}
	return saga.Final(err)
}

func (s *shop) release(ctx context.Context, o *order, t *saga.Task) error {
	t.With(func(ctx context.Context, c *log.Commit) error { return s.stage(ctx, c, t.ID, (*Order).cancel) })
	return s.onItem(ctx, o, t, (*Item).release)
}

func (s *shop) pay(ctx context.Context, o *order, t *saga.Task) error {
	if declined(o.Number) {
		return saga.Final(errDeclined)
	}
	t.With(func(ctx context.Context, c *log.Commit) error { return s.stage(ctx, c, t.ID, (*Order).pay) })
	return s.w.book(t.Key, o.amount())
}

func (s *shop) refund(_ context.Context, o *order, t *saga.Task) error {
	return s.w.book(t.Key, -o.amount())
}

func (s *shop) ship(ctx context.Context, _ *order, t *saga.Task) error {
	t.Emit(s.shipments, log.Record{Key: []byte(t.ID), Value: []byte("your order is on its way")})
	t.With(func(ctx context.Context, c *log.Commit) error { return s.stage(ctx, c, t.ID, (*Order).ship) })
	return s.w.book(t.Key, 0)
}
