package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/stratalog/strata/projection"
)

// dayRevenue is a row of the revenue by day.
type dayRevenue struct{ Orders, Amount int }

var (
	byStatus = projection.NewTable[int]("orders by status") // how many orders have it
	statusOf = projection.NewTable[string]("status of orders")
	revenue  = projection.NewTable[dayRevenue]("revenue by day")
)

// reports are the shop's projections.
type reports struct{ status, revenue *projection.Model }

func (s *shop) openReports(ctx context.Context) (err error) {
	o := projection.Options{Topics: []string{"shop"}, Categories: []string{"order"}}
	s.reports.status, err = projection.Open(ctx, s.l, projection.Define("orders-by-status", 1, o, countStatus))
	if err != nil {
		return err
	}
	o.Types = []string{"order.shipped"}
	s.reports.revenue, err = projection.Open(ctx, s.l, projection.Define("revenue-by-day", 1, o, addRevenue))
	return err
}

// countStatus moves an order from the count of its status to that of its next one.
func countStatus(tx *projection.Tx, e *projection.Event) error {
	next := e.Type[len("order."):]
	was, placed, err := statusOf.Get(tx, e.Stream)
	if err != nil {
		return err
	}
	if placed {
		err = byStatus.Update(tx, was, func(n *int) error { *n--; return nil })
	}
	return errors.Join(err,
		byStatus.Update(tx, next, func(n *int) error { *n++; return nil }),
		statusOf.Put(tx, e.Stream, next))
}

// addRevenue counts an order on the day on which it was shipped.
func addRevenue(tx *projection.Tx, e *projection.Event) error {
	var shipped OrderShipped
	if err := json.Unmarshal(e.Data, &shipped); err != nil {
		return err
	}
	return revenue.Update(tx, e.Time.UTC().Format(time.DateOnly), func(d *dayRevenue) error {
		d.Orders++
		d.Amount += shipped.Amount
		return nil
	})
}

// read brings the models up to date, and returns how many orders have each status, and the whole revenue.
func (r *reports) read(ctx context.Context) (statuses map[string]int, amount int, err error) {
	if err := errors.Join(r.status.CatchUp(ctx), r.revenue.CatchUp(ctx)); err != nil {
		return nil, 0, err
	}
	statuses = map[string]int{}
	for row, err := range byStatus.Scan(r.status, "") {
		if err != nil {
			return nil, 0, err
		}
		statuses[row.Key] = row.Value
	}
	for row, err := range revenue.Scan(r.revenue, "") {
		if err != nil {
			return nil, 0, err
		}
		amount += row.Value.Amount
	}
	return statuses, amount, nil
}
