// Package timer holds durable timers, one view for all layers, and the retry policy that they share.
//
// A timer belongs to an owner, the name of a layer or of a program's own, and has an id that is unique
// among the owner's. It is set, cancelled and fired by conditions, so within any commit, beside
// whatever else belongs to it:
//
//	c.Require(timer.Set("orders", "order-7", due, payload))
//
// When it is due, the owner's handler is called; what the handler commits has Fire among its
// conditions, and so happens once, however often the handler is called: it is called again after an
// error and after a crash. Due is compared with the log's time, which runs with the monotonic clock,
// so that a wall clock that jumps makes no timer fire early or twice.
//
// Open comes before the first commit with one of the conditions: it registers the view.
//
// # Records of the topic __strata.timers
//
// The key is owner | 0 | id, the value
//
//	's' | be64 due | payload   set; what was set under that id before is replaced
//	'c'                        cancelled
//	'f'                        fired
//
// with due in microseconds since 1970, of the log's time.
//
// # Keys and values of the view
//
//	'd' | owner | 0 | be64 due | be64 position | id   payload
//	'i' | owner | 0 | id                              be64 due | be64 position
//	'n' | owner                                       be64 how many are set
//
// with the position of the commit that set the timer. The keys under 'd' lie in the order in which the
// timers of an owner are due, so that finding the next ones is one short scan. Conditions rest on the
// keys under 'i'.
//
// # Invariants
//
//   - Each key under 'i' has one under 'd' and the other way round; 'n' counts them.
//   - A timer that is set is removed by exactly one commit: one that fires, cancels or replaces it.
package timer
