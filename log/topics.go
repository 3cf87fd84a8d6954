package log

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// CreateTopic creates a topic and returns it when that is durable. When there is one of that name
// already it is returned, provided it was created with the same options; otherwise the error is a
// *MismatchError. A name is 1 to 249 letters, digits, '.', '_' and '-'.
func (l *Log) CreateTopic(ctx context.Context, name string, o TopicOptions) (*Topic, error) {
	return l.createTopic(ctx, name, o, false)
}

func (l *Log) createTopic(ctx context.Context, name string, o TopicOptions, system bool) (*Topic, error) {
	check := CheckTopicName
	if system {
		check = checkName
	}
	if err := check(name); err != nil {
		return nil, err
	}
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	if o.Partitions < 0 || o.Partitions > maxPartitions {
		return nil, fmt.Errorf("%w: topic %q: %d partitions", ErrOptions, name, o.Partitions)
	}
	if !o.Compression.Supported() || o.Partitioner > FNV1a {
		return nil, fmt.Errorf("%w: topic %q: compression %v, partitioner %v", ErrOptions, name, o.Compression, o.Partitioner)
	}
	if o.Kind != "" {
		if err := checkName(o.Kind); err != nil {
			return nil, err
		}
	}
	l.topicsMu.Lock()
	defer l.topicsMu.Unlock()
	l.mu.Lock()
	t, usable, first := l.catalog.topics[name], l.usableLocked(), l.catalog.nextNumber
	changed := uint64(0)
	if t != nil {
		changed = t.changed
	}
	l.mu.Unlock()
	if t != nil {
		// The commit that created it may have failed, or its caller may have given up waiting.
		if l.syncedPosition.Load() < changed {
			if err := l.Sync(ctx); err != nil {
				return nil, err
			}
		}
		return t, t.compare(o)
	}
	if usable != nil {
		return nil, usable
	}
	id, err := newUUID(l.o.Rand)
	if err != nil {
		return nil, err
	}
	if err := l.changeTopics(ctx, change{
		Op: "create", Name: name, ID: id, Kind: o.Kind, Compression: o.Compression.String(), Partitioner: o.Partitioner.String(),
		Extents: []numbers{{First: first, Count: uint32(o.Partitions)}},
	}); err != nil {
		return nil, err
	}
	return l.Topic(name)
}

// compare returns a *MismatchError when t is not as o says.
func (t *Topic) compare(o TopicOptions) error {
	have := t.Info()
	for _, f := range []struct{ field, have, want string }{
		{"kind", have.Kind, o.Kind},
		{"partitions", strconv.Itoa(have.Partitions), strconv.Itoa(o.Partitions)},
		{"compression", have.Compression.String(), o.Compression.String()},
		{"partitioner", have.Partitioner.String(), o.Partitioner.String()},
	} {
		if f.have != f.want {
			return &MismatchError{Name: t.name, Field: f.field, Have: f.have, Want: f.want}
		}
	}
	return nil
}

// changeTopics commits a change. topicsMu is held.
func (l *Log) changeTopics(ctx context.Context, ch change) error {
	value, err := json.Marshal(ch)
	if err != nil {
		return fmt.Errorf("log: topics: %w", err)
	}
	c := l.NewCommit()
	c.system, c.freeing = true, ch.Op == "delete"
	c.Durability(Synced)
	c.AppendTo(l.partition(0), Record{Key: ch.key(), Value: value})
	// The catalog of a segment that begins right behind the commit must have the change.
	c.sequenced = func() {
		l.catalog.apply(ch)
		if t := l.catalog.byID[ch.ID]; t != nil {
			t.changed = l.position
			l.publishTopicLocked(t)
		} else {
			l.publishPartitionsLocked()
		}
	}
	_, err = c.Commit(ctx)
	return err
}

// Topic returns the topic called name, or a *TopicError. With Options.AutoCreateTopics a missing one
// is created with one partition.
func (l *Log) Topic(name string) (*Topic, error) {
	t, err := l.LookUpTopic(name)
	if errors.Is(err, ErrNoTopic) && l.o.AutoCreateTopics && !l.o.ReadOnly {
		return l.CreateTopic(context.Background(), name, TopicOptions{})
	}
	return t, err
}

