package log

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// TopicChange says what happened to a topic.
type TopicChange uint8

// What can happen to a topic.
const (
	TopicCreated TopicChange = iota
	TopicAltered
	TopicDeleted
)

func (c TopicChange) String() string {
	switch c {
	case TopicCreated:
		return "created"
	case TopicAltered:
		return "altered"
	case TopicDeleted:
		return "deleted"
	}
	return "invalid"
}

// TopicEvent is one change of a topic. Info is the topic behind the change, or, of a deleted one, Name
// and ID alone.
type TopicEvent struct {
	Change TopicChange
	Info   TopicInfo
}

// WatchTopics yields the topics that there are as created, by name, and then every change, in order
// and without a gap, until ctx ends, which is the loop's last error. What it yields is durable. Topics
// of the engine are left out.
func (l *Log) WatchTopics(ctx context.Context) iter.Seq2[TopicEvent, error] {
	return func(yield func(TopicEvent, error) bool) {
		if err := l.readable(); err != nil {
			yield(TopicEvent{}, err)
			return
		}
		changes := l.partition(0)
		l.mu.Lock()
		next := changes.next
		if l.o.ReadOnly {
			next = changes.written.Load()
		}
		known := map[UUID]bool{}
		var infos []TopicInfo
		for _, name := range slices.Sorted(maps.Keys(l.catalog.topics)) {
			if t := l.catalog.topics[name]; !t.system() {
				infos = append(infos, t.Info())
				known[t.id] = true
			}
		}
		l.mu.Unlock()
		if err := l.waitSynced(ctx, changes, next); err != nil {
			yield(TopicEvent{}, err)
			return
		}
		for _, info := range infos {
			if !yield(TopicEvent{Change: TopicCreated, Info: info}, nil) {
				return
			}
		}
		for r, err := range changes.Follow(ctx, AtOffset(next)) {
			var e TopicEvent
			var topic bool
			if err == nil {
				e, topic, err = topicEvent(&r, known)
			}
			if err != nil {
				if !yield(TopicEvent{}, err) {
					return
				}
				continue
			}
			if topic && !yield(e, nil) {
				return
			}
		}
	}
}

// topicEvent decodes a record of the topics topic; false for what is no change of a user's topic.
func topicEvent(r *Record, known map[UUID]bool) (e TopicEvent, topic bool, err error) {
	var ch change
	if err := json.Unmarshal(r.Value, &ch); err != nil {
		return e, false, fmt.Errorf("log: topics: %w", err)
	}
	e.Info = TopicInfo{Name: ch.Name, ID: ch.ID}
	switch {
	case ch.Op == "delete" && known[ch.ID]:
		delete(known, ch.ID)
		e.Change = TopicDeleted
		return e, true, nil
	case ch.Op != "create" && ch.Op != "alter", (&Topic{name: ch.Name}).system():
		return e, false, nil
	}
	o := ch.options()
	e.Info.Partitions, e.Info.Compression, e.Info.Partitioner, e.Info.Kind = o.Partitions, o.Compression, o.Partitioner, o.Kind
	if known[ch.ID] {
		e.Change = TopicAltered
	}
	known[ch.ID] = true
	return e, true, nil
}

// waitSynced waits until the records of p below next are synced.
func (l *Log) waitSynced(ctx context.Context, p *Partition, next int64) error {
	for {
		moved := l.movedChannel()
		if p.synced.Load() >= next {
			return nil
		}
		if err := l.waitMoved(ctx, moved); err != nil {
			return err
		}
	}
}

// waitMoved waits for an end to move, which moved tells.
func (l *Log) waitMoved(ctx context.Context, moved <-chan struct{}) error {
	l.mu.Lock()
	closed, failed := l.closed, l.failed
	l.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case failed != nil:
		return failed
	}
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
