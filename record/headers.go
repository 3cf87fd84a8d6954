package record

import "strings"

// Names of headers that the project gives a meaning.
const (
	// TraceParent carries the trace that a record belongs to, as W3C Trace Context says; see
	// ParseTraceParent. It is passed on from what caused a record to the record.
	TraceParent = "traceparent"
	// TraceState goes with TraceParent and carries what tracing systems add for themselves. It
	// is passed on unread.
	TraceState = "tracestate"
	// ReservedPrefix begins the names of headers that belong to the engine. Users' headers must
	// not begin so.
	ReservedPrefix = "strata-"
)

// Reserved reports whether headers called key belong to the engine.
func Reserved(key string) bool { return strings.HasPrefix(key, ReservedPrefix) }
