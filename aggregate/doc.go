// Package aggregate is an event store: streams of events, each the history of one thing, in a topic of the
// log, and aggregates, whose state is the fold of such a stream.
//
// A [Store] is a topic. [Store.Append] appends events to a stream that is as expected: at a version, new,
// there, or any. [Store.Commit] does so for several streams at once, together with anything else that a
// commit can hold, and at most once for a command id. [Store.Load] reads the events of one stream; what
// that costs depends on these alone.
//
// [Repository] is the typed layer: it loads an aggregate, lets a function decide, and appends the events
// that this has raised, again when somebody else was faster. [Types] says which Go types the events are,
// how they are encoded, and how old ones become new ones. [Commands] brings commands to aggregates.
//
// # Events are records
//
// An event is a record of the topic: its key is the name of the stream, its timestamp the time of the
// event, its value the data. The rest are headers, as text, left out when there is nothing to say:
//
//	strata-event-id           tells it from all others; a UUID of version 7 by default
//	strata-event-type         what happened, a name chosen for ever
//	strata-event-version      number in the stream, from 1, decimal
//	strata-event-schema       version of the type's data, decimal
//	strata-event-command      id of the command that led to it
//	strata-event-correlation  id of the business transaction
//	strata-event-causation    id of the message that led to it
//	strata-event-tenant       whose it is
//	content-type              media type of the value
//	traceparent, tracestate   W3C Trace Context
//
// Other headers are the event's metadata. So readers of the log and consumer groups see events like any
// record; [Decode] gives them the fields. All events of a stream are in one
// partition, and their number is that with which the store was made.
//
// # The stream index
//
// The view "__strata.streams.TOPIC" finds the events of a stream, and answers expectations. Its keys, with
// integers big-endian:
//
//	'h' stream             u64 version | u64 first that is not truncated | u8 1 for a tombstone
//	'p' stream 0 u64 page  runs of events whose records follow each other, of versions page*64+1 to
//	                       page*64+64: per run uvarint version-page*64-1, count, partition, offset
//	's' stream             u64 version | u32 partition | u64 offset: the newest snapshot
//
// It is derived from the topic, from the topic "TOPIC.snapshots", and from "__strata.streams", whose
// records have the key topic 0 stream and the value 't' u64 for a truncation before a version, or 'e' for
// a tombstone. A topic that a store is in can therefore not be deleted.
//
// # Invariants
//
//   - The versions of a stream are 1..n, each once, in order of position.
//   - The events of a commit are there together, or none of them.
//   - An expectation is answered at the moment at which the commit gets its place in the log.
//   - A snapshot is a hint. Losing it costs time, never data.
//
// # Concurrency
//
// All methods of Store and Repository may be called concurrently. An aggregate belongs to one goroutine.
package aggregate
