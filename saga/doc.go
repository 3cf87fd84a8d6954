// Package saga runs durable processes: steps with compensations, or transitions on events, whose every move
// is in the log before it is made.
//
//	checkout := saga.Define[Order]("checkout").
//		Step("reserve", reserve, release).
//		Step("pay", charge, refund, saga.Retry(5)).
//		Step("ship", ship, nil, saga.Pivot())
//	r, err := saga.NewRunner(l, checkout)
//	err = r.Start(ctx, "order-7", Order{…})
//	err = r.Run(ctx) // until ctx ends
//
// # What is guaranteed
//
// An instance is a stream of events in the log. An attempt at a step is intended, in a commit, before its
// action is called, and its result is a commit again, together with the records that the action emits and
// with the intention of what comes next. So a crash at any moment loses nothing: when a runner runs again,
// each instance goes on where it was. An action whose result was not recorded is called again, with the
// same idempotency key and the next attempt's number; what it does elsewhere happens once if the other side
// heeds the key.
//
// An instance ends completed, compensated or, given up by hand, aborted. When a step fails for good, what
// was done is undone in the reverse order of completion. A step of which nobody knows whether it took
// effect, since an attempt timed out or was cut off by a crash, is undone too. When a compensation fails for
// good, or a step behind the pivot, the instance is parked: it stays visible, holds up no other, and goes on
// by Retry, Resume or Abort.
//
// At most one runner acts for an instance: within a process an instance is claimed before it is looked at,
// and every commit of a runner carries the epoch under which it has taken the instance, so that one that
// was overtaken is refused with a *FencedError.
//
// # Records of the topic __strata.sagas
//
// The key is saga | 0 | id, the value is the JSON of an Event.
//
// # Keys and values of the view
//
//	'v' | saga | 0 | id                 be64 version | be64 epoch; what conditions rest on
//	'i' | saga | 0 | id                 JSON of the Instance
//	'h' | saga | 0 | id | 0 | be64      offset of the event with this version, be64
//	'r' | saga | 0 | id                 the instance has something to do
//	's' | saga | 0 | status | id        the instances of a status
//	'n' | saga | 0 | status             how many these are, be64
//
// # Invariants
//
//   - Versions of an instance are 1..n, each once.
//   - Each instance has one key under 's', and one under 'r' exactly while a runner has something to do for
//     it: when it waits, a durable timer or something that is told to it will bring it back.
package saga