// LookUpTopic returns the topic called name, or a *TopicError; it creates none.
func (l *Log) LookUpTopic(name string) (*Topic, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if t := l.catalog.topics[name]; t != nil {
		return t, nil
	}
	return nil, &TopicError{Topic: name}
}

// Topics lists the topics by name, without those of the engine.
func (l *Log) Topics() []TopicInfo { return l.topicInfos(false) }

// SystemTopics lists the topics in which the engine keeps its own records.
func (l *Log) SystemTopics() []TopicInfo { return l.topicInfos(true) }

func (l *Log) topicInfos(system bool) []TopicInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	var infos []TopicInfo
	for _, name := range slices.Sorted(maps.Keys(l.catalog.topics)) {
		if t := l.catalog.topics[name]; t.system() == system {
			infos = append(infos, t.Info())
		}
	}
	return infos
}

// AlterTopic changes a topic: compression and partitioner become what o says, and it gets partitions
// until it has o.Partitions, which it must not exceed; 0 leaves their number alone. Keys may be placed
// elsewhere from then on, so that of a topic that belongs to a layer only the compression can be
// altered.
func (l *Log) AlterTopic(ctx context.Context, name string, o TopicOptions) error {
	l.topicsMu.Lock()
	defer l.topicsMu.Unlock()
	l.mu.Lock()
	t, next := l.catalog.topics[name], l.catalog.nextNumber
	l.mu.Unlock()
	if t == nil {
		return &TopicError{Topic: name}
	}
	if t.system() {
		return &NameError{Name: name, Reason: "the engine's own"}
	}
	have := t.Partitions()
	if o.Partitions == 0 {
		o.Partitions = have
	}
	if o.Partitions < have {
		return &MismatchError{Name: name, Field: "partitions", Have: strconv.Itoa(have), Want: strconv.Itoa(o.Partitions)}
	}
	if t.kind != "" && (o.Partitions > have || o.Partitioner != t.options.Load().Partitioner) {
		return &KindError{Topic: name, Kind: t.kind}
	}
	if o.Partitions > maxPartitions || !o.Compression.Supported() || o.Partitioner > FNV1a {
		return fmt.Errorf("%w: topic %q: %d partitions, compression %v, partitioner %v", ErrOptions, name, o.Partitions, o.Compression, o.Partitioner)
	}
	ch := describe("alter", t)
	ch.Compression, ch.Partitioner = o.Compression.String(), o.Partitioner.String()
	if more := o.Partitions - have; more > 0 {
		ch.Extents = append(ch.Extents, numbers{First: next, Count: uint32(more)})
	}
	return l.changeTopics(ctx, ch)
}

// DeleteTopic deletes a topic. Its records are not readable any more once that is durable; a topic
// created later under the same name is another one. A topic that belongs to a layer is deleted by that
// layer: the error is a *KindError.
func (l *Log) DeleteTopic(ctx context.Context, name string) error {
	return l.DeleteTopicAs(ctx, "", name)
}

// DeleteTopicAs is DeleteTopic for the layer that the topic belongs to: kind is the topic's. Views of
// that kind do not see its records any more when they are derived again, so a layer first commits what
// makes its views forget the topic.
func (l *Log) DeleteTopicAs(ctx context.Context, kind, name string) error {
	l.topicsMu.Lock()
	defer l.topicsMu.Unlock()
	l.mu.Lock()
	t := l.catalog.topics[name]
	l.mu.Unlock()
	if t == nil {
		return &TopicError{Topic: name}
	}
	if t.system() {
		return &NameError{Name: name, Reason: "the engine's own"}
	}
	if t.kind != kind {
		return &KindError{Topic: name, Kind: t.kind}
	}
	l.mu.Lock()
	for view, info := range l.catalog.views {
		if slices.Contains(info.Topics, name) {
			l.mu.Unlock()
			return &ViewedError{Topic: name, View: view}
		}
	}
	l.mu.Unlock()
	return l.changeTopics(ctx, change{Op: "delete", Name: name, ID: t.id})
}

// key returns the key of the record of ch: a topic's name, or what no topic can be called.
func (ch *change) key() []byte {
	if ch.Op == "view" {
		return []byte("view/" + ch.Name)
	}
	return []byte(ch.Name)
}
