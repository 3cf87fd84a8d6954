package aggregate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// Store is an event store: a topic whose records are the events of streams. Its methods may be called
// concurrently. It needs no closing: it ends with the log.
type Store struct {
	l    *log.Log
	t    *log.Topic
	h    *log.ViewHandle
	view view
	ids  ids
	// appending are the gates of appends that expect no definite version, handling those of Handle.
	appending, handling gates
	encoders            sync.Pool // of *encoder
	// snapshots is the topic of the snapshots, once it was used.
	snapshots atomic.Pointer[log.Topic]
}

// Options configures Open. The zero value is ready for use.
type Options struct {
	// Partitions is how many partitions the topic has: consumer groups share them out. The events of a
	// stream are in one of them. Zero is those of the store that there is, or 1.
	Partitions int
	// Compression is that of the topic when it is created. Zero is none.
	Compression record.Codec
}

// Open returns the event store in topic, which it creates where there is none. A topic that is something
// else, or a store with another number of partitions, is a *log.MismatchError. A topic that is a store
// can not be deleted. Each store that is open is a view of the log, which has 64 at most with those of other
// layers: one more is an error that matches log.ErrLimit. A log can keep any number of stores, and those that are
// not open cost it nothing; few stores with many streams are the way to have many kinds of them.
//
// On a log that was opened read-only the store can be read, and there must be one.
func Open(ctx context.Context, l *log.Log, topic string, o Options) (*Store, error) {
	c, err := l.Attach(viewPrefix+topic, func() (io.Closer, error) { return open(ctx, l, topic, o) })
	if err != nil {
		return nil, err
	}
	s := c.(*Store)
	return s, s.compare(o)
}

func open(ctx context.Context, l *log.Log, topic string, o Options) (*Store, error) {
	t, err := ensure(ctx, l, topic, o)
	if err != nil {
		return nil, err
	}
	s := &Store{l: l, t: t, view: view{topic}}
	s.ids.from = l.Options().Rand
	s.encoders.New = func() any { return &encoder{} }
	if s.h, err = l.Register(ctx, s.view); errors.Is(err, log.ErrLimit) {
		return nil, fmt.Errorf("aggregate: store %q cannot be open beside so many others: %w", topic, err)
	} else if err != nil {
		return nil, err
	}
	return s, nil
}

// ensure returns the topic, which it creates where there is none.
func ensure(ctx context.Context, l *log.Log, topic string, o Options) (*log.Topic, error) {
	if l.Options().ReadOnly {
		t, err := l.Topic(topic)
		if err == nil && t.Kind() != Kind {
			err = &log.MismatchError{Name: topic, Field: "kind", Have: t.Kind(), Want: Kind}
		}
		return t, err
	}
	t, err := l.CreateTopic(ctx, topic, log.TopicOptions{Partitions: o.Partitions, Compression: o.Compression, Kind: Kind})
	var mismatch *log.MismatchError
	if errors.As(err, &mismatch) && mismatch.Field != "kind" {
		return t, nil // compare tells whether it matters
	}
	return t, err
}

// compare returns a *log.MismatchError for a store that is not as o asks.
func (s *Store) compare(o Options) error {
	if have := s.t.Partitions(); o.Partitions != 0 && o.Partitions != have {
		return &log.MismatchError{Name: s.Topic(), Field: "partitions", Have: strconv.Itoa(have), Want: strconv.Itoa(o.Partitions)}
	}
	return nil
}

// Close implements io.Closer for the log, which calls it.
func (s *Store) Close() error { return nil }

// Topic returns the name of the topic that the store is in.
func (s *Store) Topic() string { return s.t.Name() }

// Log returns the log that the store is in.
func (s *Store) Log() *log.Log { return s.l }

// Stores returns the topics of l that are event stores, by name.
func Stores(l *log.Log) []string {
	var names []string
	for _, t := range l.Topics() {
		if t.Kind == Kind {
			names = append(names, t.Name)
		}
	}
	return names
}

// Info describes a stream.
type Info struct {
	Stream string
	// Version is that of the last event.
	Version uint64
	// First is the lowest version that is left: above Version when all were truncated.
	First uint64
	// Tombstone says that the stream was ended for ever.
	Tombstone bool
}

// Events returns how many events are left.
func (i Info) Events() uint64 { return i.Version + 1 - i.First }

func (h head) info(stream string) Info {
	return Info{Stream: stream, Version: h.version, First: max(h.first, 1), Tombstone: h.tombstone}
}

// head returns what is known of a stream, with all that was acknowledged before the call.
func (s *Store) head(ctx context.Context, stream string) (head, error) {
	value, _, err := s.h.Get(ctx, headKey([]byte(stream)))
	if err != nil {
		return head{}, err
	}
	return decodeHead(value)
}

// Info describes a stream, with all that was acknowledged before the call. One that there is not is a
// *StreamError.
func (s *Store) Info(ctx context.Context, stream string) (Info, error) {
	if err := checkStream(stream); err != nil {
		return Info{}, err
	}
	h, err := s.head(ctx, stream)
	if err == nil && h == (head{}) {
		err = &StreamError{Stream: stream}
	}
	return h.info(stream), err
}

// Streams yields the streams whose names begin with prefix, by name, as of one moment. Those with a
// tombstone are among them. An error is the last pair.
func (s *Store) Streams(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		from := headKey([]byte(prefix))
		for kv, err := range s.h.Scan(ctx, from, behind(from)) {
			var h head
			if err == nil {
				h, err = decodeHead(kv.Value)
			}
			if err != nil {
				yield(Info{}, err)
				return
			}
			if !yield(h.info(string(kv.Key[1:])), nil) {
				return
			}
		}
	}
}

// behind returns the first key behind all that begin with prefix, which begins with a letter.
func behind(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

// Separator stands behind the category in the name of a stream.
const Separator = "-"

// Category returns the category of a stream: what stands in front of the first Separator in its name, or
// all of it when there is none.
func Category(stream string) string {
	category, _, _ := strings.Cut(stream, Separator)
	return category
}

// Category yields the streams of a category, by name, as Streams does. What has a Separator in it is no
// category, and has no streams.
func (s *Store) Category(ctx context.Context, category string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if Category(category) != category {
			return
		}
		i, err := s.Info(ctx, category)
		switch {
		case err == nil:
			if !yield(i, nil) {
				return
			}
		case err != nil && !errors.Is(err, ErrNoStream):
			yield(Info{}, err)
			return
		}
		s.Streams(ctx, category+Separator)(yield)
	}
}

// Categories returns the categories that have streams, by name.
func (s *Store) Categories(ctx context.Context) ([]string, error) {
	var names []string
	for from := []byte{'h'}; from != nil; {
		var next []byte
		for kv, err := range s.h.Scan(ctx, from, []byte{'h' + 1}) {
			if err != nil {
				return nil, err
			}
			category := Category(string(kv.Key[1:]))
			if len(names) == 0 || names[len(names)-1] != category {
				names = append(names, category)
			}
			if next = []byte("h" + category + Separator); string(kv.Key) >= string(next) {
				next = behind(next) // past the streams of this one
			}
			break
		}
		from = next
	}
	return names, nil
}
