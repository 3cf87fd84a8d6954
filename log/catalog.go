package log

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/stratalog/strata/record"
)

// catalog is what topics there are: the fold of the records of the topics topic. A copy of it opens
// every segment.
//
// # Tables in a catalog frame
//
//	0   4  length of the description
//	4   4  number of partitions
//	8   4  number that the next new partition gets
//	12  4  zero
//	16  .. description: JSON, {"topics":[change, ...],"views":[change, ...]}, then zeros up to a multiple of eight
//	..  24 per partition, by rising number: 4 number | 4 zero | 8 first offset | 8 next offset
type catalog struct {
	l      *Log
	topics map[string]*Topic
	byID   map[UUID]*Topic
	// partitions holds the partitions that are not deleted, by their number in the log.
	partitions map[uint32]*Partition
	nextNumber uint32
	// views holds the views that were ever registered, by name.
	views map[string]viewInfo
}

const (
	catalogHeadBytes = 16
	catalogPartBytes = 24
)

// change is one change of topics, the value of a record of the topics topic; its key is the name.
type change struct {
	Op          string    `json:"op"` // "create", "alter", "delete"
	Name        string    `json:"name"`
	ID          UUID      `json:"id"`
	Compression string    `json:"compression,omitempty"`
	Partitioner string    `json:"partitioner,omitempty"`
	Extents     []numbers `json:"partitions,omitempty"` // of all the topic's partitions, in order
	Kind        string    `json:"kind,omitempty"`       // of the topic
	// Topics, Kinds and Producers say what the view called Name is derived from; Op is "view".
	Topics    []string `json:"topics,omitempty"`
	Kinds     []string `json:"kinds,omitempty"`
	Producers bool     `json:"producers,omitempty"`
}

// numbers is a run of partition numbers.
type numbers struct {
	First uint32 `json:"first"`
	Count uint32 `json:"count"`
}

func newCatalog(l *Log) *catalog {
	return &catalog{l: l, topics: map[string]*Topic{}, byID: map[UUID]*Topic{}, partitions: map[uint32]*Partition{}, views: map[string]viewInfo{}}
}

// seed gives a new log its first topic.
func (c *catalog) seed() {
	c.apply(change{Op: "create", Name: topicsTopic, Extents: []numbers{{First: 0, Count: 1}}})
}

// apply folds one change in. It is given only what this package wrote and checked.
func (c *catalog) apply(ch change) {
	switch ch.Op {
	case "create", "alter":
		t := c.byID[ch.ID]
		if t == nil {
			t = &Topic{l: c.l, name: ch.Name, id: ch.ID, kind: ch.Kind}
			t.partitions.Store(&[]*Partition{})
			c.topics[ch.Name], c.byID[ch.ID] = t, t
		}
		o := ch.options()
		t.options.Store(&o)
		c.extend(t, ch.Extents)
	case "view":
		c.views[ch.Name] = viewInfo{Topics: ch.Topics, Kinds: ch.Kinds, Producers: ch.Producers}
	case "delete":
		t := c.byID[ch.ID]
		if t == nil {
			return
		}
		t.deleted.Store(true)
		delete(c.byID, ch.ID)
		if c.topics[t.name] == t {
			delete(c.topics, t.name)
		}
		for _, p := range *t.partitions.Load() {
			delete(c.partitions, p.number)
		}
	}
}

// extend gives t the partitions of extents that it does not have yet.
func (c *catalog) extend(t *Topic, extents []numbers) {
	parts := slices.Clone(*t.partitions.Load())
	seen := 0
	for _, e := range extents {
		for n := range e.Count {
			if seen++; seen <= len(parts) {
				continue
			}
			p := &Partition{topic: t, index: int32(len(parts)), number: e.First + n}
			parts = append(parts, p)
			c.partitions[p.number] = p
			c.nextNumber = max(c.nextNumber, p.number+1)
		}
	}
	t.partitions.Store(&parts)
}

// describe returns the change that creates t as it is now.
func describe(op string, t *Topic) change {
	o := t.options.Load()
	ch := change{Op: op, Name: t.name, ID: t.id, Kind: t.kind, Compression: o.Compression.String(), Partitioner: o.Partitioner.String()}
	for _, p := range *t.partitions.Load() {
		if n := len(ch.Extents); n > 0 && ch.Extents[n-1].First+ch.Extents[n-1].Count == p.number {
			ch.Extents[n-1].Count++
		} else {
			ch.Extents = append(ch.Extents, numbers{First: p.number, Count: 1})
		}
	}
	return ch
}

