package log

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/stratalog/strata/record"
)

// SystemPrefix begins the names of the topics in which Strata keeps its own records. Programs can
// read them but not append to them.
const SystemPrefix = "__strata."

// topicsTopic holds the changes of topics. It has one partition, whose number is 0, and is there
// from a log's first segment on.
const topicsTopic = SystemPrefix + "topics"

const (
	maxNameBytes  = 249
	maxPartitions = 1 << 20
)

// TopicOptions configures CreateTopic.
type TopicOptions struct {
	// Partitions is how many ordered sequences the topic has, at most 1,048,576. Zero is 1.
	Partitions int
	// Compression is the codec of the batches that this process appends. Zero is none.
	Compression record.Codec
	// Partitioner places records with a key. Zero is Murmur2.
	Partitioner PartitionerName
	// Kind names the layer that the topic belongs to, by the rules of topic names; "" is none. Only that
	// layer appends to it, by Commit.AppendAs, and deletes it, by Log.DeleteTopicAs. It cannot be altered.
	Kind string
}

// PartitionerName names the function that places a record with a key.
type PartitionerName uint8

const (
	// Murmur2 places keys as Kafka's Java client and franz-go do.
	Murmur2 PartitionerName = iota
	// FNV1a places keys as sarama does.
	FNV1a
)

func (n PartitionerName) String() string {
	switch n {
	case Murmur2:
		return "murmur2"
	case FNV1a:
		return "fnv1a"
	}
	return "invalid"
}

func (n PartitionerName) place(key []byte, partitions int) int {
	if n == FNV1a {
		return record.FNV1a(key, partitions)
	}
	return record.Murmur2(key, partitions)
}

// TopicInfo describes a topic.
type TopicInfo struct {
	Name        string
	ID          UUID
	Partitions  int
	Compression record.Codec
	Partitioner PartitionerName
	Kind        string // of the layer that the topic belongs to, or ""
}

// Topic is a handle on a topic. It is cheap, and safe for concurrent use.
type Topic struct {
	l    *Log
	name string // immutable
	id   UUID   // immutable
	kind string // immutable
	// options holds what may be altered. Stored by a holder of Log.mu, never modified.
	options atomic.Pointer[TopicOptions]
	// partitions grows, and is otherwise treated as options.
	partitions atomic.Pointer[[]*Partition]
	// changed is the position behind the last change of the topic that this process made. Guarded by
	// Log.mu.
	changed uint64
	deleted atomic.Bool
	// keyless counts the commits that placed records without a key.
	keyless atomic.Uint32
}

// Partition is a handle on one partition of a topic: an ordered sequence of records with dense
// offsets from 0. It is cheap, and safe for concurrent use.
type Partition struct {
	topic  *Topic // immutable, like the next two
	index  int32
	number uint32 // in the log; never used twice

	next int64 // offset that the next sequenced record gets. Guarded by Log.mu.
	// written and synced are the offsets behind what is written, and synced.
	written, synced atomic.Int64
	dirty           bool // is on Log.dirty; guarded by Log.endMu
	// viewed has the bits of the views that are derived from the topic. Stored under Log.mu.
	viewed  atomic.Uint64
	syncing int64 // written as of the sync that is under way. Guarded by Log.syncMu.
}

// Name returns the topic's name.
func (t *Topic) Name() string { return t.name }

// ID returns what tells the topic from another that once had its name.
func (t *Topic) ID() UUID { return t.id }

// Partitions returns how many partitions the topic has.
func (t *Topic) Partitions() int { return len(*t.partitions.Load()) }

// Info describes the topic.
func (t *Topic) Info() TopicInfo {
	o := t.options.Load()
	return TopicInfo{Name: t.name, ID: t.id, Partitions: t.Partitions(), Compression: o.Compression, Partitioner: o.Partitioner, Kind: t.kind}
}

// Kind returns the name of the layer that the topic belongs to, or "".
func (t *Topic) Kind() string { return t.kind }

// Place returns the partition in which records with this key are.
func (t *Topic) Place(key []byte) *Partition {
	parts := *t.partitions.Load()
	return parts[t.options.Load().Partitioner.place(key, len(parts))]
}

// Partition returns a handle on partition i. When there is none, the handle's methods return a
// *PartitionError.
func (t *Topic) Partition(i int32) *Partition {
	if parts := *t.partitions.Load(); i >= 0 && int(i) < len(parts) {
		return parts[i]
	}
	return &Partition{topic: t, index: i, number: noPartition}
}

// noPartition is the number of a partition that does not exist.
const noPartition = 1<<32 - 1

// Topic returns the partition's topic.
func (p *Partition) Topic() *Topic { return p.topic }

// Index returns the partition's number within its topic.
func (p *Partition) Index() int32 { return p.index }

// Next returns the offset behind the last record that readers see.
func (p *Partition) Next() int64 { return p.synced.Load() }

// check returns why p cannot be used.
func (p *Partition) check() error {
	if p.topic.deleted.Load() {
		return &TopicError{Topic: p.topic.name}
	}
	if p.number == noPartition {
		return &PartitionError{Topic: p.topic.name, Partition: p.index, Partitions: p.topic.Partitions()}
	}
	return nil
}

func (t *Topic) system() bool { return strings.HasPrefix(t.name, SystemPrefix) }

// CheckTopicName returns a *NameError when CreateTopic does not accept the name.
func CheckTopicName(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if strings.HasPrefix(name, SystemPrefix) {
		return &NameError{Name: name, Reason: "names that begin with " + SystemPrefix + " are the engine's"}
	}
	return nil
}

// checkName returns a *NameError when name is not accepted for a topic: the rules are Kafka's.
func checkName(name string) error {
	switch {
	case name == "":
		return &NameError{Name: name, Reason: "empty"}
	case len(name) > maxNameBytes:
		return &NameError{Name: name[:maxNameBytes] + "…", Reason: fmt.Sprintf("longer than %d bytes", maxNameBytes)}
	case name == "." || name == "..":
		return &NameError{Name: name, Reason: "reserved"}
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return &NameError{Name: name, Reason: fmt.Sprintf("byte %d is %q; letters, digits, '.', '_' and '-' are allowed", i, c)}
		}
	}
	return nil
}
