package queue

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

// WhenFull says what becomes of messages that a bounded queue has no room for.
type WhenFull uint8

const (
	// RejectWhenFull refuses them with a *FullError.
	RejectWhenFull WhenFull = iota
	// WaitWhenFull makes Send wait until there is room. Messages of a commit are refused nevertheless.
	WaitWhenFull
)

func (w WhenFull) String() string {
	if w == WaitWhenFull {
		return "wait"
	}
	return "reject"
}

// ForEver is a deduplication window that never ends.
const ForEver = time.Duration(-1)

// Options are what a queue is declared with. They are kept in the log. The zero value is ready for
// production: leases of 30 s, five attempts with growing gaps, then the dead letters NAME.dead.
type Options struct {
	// Lease is for how long a message is its receiver's, when the receiver does not say. Zero is 30 s.
	Lease time.Duration
	// Delay is how long each message waits before it can be received, when it does not say itself.
	Delay time.Duration
	// Retry says how often a message is tried, unless the message says it, and how long it waits after an
	// attempt that failed. Final cannot be kept in the log and must be nil; handlers use Reject.
	Retry timer.Retry
	// DeadLetter is the queue to which messages go that have used up their attempts, were rejected or
	// have expired. Empty is NAME.dead. It is declared, to be tried for ever, unless there is one.
	DeadLetter string
	// Discard drops such messages instead. DeadLetter must be empty then.
	Discard bool
	// MaxDepth bounds how many messages the queue holds, those that are leased, delayed and waiting
	// included; MaxBytes bounds the bytes of their keys and values. Zero is no bound. What is accepted is
	// kept: a retry needs no room. Dead letters come to a queue that is full, too.
	MaxDepth, MaxBytes int64
	// WhenFull says what becomes of messages behind these bounds.
	WhenFull WhenFull
	// Ordered hands the messages of a key out in order, each when the one before is done with: a failing
	// message holds up its own key and no other. Messages have no priorities then, and no delays of
	// their own. Those without a key have no order.
	Ordered bool
	// Dedup is for how long a message with the DedupID of an earlier one is taken for the same, and not
	// sent again. Zero is not at all.
	Dedup time.Duration
	// TTL is how long a message can be received, when it does not say itself. Zero is for ever.
	TTL time.Duration
	// MaxInFlight bounds how many messages are leased at a time. Zero is no bound.
	MaxInFlight int
	// AutoDelete deletes the queue when its last consumer, of Run or Consume, ends.
	AutoDelete bool
	// Exclusive deletes the queue with the end of the open log that declared it, at the latest when the
	// log is opened for queues again after a crash.
	Exclusive bool
	// Compression is the codec of the batches.
	Compression record.Codec
}

// stored is Options as they are kept in the log, as JSON.
type stored struct {
	Lease       time.Duration `json:"lease,omitempty"`
	Delay       time.Duration `json:"delay,omitempty"`
	Attempts    int           `json:"attempts,omitempty"`
	First       time.Duration `json:"retry_first,omitempty"`
	Longest     time.Duration `json:"retry_longest,omitempty"`
	Factor      float64       `json:"retry_factor,omitempty"`
	Even        bool          `json:"retry_even,omitempty"`
	DeadLetter  string        `json:"dead_letter,omitempty"`
	Discard     bool          `json:"discard,omitempty"`
	MaxDepth    int64         `json:"max_depth,omitempty"`
	MaxBytes    int64         `json:"max_bytes,omitempty"`
	WhenFull    WhenFull      `json:"when_full,omitempty"`
	Ordered     bool          `json:"ordered,omitempty"`
	Dedup       time.Duration `json:"dedup,omitempty"`
	TTL         time.Duration `json:"ttl,omitempty"`
	MaxInFlight int           `json:"max_in_flight,omitempty"`
	AutoDelete  bool          `json:"auto_delete,omitempty"`
	Exclusive   bool          `json:"exclusive,omitempty"`
	Compression record.Codec  `json:"compression,omitempty"`
}

const (
	defaultLease = 30 * time.Second
	deadSuffix   = ".dead"
)