func (ch change) options() TopicOptions {
	o := TopicOptions{Kind: ch.Kind}
	for _, e := range ch.Extents {
		o.Partitions += int(e.Count)
	}
	o.Compression, _ = record.ParseCodec(ch.Compression)
	if ch.Partitioner == FNV1a.String() {
		o.Partitioner = FNV1a
	}
	return o
}

// applyBatch folds in a batch of the topics topic.
func (c *catalog) applyBatch(batch []byte) error {
	var d record.Decoder
	if err := d.Reset(batch, defaultRecordBytes); err != nil {
		return fmt.Errorf("log: topics: %w", err)
	}
	var r Record
	for {
		more, err := d.Next(&r)
		if err != nil {
			return fmt.Errorf("log: topics: %w", err)
		}
		if !more {
			return nil
		}
		var ch change
		if err := json.Unmarshal(r.Value, &ch); err != nil {
			return fmt.Errorf("log: topics: %w", err)
		}
		c.apply(ch)
	}
}

// description is the JSON of a catalog frame.
type description struct {
	Topics []change `json:"topics"`
	Views  []change `json:"views,omitempty"`
}

// encode returns the tables of a catalog frame.
func (c *catalog) encode() ([]byte, error) {
	var description description
	for _, name := range slices.Sorted(maps.Keys(c.topics)) {
		description.Topics = append(description.Topics, describe("create", c.topics[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(c.views)) {
		v := c.views[name]
		description.Views = append(description.Views, v.change(name))
	}
	text, err := json.Marshal(description)
	if err != nil {
		return nil, fmt.Errorf("log: catalog: %w", err)
	}
	le := binary.LittleEndian
	b := make([]byte, catalogHeadBytes, catalogHeadBytes+len(text)+8+len(c.partitions)*catalogPartBytes)
	le.PutUint32(b, uint32(len(text)))
	le.PutUint32(b[4:], uint32(len(c.partitions)))
	le.PutUint32(b[8:], c.nextNumber)
	b = append(b, text...)
	b = append(b, make([]byte, -len(b)&7)...)
	for _, number := range slices.Sorted(maps.Keys(c.partitions)) {
		b = le.AppendUint32(b, number)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, 0)
		b = le.AppendUint64(b, uint64(c.partitions[number].next))
	}
	return b, nil
}

var errCatalog = errors.New("log: catalog tables do not decode")

// decode replaces c by the tables of a catalog frame.
func (c *catalog) decode(b []byte) error {
	text, table, err := splitCatalog(b)
	if err != nil {
		return err
	}
	var description description
	if err := json.Unmarshal(text, &description); err != nil {
		return fmt.Errorf("%w: %w", errCatalog, err)
	}
	*c = *newCatalog(c.l)
	for _, ch := range description.Topics {
		c.apply(ch)
	}
	for _, ch := range description.Views {
		c.apply(ch)
	}
	le := binary.LittleEndian
	c.nextNumber = max(c.nextNumber, le.Uint32(b[8:]))
	for ; len(table) > 0; table = table[catalogPartBytes:] {
		if p := c.partitions[le.Uint32(table)]; p != nil {
			p.setNext(int64(le.Uint64(table[16:])))
		}
	}
	return nil
}

// setNext sets the offsets of a partition before the log is in use.
func (p *Partition) setNext(next int64) {
	p.next = next
	p.written.Store(next)
	p.synced.Store(next)
}

// splitCatalog returns the description and the partition table of a catalog frame's tables.
func splitCatalog(b []byte) (text, table []byte, err error) {
	if len(b) < catalogHeadBytes {
		return nil, nil, errCatalog
	}
	textBytes := uint64(binary.LittleEndian.Uint32(b))
	parts := uint64(binary.LittleEndian.Uint32(b[4:]))
	at := (catalogHeadBytes + textBytes + 7) &^ 7
	if at+parts*catalogPartBytes > uint64(len(b)) {
		return nil, nil, errCatalog
	}
	return b[catalogHeadBytes : catalogHeadBytes+textBytes], b[at : at+parts*catalogPartBytes], nil
}

// catalogNext returns the offset that the partition with this number gave next when the segment of
// these tables began, or 0 when it did not exist. The tables have been decoded once before.
func catalogNext(b []byte, number uint32) int64 {
	_, table, err := splitCatalog(b)
	if err != nil {
		return 0
	}
	le := binary.LittleEndian
	n := len(table) / catalogPartBytes
	i := sort.Search(n, func(i int) bool { return le.Uint32(table[i*catalogPartBytes:]) >= number })
	if i == n || le.Uint32(table[i*catalogPartBytes:]) != number {
		return 0
	}
	return int64(le.Uint64(table[i*catalogPartBytes+16:]))
}
