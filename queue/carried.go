package queue

import (
	"fmt"
	"strconv"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// Headers of records that are on their way to queues, beside those that messages keep: see Message.Record.
const (
	HeaderDelay = "strata-queue-delay" // in microseconds from when it is sent
	HeaderTTL   = "strata-queue-ttl"   // the same
)

// Record returns m as a record that says by its headers what m asks of a queue, so that exchanges can lead it
// there, and to topics too: see Sender. It shares Key, Value and the values of Headers with m. Microseconds are
// the smallest unit of its times.
//
//	exchanges.Publish(ctx, pubsub.Publication{
//		Exchange: "orders", Record: queue.Message{Value: body, Priority: 9}.Record(),
//	})
func (m Message) Record() log.Record {
	headers := m.Headers[:len(m.Headers):len(m.Headers)] // what is appended does not write into the caller's
	put := func(key, value string) {
		headers = append(headers, record.Header{Key: key, Value: []byte(value)})
	}
	number := func(key string, n int64) {
		if n != 0 {
			put(key, strconv.FormatInt(n, 10))
		}
	}
	if m.ContentType != "" {
		put(HeaderContentType, m.ContentType)
	}
	if !m.At.IsZero() {
		number(HeaderDue, micro(m.At))
	}
	number(HeaderDelay, microseconds(m.Delay))
	number(HeaderTTL, microseconds(m.TTL))
	number(HeaderPriority, int64(m.Priority))
	number(HeaderAttempts, int64(m.Attempts))
	if m.DedupID != "" {
		put(HeaderDedupID, m.DedupID)
	}
	return log.Record{Key: m.Key, Value: m.Value, Headers: headers}
}

// microseconds rounds away from 0, so that what was said is never nothing.
func microseconds(d time.Duration) int64 {
	us := d.Microseconds()
	switch rest := d - time.Duration(us)*time.Microsecond; {
	case rest > 0:
		us++
	case rest < 0:
		us--
	}
	return us
}

// carried returns the message that r stands for, and why it is none, or "". A queue does not get what it cannot do:
// who publishes to an exchange does not know where that leads.
func carried(r *log.Record, o *Options) (m Message, why string) {
	m = Message{Key: r.Key, Value: r.Value}
	number := func(h *record.Header, bits int) int64 {
		n, err := strconv.ParseInt(string(h.Value), 10, bits)
		if err != nil && why == "" {
			why = fmt.Sprintf("header %q is %q, which is no number of %d bits", h.Key, h.Value, bits)
		}
		return n
	}
	const span = 53 // bits of microseconds, that a time.Duration holds
	for i := range r.Headers {
		h := &r.Headers[i]
		switch h.Key {
		case HeaderDue:
			m.At = time.UnixMicro(max(number(h, 64), 1))
		case HeaderDelay:
			m.Delay = time.Duration(number(h, span)) * time.Microsecond
		case HeaderTTL:
			m.TTL = time.Duration(number(h, span)) * time.Microsecond
		case HeaderPriority:
			m.Priority = int(number(h, 32))
		case HeaderAttempts:
			m.Attempts = int(number(h, 32))
		case HeaderDedupID:
			m.DedupID = string(h.Value)
		default:
			m.Headers = append(m.Headers, *h)
		}
	}
	if o.Ordered {
		m.Priority, m.Delay, m.At = 0, 0, time.Time{}
	}
	if o.Dedup == 0 {
		m.DedupID = ""
	}
	return m, why
}