// withDefaults returns o as it is declared for the queue called name, and all that is wrong with it.
func (o Options) withDefaults(name string) (Options, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: queue %q: %s", ErrOptions, name, fmt.Sprintf(format, args...)))
	}
	if err := log.CheckTopicName(name); err != nil {
		errs = append(errs, err)
	}
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	if o.Lease < 0 || o.Delay < 0 || o.TTL < 0 {
		bad("a lease of %v, a delay of %v, a time to live of %v", o.Lease, o.Delay, o.TTL)
	}
	if err := o.Retry.Validate(); err != nil {
		bad("%v", err)
	}
	if o.Retry.Final != nil {
		bad("Retry.Final cannot be kept; return Reject(err) from the handler")
	}
	if o.Retry.Attempts == 0 {
		o.Retry.Attempts = 5
	}
	switch {
	case o.Discard && o.DeadLetter != "":
		bad("Discard with the dead letters %q", o.DeadLetter)
	case o.DeadLetter == name:
		bad("it cannot be its own dead letters")
	case !o.Discard && o.DeadLetter == "":
		o.DeadLetter = name + deadSuffix
	}
	if !o.Discard {
		if err := log.CheckTopicName(o.DeadLetter); err != nil {
			bad("dead letters: %v", err)
		}
	}
	if o.MaxDepth < 0 || o.MaxBytes < 0 || o.MaxInFlight < 0 {
		bad("bounds of %d messages, %d bytes, %d in flight", o.MaxDepth, o.MaxBytes, o.MaxInFlight)
	}
	if o.WhenFull > WaitWhenFull {
		bad("WhenFull %d", o.WhenFull)
	}
	if o.Dedup < ForEver {
		bad("a deduplication window of %v", o.Dedup)
	}
	return o, errors.Join(errs...)
}

func (o *Options) bounded() bool { return o.MaxDepth > 0 || o.MaxBytes > 0 }

func (o *Options) encode() []byte {
	b, err := json.Marshal(stored{
		o.Lease, o.Delay, o.Retry.Attempts, o.Retry.First, o.Retry.Longest, o.Retry.Factor, o.Retry.Even,
		o.DeadLetter, o.Discard, o.MaxDepth, o.MaxBytes, o.WhenFull, o.Ordered, o.Dedup, o.TTL,
		o.MaxInFlight, o.AutoDelete, o.Exclusive, o.Compression,
	})
	if err != nil {
		panic(err) // a factor that is not a number was refused
	}
	return b
}

func decodeOptions(b []byte) (o Options, err error) {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return o, fmt.Errorf("%w: options: %w", ErrCorrupt, err)
	}
	return Options{
		Lease: s.Lease, Delay: s.Delay,
		Retry:      timer.Retry{Attempts: s.Attempts, First: s.First, Longest: s.Longest, Factor: s.Factor, Even: s.Even},
		DeadLetter: s.DeadLetter, Discard: s.Discard, MaxDepth: s.MaxDepth, MaxBytes: s.MaxBytes,
		WhenFull: s.WhenFull, Ordered: s.Ordered, Dedup: s.Dedup, TTL: s.TTL, MaxInFlight: s.MaxInFlight,
		AutoDelete: s.AutoDelete, Exclusive: s.Exclusive, Compression: s.Compression,
	}, nil
}

// differs returns a *log.MismatchError when want is not what have is, and names the first field.
func (o *Options) differs(name string, want *Options) error {
	fields := []struct{ name, have, want string }{
		{"lease", o.Lease.String(), want.Lease.String()},
		{"delay", o.Delay.String(), want.Delay.String()},
		{"retry", describeRetry(o.Retry), describeRetry(want.Retry)},
		{"dead letter", o.DeadLetter, want.DeadLetter},
		{"discard", strconv.FormatBool(o.Discard), strconv.FormatBool(want.Discard)},
		{"max depth", strconv.FormatInt(o.MaxDepth, 10), strconv.FormatInt(want.MaxDepth, 10)},
		{"max bytes", strconv.FormatInt(o.MaxBytes, 10), strconv.FormatInt(want.MaxBytes, 10)},
		{"when full", o.WhenFull.String(), want.WhenFull.String()},
		{"ordered", strconv.FormatBool(o.Ordered), strconv.FormatBool(want.Ordered)},
		{"dedup", o.Dedup.String(), want.Dedup.String()},
		{"ttl", o.TTL.String(), want.TTL.String()},
		{"max in flight", strconv.Itoa(o.MaxInFlight), strconv.Itoa(want.MaxInFlight)},
		{"auto-delete", strconv.FormatBool(o.AutoDelete), strconv.FormatBool(want.AutoDelete)},
		{"exclusive", strconv.FormatBool(o.Exclusive), strconv.FormatBool(want.Exclusive)},
		{"compression", o.Compression.String(), want.Compression.String()},
	}
	for _, f := range fields {
		if f.have != f.want {
			return &log.MismatchError{Name: name, Field: f.name, Have: f.have, Want: f.want}
		}
	}
	return nil
}

// describeRetry says what r comes to, so that a default and its value are the same.
func describeRetry(r timer.Retry) string {
	attempts := strconv.Itoa(r.Attempts)
	if r.Attempts < 0 {
		attempts = "unlimited"
	}
	const standard = 2 // timer.Retry's factor
	return fmt.Sprintf("%s attempts, first wait %v, longest %v, factor %v, even %v",
		attempts, r.Bound(1), r.Bound(math.MaxInt), cmp.Or(r.Factor, standard), r.Even)
}
