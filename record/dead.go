package record

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Headers of dead and parked records: what a consumer group, a queue, a projection or a saga has set
// aside keeps its key, its value and its headers, and carries these behind them. Times are RFC 3339 in
// UTC, numbers are decimal.
const (
	HeaderDeadCause     = "strata-dead-cause"     // the error, as text
	HeaderDeadAttempts  = "strata-dead-attempts"  // how often it was tried
	HeaderDeadTopic     = "strata-dead-topic"     // where it was, like the next two
	HeaderDeadPartition = "strata-dead-partition" //
	HeaderDeadOffset    = "strata-dead-offset"    //
	HeaderDeadGroup     = "strata-dead-group"     // who gave it up: a group, a queue, a projection, a saga
	HeaderDeadTime      = "strata-dead-time"      // when, by the log's time
	// HeaderDeadAttempt tells of one attempt that failed: its time, a space, its error. There is one for
	// each that is remembered, the earliest first; who does not remember them writes none.
	HeaderDeadAttempt = "strata-dead-attempt"
)

// Dead says why and from where a record was set aside.
type Dead struct {
	Cause     string
	Attempts  int
	Topic     string
	Partition int32
	Offset    int64
	Group     string
	Time      time.Time // in microseconds
	// History are attempts that failed, the earliest first, as far as they are remembered.
	History []DeadAttempt
}

// DeadAttempt is an attempt that failed.
type DeadAttempt struct {
	Time  time.Time // in microseconds
	Cause string
}

// AppendTo appends the headers of d to headers, of which those of an earlier death are dropped.
func (d Dead) AppendTo(headers []Header) []Header {
	kept := WithoutDead(headers)
	add := func(key, value string) { kept = append(kept, Header{Key: key, Value: []byte(value)}) }
	add(HeaderDeadCause, d.Cause)
	add(HeaderDeadAttempts, strconv.Itoa(d.Attempts))
	add(HeaderDeadTopic, d.Topic)
	add(HeaderDeadPartition, strconv.FormatInt(int64(d.Partition), 10))
	add(HeaderDeadOffset, strconv.FormatInt(d.Offset, 10))
	add(HeaderDeadGroup, d.Group)
	add(HeaderDeadTime, d.Time.UTC().Format(time.RFC3339Nano))
	for _, a := range d.History {
		add(HeaderDeadAttempt, a.Time.UTC().Format(time.RFC3339Nano)+" "+a.Cause)
	}
	return kept
}

// WithoutDead returns headers without those that AppendTo has appended. It shares their bytes.
func WithoutDead(headers []Header) []Header {
	var kept []Header
	for _, h := range headers {
		if !deadHeaders[h.Key] && h.Key != HeaderDeadAttempt {
			kept = append(kept, h)
		}
	}
	return kept
}

var deadHeaders = map[string]bool{
	HeaderDeadCause: true, HeaderDeadAttempts: true, HeaderDeadTopic: true, HeaderDeadPartition: true,
	HeaderDeadOffset: true, HeaderDeadGroup: true, HeaderDeadTime: true,
}

// ErrNotDead is matched by the error of ParseDead.
var ErrNotDead = errors.New("record: not a dead record")

// ParseDead reads what AppendTo has written.
func ParseDead(headers []Header) (Dead, error) {
	var d Dead
	seen := 0
	var errs []error
	number := func(v []byte, bits int) int64 {
		n, err := strconv.ParseInt(string(v), 10, bits)
		errs = append(errs, err)
		return n
	}
	for _, h := range headers {
		if h.Key == HeaderDeadAttempt {
			at, cause, _ := strings.Cut(string(h.Value), " ")
			t, err := time.Parse(time.RFC3339Nano, at)
			errs = append(errs, err)
			d.History = append(d.History, DeadAttempt{t, cause})
			continue
		}
		if !deadHeaders[h.Key] {
			continue
		}
		seen++
		switch h.Key {
		case HeaderDeadCause:
			d.Cause = string(h.Value)
		case HeaderDeadAttempts:
			d.Attempts = int(number(h.Value, 64))
		case HeaderDeadTopic:
			d.Topic = string(h.Value)
		case HeaderDeadPartition:
			d.Partition = int32(number(h.Value, 32))
		case HeaderDeadOffset:
			d.Offset = number(h.Value, 64)
		case HeaderDeadGroup:
			d.Group = string(h.Value)
		case HeaderDeadTime:
			at, err := time.Parse(time.RFC3339Nano, string(h.Value))
			d.Time = at
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return d, fmt.Errorf("%w: %w", ErrNotDead, err)
	}
	if seen != len(deadHeaders) {
		return d, fmt.Errorf("%w: %d of %d headers", ErrNotDead, seen, len(deadHeaders))
	}
	return d, nil
}
