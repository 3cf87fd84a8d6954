package aggregate

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// Headers of the records that events are. The key of such a record is the name of the stream, its
// timestamp the time of the event, its value the data. Headers without a value are left out.
const (
	HeaderID            = "strata-event-id"
	HeaderType          = "strata-event-type"
	HeaderVersion       = "strata-event-version" // in the stream, from 1, decimal
	HeaderSchema        = "strata-event-schema"  // schema version of the type, decimal; left out when 0
	HeaderCommandID     = "strata-event-command"
	HeaderCorrelationID = "strata-event-correlation"
	HeaderCausationID   = "strata-event-causation"
	HeaderTenant        = "strata-event-tenant"
	HeaderContentType   = "content-type"
	// HeaderTraceParent and HeaderTraceState are those of W3C Trace Context.
	HeaderTraceParent = record.TraceParent
	HeaderTraceState  = record.TraceState
)

const (
	// MaxStreamBytes bounds the name of a stream.
	MaxStreamBytes = 1024
	// MaxTextBytes bounds the type, ids and tenant of an event, each, and a command id.
	MaxTextBytes = 1024
)

// Event is something that happened to a stream. Which fields Append heeds is said at each.
type Event struct {
	// Stream, Version, Topic, Partition, Offset and Position say where the event is. Loads set them, and
	// Append ignores them. Version is the event's number in its stream, from 1 and without a gap;
	// Position that of its record in the log, which orders it among the events of all streams.
	Stream    string
	Version   uint64
	Topic     string
	Partition int32
	Offset    int64
	Position  uint64

	// ID tells the event from all others. Append makes a UUID of version 7 where it is "".
	ID string
	// Type is the name of what happened. It must not be "". It is chosen for ever: it is not the name of a
	// Go type.
	Type string
	// Schema is the version of the type's data, 0 if it has only ever had one.
	Schema int
	// Time is when it happened, in milliseconds; loads give UTC. Append puts the log's time for the zero
	// Time.
	Time time.Time
	// CommandID is that of the command that led to the event. It is only told: that a command is done
	// once is asked for by Batch.CommandID, which is put here where this is "".
	CommandID string
	// CorrelationID is that of the whole business transaction, CausationID that of the message that led
	// to the event.
	CorrelationID, CausationID string
	Tenant                     string
	// TraceParent and TraceState carry the W3C trace context that the event happened in.
	TraceParent, TraceState string
	// ContentType says how Data is encoded, as a media type.
	ContentType string
	// Metadata are further headers of the record. Their names must not be those of headers that have a
	// meaning here, nor begin with record.ReservedPrefix.
	Metadata map[string]string
	// Data is the event's own. Append only reads it; a load lends it for the loop body.
	Data []byte
}

// Clone returns a copy of e that shares nothing with it.
func (e *Event) Clone() Event {
	c := *e
	c.Data = bytes.Clone(e.Data)
	c.Metadata = maps.Clone(e.Metadata)
	return c
}

// named are the headers that have a field.
var named = map[string]bool{HeaderContentType: true, HeaderTraceParent: true, HeaderTraceState: true}

// check returns an *InvalidError for an event that cannot be appended.
func (e *Event) check() error {
	bad := func(reason string) error {
		return &InvalidError{What: "event of type " + strconv.Quote(e.Type), Reason: reason}
	}
	if e.Type == "" {
		return bad("the type is empty")
	}
	for _, t := range [...]struct{ what, text string }{
		{"type", e.Type}, {"id", e.ID}, {"command id", e.CommandID}, {"correlation id", e.CorrelationID},
		{"causation id", e.CausationID}, {"tenant", e.Tenant}, {"content type", e.ContentType}, {"tracestate", e.TraceState},
	} {
		if len(t.text) > MaxTextBytes || !utf8.ValidString(t.text) {
			return bad("the " + t.what + " is longer than 1024 bytes or not UTF-8")
		}
	}
	if e.Schema < 0 {
		return bad("the schema version is negative")
	}
	if e.TraceParent != "" {
		if _, err := record.ParseTraceParent([]byte(e.TraceParent)); err != nil {
			return bad(err.Error())
		}
	}
	for name := range e.Metadata {
		if name == "" || named[name] || record.Reserved(name) {
			return bad("metadata cannot be called " + strconv.Quote(name))
		}
	}
	return nil
}

// checkStream returns an *InvalidError for what cannot be the name of a stream.
func checkStream(stream string) error {
	switch {
	case stream == "":
		return &InvalidError{What: "stream", Reason: "the name is empty"}
	case len(stream) > MaxStreamBytes:
		return &InvalidError{What: "stream " + strconv.Quote(stream[:32]) + "…", Reason: "the name is longer than 1024 bytes"}
	case !utf8.ValidString(stream) || bytes.IndexByte([]byte(stream), 0) >= 0:
		return &InvalidError{What: "stream " + strconv.Quote(stream), Reason: "the name is not UTF-8, or has a zero byte"}
	}
	return nil
}

// encoder turns events into records. Those are valid until the next one.
type encoder struct {
	headers []record.Header
	text    []byte
	key     []byte
	names   []string
}

