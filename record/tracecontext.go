package record

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// TraceContext says which trace a record belongs to and which span caused it.
type TraceContext struct {
	TraceID [16]byte // not all zero
	SpanID  [8]byte  // of the span that caused the record; not all zero
	Flags   byte
}

// Sampled reports whether the caller may have recorded the trace.
func (t TraceContext) Sampled() bool { return t.Flags&1 != 0 }

// String returns the value of a TraceParent header, version 00. For the zero TraceContext it is one
// that ParseTraceParent refuses.
func (t TraceContext) String() string {
	return fmt.Sprintf("00-%x-%x-%02x", t.TraceID, t.SpanID, t.Flags)
}

// Where the fields of a traceparent lie: version "-" trace id "-" span id "-" flags.
const (
	traceAt          = 3
	spanAt           = 36
	flagsAt          = 53
	traceParentBytes = 55
)

// ParseTraceParent reads the value of a TraceParent header as W3C Trace Context level 1 describes it
// (https://www.w3.org/TR/trace-context-1/#traceparent-header): version 00, and of later versions
// but ff the part that they must share with it. Hexadecimal digits are lower case; a trace id or span
// id of zeros is invalid. Anything else is a *TraceParentError. v is not kept.
func ParseTraceParent(v []byte) (TraceContext, error) {
	if len(v) < traceParentBytes {
		return TraceContext{}, &TraceParentError{Byte: len(v), Check: "length"}
	}
	var raw [26]byte // version, trace id, span id, flags
	n := 0
	for _, field := range [...]struct {
		at, bytes int
		check     string
	}{
		{0, 1, "version"},
		{traceAt, 16, "trace id"},
		{spanAt, 8, "span id"},
		{flagsAt, 1, "flags"},
	} {
		if field.at > 0 && v[field.at-1] != '-' {
			return TraceContext{}, &TraceParentError{Byte: field.at - 1, Check: "separator"}
		}
		if i := decodeLowerHex(raw[n:n+field.bytes], v[field.at:]); i >= 0 {
			return TraceContext{}, &TraceParentError{Byte: field.at + i, Check: field.check}
		}
		n += field.bytes
	}
	version := raw[0]
	t := TraceContext{TraceID: [16]byte(raw[1:17]), SpanID: [8]byte(raw[17:25]), Flags: raw[25]}
	switch {
	case version == 0xff:
		return TraceContext{}, &TraceParentError{Byte: 0, Check: "version"}
	case version == 0 && len(v) > traceParentBytes:
		return TraceContext{}, &TraceParentError{Byte: traceParentBytes, Check: "length"}
	case len(v) > traceParentBytes && v[traceParentBytes] != '-':
		return TraceContext{}, &TraceParentError{Byte: traceParentBytes, Check: "separator"}
	case t.TraceID == [16]byte{}:
		return TraceContext{}, &TraceParentError{Byte: traceAt, Check: "trace id"}
	case t.SpanID == [8]byte{}:
		return TraceContext{}, &TraceParentError{Byte: spanAt, Check: "span id"}
	}
	return t, nil
}

// decodeLowerHex fills dst from the digits that src begins with, and returns the index of the first
// byte that is no lower-case hexadecimal digit, or -1.
func decodeLowerHex(dst, src []byte) int {
	digits := src[:hex.EncodedLen(len(dst))]
	for i, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return i
		}
	}
	_, _ = hex.Decode(dst, digits) // cannot fail: the digits have been checked and are even in number
	return -1
}

// ErrTraceParent is matched by every *TraceParentError.
var ErrTraceParent = errors.New("record: malformed traceparent")

// TraceParentError says what is wrong with the value of a TraceParent header, and where.
type TraceParentError struct {
	Byte  int    // index in the value
	Check string // "length", "separator", "version", "trace id", "span id" or "flags"
}

func (e *TraceParentError) Error() string {
	return fmt.Sprintf("record: malformed traceparent: %s at byte %d", e.Check, e.Byte)
}

func (e *TraceParentError) Is(target error) bool { return target == ErrTraceParent }
