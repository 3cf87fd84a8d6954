package main

import (
	"context"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

// steps is the saga as steps with compensations.
func (s *shop) steps() saga.Def {
	books := func(amount func(*order) int) saga.Action[order] {
		return func(_ context.Context, o *order, t *saga.Task) error { return s.w.book(t.Key, amount(o)) }
	}
	free := func(*order) int { return 0 }
	back := func(o *order) int { return -o.amount() }
	return saga.Define[order](sagaName).
		Step("reserve", books(free), books(free)).
		Step("pay", func(_ context.Context, o *order, t *saga.Task) error {
			if declined(o.Number) {
				return saga.Final(errDeclined)
			}
			return s.w.book(t.Key, o.amount())
		}, books(back)).
		Step("ship", func(_ context.Context, _ *order, t *saga.Task) error {
			t.Emit(s.mails, log.Record{Key: []byte(t.ID), Value: []byte("your order is on its way")})
			return s.w.book(t.Key, 0)
		}, nil, saga.Pivot())
}