func (n *encoder) add(name string, value string) {
	if value == "" {
		return
	}
	at := len(n.text)
	n.text = append(n.text, value...)
	n.headers = append(n.headers, record.Header{Key: name, Value: n.text[at:len(n.text):len(n.text)]})
}

func (n *encoder) addNumber(name string, value uint64) {
	at := len(n.text)
	n.text = strconv.AppendUint(n.text, value, 10)
	n.headers = append(n.headers, record.Header{Key: name, Value: n.text[at:len(n.text):len(n.text)]})
}

// record returns the record of e as the event of this version and id.
// command is the command id of one that has none.
func (n *encoder) record(stream string, version uint64, id string, e *Event, command string) log.Record {
	n.headers, n.text = n.headers[:0], n.text[:0]
	n.key = append(n.key[:0], stream...)
	n.add(HeaderID, id)
	n.add(HeaderType, e.Type)
	n.addNumber(HeaderVersion, version)
	if e.Schema > 0 {
		n.addNumber(HeaderSchema, uint64(e.Schema))
	}
	if e.CommandID != "" {
		command = e.CommandID
	}
	n.add(HeaderCommandID, command)
	n.add(HeaderCorrelationID, e.CorrelationID)
	n.add(HeaderCausationID, e.CausationID)
	n.add(HeaderTenant, e.Tenant)
	n.add(HeaderContentType, e.ContentType)
	n.add(HeaderTraceParent, e.TraceParent)
	n.add(HeaderTraceState, e.TraceState)
	if len(e.Metadata) > 0 {
		n.names = n.names[:0]
		for name := range e.Metadata {
			n.names = append(n.names, name)
		}
		slices.Sort(n.names)
		for _, name := range n.names {
			at := len(n.text)
			n.text = append(n.text, e.Metadata[name]...)
			n.headers = append(n.headers, record.Header{Key: name, Value: n.text[at:len(n.text):len(n.text)]})
		}
	}
	return log.Record{Key: n.key, Value: e.Data, Headers: n.headers, Timestamp: e.Time}
}

// decoder turns records into events. It remembers the texts of the last one, since those of the next are
// often the same.
type decoder struct{ last Event }

// Decoder is Decode for those who meet many events: texts that come again are not made anew. The zero value
// is ready for use, and belongs to one goroutine.
type Decoder struct{ d decoder }

// Decode makes e the event that r is, as the function of that name does.
func (d *Decoder) Decode(r *log.Record, e *Event) error { return d.d.decode(r, e) }

// Decode returns the event that a record is, as consumers and readers of the log meet it. Data is that of
// the record, and Metadata the event's own. Anything else is a *RecordError.
func Decode(r *log.Record) (Event, error) {
	var d decoder
	var e Event
	err := d.decode(r, &e)
	return e, err
}

// decode makes e the event that r is.
func (d *decoder) decode(r *log.Record, e *Event) error {
	bad := func(reason string) error {
		return &RecordError{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Reason: reason}
	}
	*e = Event{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Position: r.Position,
		Time: r.Timestamp, Data: r.Value, Stream: same(d.last.Stream, r.Key),
	}
	for i := range r.Headers {
		h := &r.Headers[i]
		switch h.Key {
		case HeaderID:
			e.ID = string(h.Value)
		case HeaderType:
			e.Type = same(d.last.Type, h.Value)
		case HeaderVersion:
			v, ok := parseVersion(h.Value)
			if !ok {
				return bad("the version is no number")
			}
			e.Version = v
		case HeaderSchema:
			v, ok := parseVersion(h.Value)
			if !ok || v > 1<<31-1 {
				return bad("the schema version is no number")
			}
			e.Schema = int(v)
		case HeaderCommandID:
			e.CommandID = same(d.last.CommandID, h.Value)
		case HeaderCorrelationID:
			e.CorrelationID = same(d.last.CorrelationID, h.Value)
		case HeaderCausationID:
			e.CausationID = same(d.last.CausationID, h.Value)
		case HeaderTenant:
			e.Tenant = same(d.last.Tenant, h.Value)
		case HeaderContentType:
			e.ContentType = same(d.last.ContentType, h.Value)
		case HeaderTraceParent:
			e.TraceParent = same(d.last.TraceParent, h.Value)
		case HeaderTraceState:
			e.TraceState = same(d.last.TraceState, h.Value)
		default:
			if record.Reserved(h.Key) {
				continue // of another layer, as those of a parked record
			}
			if e.Metadata == nil {
				e.Metadata = map[string]string{}
			}
			e.Metadata[h.Key] = string(h.Value)
		}
	}
	if e.Version == 0 || e.Type == "" || e.Stream == "" {
		return bad("version, type or stream is missing")
	}
	d.last = *e
	return nil
}

// same returns v as a string, which is was when that is equal.
func same(was string, v []byte) string {
	if string(v) == was { // the compiler makes no string for the comparison
		return was
	}
	return string(v)
}

// parseVersion parses a decimal number above 0.
func parseVersion(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	n := uint64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n > 0
}
