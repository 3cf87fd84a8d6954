package queue

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// Headers of the records of a queue's topic. Numbers are decimal; times are in microseconds since 1970,
// of the log's time. The timestamp of a record is when it was sent.
const (
	HeaderContentType = "content-type"
	HeaderDue         = "strata-queue-due"      // when the message can be received first
	HeaderPriority    = "strata-queue-priority" // 1 to 9; left out when 0
	HeaderExpires     = "strata-queue-expires"  // from when on it is not handed out any more
	HeaderAttempts    = "strata-queue-attempts" // how often it is tried at most, -1 for ever
	HeaderDedupID     = "strata-queue-dedup"
)

const (
	// MaxPriority is the highest priority. Higher ones are received first.
	MaxPriority = 9
	// MaxKeyBytes bounds the key of a message of an ordered queue, MaxDedupBytes a DedupID.
	MaxKeyBytes   = 1024
	MaxDedupBytes = 1024
)

// Message is what is sent.
type Message struct {
	// Key is what the messages of an ordered queue are ordered by. Nil is none.
	Key []byte
	// Value is the body.
	Value []byte
	// Headers go along. Names that begin with record.ReservedPrefix are the engine's.
	Headers []record.Header
	// ContentType is the media type of Value, "" for none.
	ContentType string
	// Priority is 0 to MaxPriority. Of 16 messages one is of a lower priority if there is any, the one that
	// was sent first, so that those do not starve.
	Priority int
	// Delay is how long the message waits before it can be received, however long that is. Zero is the
	// queue's. Negative is not at all.
	Delay time.Duration
	// At is when it can be received first, in place of Delay.
	At time.Time
	// TTL is how long, from now on, it can be received. Zero is the queue's.
	TTL time.Duration
	// Attempts is how often it is tried at most. Zero is what the queue's Retry says, negative for ever.
	Attempts int
	// DedupID tells a message that is sent again, on a queue with deduplication. "" is never the same.
	DedupID string
}

// traits are what a record's headers say of its handling.
type traits struct {
	due      int64 // µs, 0 for at once
	expires  int64 // µs, 0 for never
	attempts int   // 0 for the queue's
	level    uint8
}

// readTraits reads them; what does not parse counts as left out.
func readTraits(headers []record.Header) (t traits) {
	for i := range headers {
		h := &headers[i]
		if len(h.Key) < len(record.ReservedPrefix) || h.Key[0] != 's' {
			continue
		}
		switch h.Key {
		case HeaderDue:
			t.due, _ = strconv.ParseInt(string(h.Value), 10, 64)
		case HeaderExpires:
			t.expires, _ = strconv.ParseInt(string(h.Value), 10, 64)
		case HeaderAttempts:
			n, _ := strconv.ParseInt(string(h.Value), 10, 32)
			t.attempts = int(n)
		case HeaderPriority:
			if len(h.Value) == 1 && h.Value[0] >= '0' && h.Value[0] <= '9' {
				t.level = h.Value[0] - '0'
			}
		}
	}
	return t
}

// size is what a record counts towards MaxBytes.
func size(r *log.Record) int64 { return int64(len(r.Key) + len(r.Value)) }

// check returns why m cannot be sent to a queue with these options, or "".
func (m *Message) check(o *Options) string {
	switch {
	case m.Priority < 0 || m.Priority > MaxPriority:
		return fmt.Sprintf("priority %d is not within 0 and %d", m.Priority, MaxPriority)
	case m.TTL < 0:
		return fmt.Sprintf("time to live %v", m.TTL)
	case o.Ordered && m.Priority > 0:
		return "an ordered queue has no priorities"
	case o.Ordered && (m.Delay != 0 || !m.At.IsZero()):
		return "messages of an ordered queue have no delays of their own"
	case o.Ordered && len(m.Key) > MaxKeyBytes:
		return fmt.Sprintf("a key of %d bytes is above %d", len(m.Key), MaxKeyBytes)
	case m.DedupID != "" && o.Dedup == 0:
		return "a DedupID, and the queue was declared without deduplication"
	case len(m.DedupID) > MaxDedupBytes:
		return fmt.Sprintf("a DedupID of %d bytes is above %d", len(m.DedupID), MaxDedupBytes)
	case !utf8.ValidString(m.ContentType):
		return "the content type is not UTF-8 text"
	}
	for _, h := range m.Headers {
		if record.Reserved(h.Key) {
			return fmt.Sprintf("header %q is the engine's", h.Key)
		}
	}
	return ""
}

// record returns the record of m, sent at now. It shares Key, Value and the values of Headers with m.
func (m *Message) record(o *Options, now time.Time) log.Record {
	r := log.Record{Key: m.Key, Value: m.Value, Headers: m.Headers}
	headers := r.Headers[:len(r.Headers):len(r.Headers)] // what is appended does not write into the caller's
	number := func(key string, n int64) {
		headers = append(headers, record.Header{Key: key, Value: strconv.AppendInt(nil, n, 10)})
	}
	if m.ContentType != "" {
		headers = append(headers, record.Header{Key: HeaderContentType, Value: []byte(m.ContentType)})
	}
	delay := m.Delay
	if delay == 0 {
		delay = o.Delay
	}
	switch {
	case !m.At.IsZero():
		number(HeaderDue, micro(m.At))
	case delay > 0:
		number(HeaderDue, micro(now.Add(delay)))
	}
	if m.Priority > 0 {
		number(HeaderPriority, int64(m.Priority))
	}
	ttl := m.TTL
	if ttl == 0 {
		ttl = o.TTL
	}
	if ttl > 0 {
		number(HeaderExpires, micro(now.Add(ttl)))
	}
	if m.Attempts != 0 {
		number(HeaderAttempts, int64(m.Attempts))
	}
	if m.DedupID != "" {
		headers = append(headers, record.Header{Key: HeaderDedupID, Value: []byte(m.DedupID)})
	}
	r.Headers = headers
	return r
}

// micro returns t in microseconds since 1970, rounded up, at least 1.
func micro(t time.Time) int64 {
	us := t.UnixMicro()
	if t.After(time.UnixMicro(us)) {
		us++
	}
	return max(us, 1)
}

// withoutTraits returns headers without those that concern one stay in a queue.
func withoutTraits(headers []record.Header) []record.Header {
	var kept []record.Header
	for _, h := range headers {
		switch h.Key {
		case HeaderDue, HeaderExpires, HeaderDedupID:
		default:
			kept = append(kept, h)
		}
	}
	return kept
}
