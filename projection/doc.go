// Package projection makes read models of the log: what queries want to read, folded from events in order.
//
// A [Definition] has a name, a version, a filter and a handler. The handler is given the events one after the
// other, in order of position, with a transaction of the read model. What it writes and the [Checkpoint],
// which says how far it has come, are one transaction: so each event is in the model exactly once, whatever
// crashes when. A transaction ends where a commit of the log does: a model never shows half of one.
//
// [Open] keeps a model in Pebble, beside the log; a [Model] can be read while [Projection.Run] carries it
// on: Get, Scan, Watch, and Snapshot for several reads as of one moment. [Table] is a typed layer over it, with
// secondary indexes. [New] takes any [Store]: [NewSQL] keeps models in a database/sql database, in tables of
// their own; [NewMemory] in memory, built anew by each process.
//
// # Versions
//
// A model is built from position 0. When the version of the definition is another one than that of the model
// which readers see, or a rebuild was asked for ([MarkReset]), Run makes a new build beside the old one, and
// switches in one transaction when it has come to the end of the log; the old one is dropped afterwards. Readers
// see a whole model at any moment, and none that is older than what they saw; before the first build is
// complete they get [ErrNotReady]. What handlers want to happen outside of the model ([Event.Effect]) is held
// back for events that the old build has handled.
//
// # Event time
//
// A handler must depend on nothing but the model and the event: not on the clock, which [Event] has in its
// Time, nor on chance or on the order of a map. Then two builds are equal byte for byte, which package
// projectiontest checks.
//
// # Files
//
// In the directory "projections" of the log:
//
//	store/        Pebble, with all models of Open
//	NAME.status   how the projection is doing, as JSON, for those who look on
//	NAME.reset    the request to build it anew
//
// Keys of the store, integers big-endian; a build is a number that is never used again:
//
//	'n' name                u64 active build, 0 for none
//	'b' u64 build           u32 version | u8 length | reset | u8 length | name
//	'c' u64 build           checkpoint: 16 bytes log id | u64 position | u64 body
//	'i'                     u64 last build that was made
//	'p' u64 build u64 position   a parked event, as JSON
//	'd' u64 build key       a value of the model
//
// The store has no log of its own: the events are that. A crash may take back the last transactions, whole
// ones, which then happen again.
//
// # Concurrency
//
// All methods of Projection and Model may be called concurrently. Run belongs to one goroutine, which calls
// the handler; a transaction and an Event are valid for that call.
package projection
