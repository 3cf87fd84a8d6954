package harness

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/stratalog/strata/log"
)

// topicsTopic is where the log keeps its own records of topics: each change of topics takes a
// position there.
const topicsTopic = log.SystemPrefix + "topics"

// View is what is known of a log at one moment: everything that was attempted and may be there, in
// the order in which the log must have it, and how much of that must be there. It never changes. The
// zero View is that of a log that does not exist yet.
//
// A log is one sequence, so what a crash leaves is always a prefix of what was attempted: that is all
// of the oracle. Attempts that were refused are not in it, and so must be absent.
type View struct {
	attempts []*attempt
	// synced is how many attempts a power cut must leave, written how many the death of the process.
	synced, written int
	// opened says that an opening has succeeded, so that there must be a log.
	opened bool
	notes  []Note
	lastID int // the highest that an attempt has had
	// opaque says that others than the Session append, so that only they know what must be there.
	opaque bool
}

// Note is something that a workload says of itself, for its own checker.
type Note struct {
	// Acked is false for what was attempted and true for what was promised.
	Acked bool
	Value any
}

// promised returns how many notes are of something acknowledged.
func (v View) promised() int {
	n := 0
	for _, note := range v.notes {
		if note.Acked {
			n++
		}
	}
	return n
}

// Notes returns what the workload has noted, in order.
func (v View) Notes() []Note { return v.notes }

// Attempts returns how many attempts may be there, and how many of them must be there, after a power
// cut and after the death of the process.
func (v View) Attempts() (all, synced, written int) { return len(v.attempts), v.synced, v.written }

// afterPowerCut is v as it is for an image that a power cut has left: what was only written may be
// gone.
func (v View) afterPowerCut() View {
	v.written = v.synced
	return v
}

// resolved is v when n attempts were found, durably.
func (v View) resolved(n int) View {
	v.attempts = slices.Clip(v.attempts[:n])
	v.synced, v.written, v.opened = n, n, true
	return v
}

// attempt is one commit, or one change of topics. It never changes.
type attempt struct {
	id     int
	create string // topic that is created
	parts  int    // of the topic that is created
	remove string // topic that is deleted
	places []placed
}

// placed is one record of a commit, and where it goes.
type placed struct {
	topic     string
	partition int32
	record    log.Record
}

func (a *attempt) records() int { return max(1, len(a.places)) }

func (a *attempt) String() string {
	switch {
	case a.create != "":
		return fmt.Sprintf("attempt %d: create %s", a.id, a.create)
	case a.remove != "":
		return fmt.Sprintf("attempt %d: delete %s", a.id, a.remove)
	}
	return fmt.Sprintf("attempt %d: %d records from %s/%d", a.id, len(a.places), a.places[0].topic, a.places[0].partition)
}

// content is what a log must hold: the fold of a prefix of attempts.
type content struct {
	topics   map[string]*topicContent // those that are not deleted
	all      []*topicContent
	records  []stored // by position
	attempts int
}

type topicContent struct {
	name    string
	deleted bool
	parts   [][]int // of each partition, the indexes in content.records of its records
}

// stored is a record at its place.
type stored struct {
	attempt   *attempt
	topic     *topicContent
	partition int32
	offset    int64
	record    *log.Record // nil for the log's own
	key       string      // of the log's own
}

func newContent() *content {
	c := &content{topics: map[string]*topicContent{}}
	c.topic(topicsTopic, 1)
	return c
}

// fold returns the content after the first n attempts.
func (v View) fold(n int) *content {
	c := newContent()
	for _, a := range v.attempts[:n] {
		c.apply(a)
	}
	return c
}

// at returns how many attempts there are before position, or -1 when it is not between two of them.
func (v View) at(position uint64) int {
	at := uint64(0)
	for n, a := range v.attempts {
		if at == position {
			return n
		}
		at += uint64(a.records())
	}
	if at == position {
		return len(v.attempts)
	}
	return -1
}

func (c *content) topic(name string, parts int) *topicContent {
	t := &topicContent{name: name, parts: make([][]int, parts)}
	c.topics[name] = t
	c.all = append(c.all, t)
	return t
}

func (c *content) store(a *attempt, t *topicContent, partition int32, r *log.Record, key string) {
	p := &t.parts[partition]
	c.records = append(c.records, stored{
		attempt: a, topic: t, partition: partition, offset: int64(len(*p)), record: r, key: key,
	})
	*p = append(*p, len(c.records)-1)
}

func (c *content) apply(a *attempt) {
	c.attempts++
	switch {
	case a.create != "":
		c.store(a, c.topics[topicsTopic], 0, nil, a.create)
		c.topic(a.create, a.parts)
	case a.remove != "":
		c.store(a, c.topics[topicsTopic], 0, nil, a.remove)
		c.topics[a.remove].deleted = true
		delete(c.topics, a.remove)
	}
	// The records of a commit are stored a partition after the other, in order of their first records.
	done := map[string]bool{}
	for i := range a.places {
		first := &a.places[i]
		key := fmt.Sprintf("%s/%d", first.topic, first.partition)
		if done[key] {
			continue
		}
		done[key] = true
		for k := range a.places {
			if p := &a.places[k]; p.topic == first.topic && p.partition == first.partition {
				c.store(a, c.topics[p.topic], p.partition, &p.record, "")
			}
		}
	}
}

// differs says how a record that was read differs from the one that must be at position, or "".
func (c *content) differs(position uint64, got *log.Record) string {
	if position >= uint64(len(c.records)) {
		return "there should be no record"
	}
	want := &c.records[position]
	switch {
	case got.Position != position:
		return fmt.Sprintf("position is %d", got.Position)
	case got.Topic != want.topic.name || got.Partition != want.partition || got.Offset != want.offset:
		return fmt.Sprintf("is %s/%d offset %d, not %s/%d offset %d (%s)", got.Topic, got.Partition, got.Offset, want.topic.name, want.partition, want.offset, want.attempt)
	case want.record == nil:
		if string(got.Key) != want.key {
			return fmt.Sprintf("key is %q, not %q (%s)", got.Key, want.key, want.attempt)
		}
		return ""
	}
	r := want.record
	same := bytes.Equal(got.Key, r.Key) && (got.Key == nil) == (r.Key == nil) &&
		bytes.Equal(got.Value, r.Value) && (got.Value == nil) == (r.Value == nil) &&
		(r.Timestamp.IsZero() || r.Timestamp.UnixMilli() == got.Timestamp.UnixMilli()) &&
		slices.EqualFunc(got.Headers, r.Headers, func(a, b log.Header) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
		})
	if !same {
		return fmt.Sprintf("bytes differ from those of %s: key %.40q value %.60q, want %.40q %.60q", want.attempt, got.Key, got.Value, r.Key, r.Value)
	}
	return ""
}
