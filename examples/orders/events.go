package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// The events of an order, and of an item of the inventory.
type (
	OrderPlaced    struct{ Number, Amount int }
	OrderPaid      struct{ Amount int }
	OrderShipped   struct{ Amount int }
	OrderCancelled struct{}

	ItemStocked   struct{ Quantity int }
	StockReserved struct{ Order string }
	StockReleased struct{ Order string }
)

var orderEvents = aggregate.NewTypes(
	aggregate.EventType[OrderPlaced]("order.placed"),
	aggregate.EventType[OrderPaid]("order.paid"),
	aggregate.EventType[OrderShipped]("order.shipped"),
	aggregate.EventType[OrderCancelled]("order.cancelled"),
)

var itemEvents = aggregate.NewTypes(
	aggregate.EventType[ItemStocked]("item.stocked"),
	aggregate.EventType[StockReserved]("item.reserved"),
	aggregate.EventType[StockReleased]("item.released"),
)

// Order is an order, as of its events.
type Order struct {
	aggregate.Root
	Amount int
	Status string // "", "placed", "paid", "shipped" or "cancelled"
}

func (o *Order) apply(event any) error {
	switch e := event.(type) {
	case OrderPlaced:
		o.Status, o.Amount = "placed", e.Amount
	case OrderPaid:
		o.Status = "paid"
	case OrderShipped:
		o.Status = "shipped"
	case OrderCancelled:
		o.Status = "cancelled"
	}
	return nil
}

// move raises an event that brings the order from one of some statuses to the next. Where that has happened
// before it does nothing, so that a command may be repeated.
func (o *Order) move(to string, event any, from ...string) error {
	switch {
	case o.Status == to:
		return nil
	case slices.Contains(from, o.Status):
		return o.Raise(event)
	}
	return fmt.Errorf("order %s is %q, and cannot be %s", o.ID(), o.Status, to)
}

func (o *Order) pay() error    { return o.move("paid", OrderPaid{o.Amount}, "placed") }
func (o *Order) ship() error   { return o.move("shipped", OrderShipped{o.Amount}, "paid") }
func (o *Order) cancel() error { return o.move("cancelled", OrderCancelled{}, "placed", "paid") }

// Item is an item of the inventory, as of its events.
type Item struct {
	aggregate.Root
	Left     int
	Reserved map[string]bool // by order
}

func (i *Item) apply(event any) error {
	if i.Reserved == nil {
		i.Reserved = map[string]bool{}
	}
	switch e := event.(type) {
	case ItemStocked:
		i.Left += e.Quantity
	case StockReserved:
		i.Left--
		i.Reserved[e.Order] = true
	case StockReleased:
		i.Left++
		delete(i.Reserved, e.Order)
	}
	return nil
}

var errSoldOut = errors.New("sold out")

func (i *Item) reserve(order string) error {
	switch {
	case i.Reserved[order]:
		return nil
	case i.Left < 1:
		return errSoldOut
	}
	return i.Raise(StockReserved{order})
}

func (i *Item) release(order string) error {
	if !i.Reserved[order] {
		return nil
	}
	return i.Raise(StockReleased{order})
}

const items = 20

// amountOf returns what an order costs.
func amountOf(number int) int { return 100 + number%50 }

func itemOf(number int) string { return strconv.Itoa(number % items) }

func orderID(number int) string { return "order-" + strconv.Itoa(number) }

func numberOf(id string) (int, error) { return strconv.Atoi(strings.TrimPrefix(id, "order-")) }

// openAggregates opens the event store, and what makes orders and items of its events.
func (s *shop) openAggregates(ctx context.Context) (err error) {
	if s.store, err = aggregate.Open(ctx, s.l, "shop", aggregate.Options{}); err != nil {
		return err
	}
	if s.orders, err = aggregate.NewRepository(s.store, aggregate.Define("order", orderEvents, (*Order).apply)); err != nil {
		return err
	}
	s.inventory, err = aggregate.NewRepository(s.store, aggregate.Define("item", itemEvents, (*Item).apply).Snapshots(1, 32))
	return err
}

// stock stocks the inventory, once.
func (s *shop) stock(ctx context.Context) error {
	for i := range items {
		_, err := s.inventory.Handle(ctx, itemOf(i), func(it *Item) error {
			if it.Version() > 0 {
				return nil
			}
			return it.Raise(ItemStocked{cmp.Or(s.o.stock, s.o.orders)})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stage puts what a decision about an order raises into a commit of somebody else's.
func (s *shop) stage(ctx context.Context, c *log.Commit, id string, decide func(*Order) error) error {
	o, err := s.orders.Load(ctx, id)
	if err != nil {
		return err
	}
	if err := decide(o); err != nil {
		return err
	}
	a, err := s.orders.Append(o)
	if err != nil || len(a.Events) == 0 {
		return err
	}
	_, err = s.store.Stage(ctx, c, a.Stream, a.Expected, a.Events...)
	return err
}
