package consumer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/stratalog/strata/log"
)

const (
	viewName   = log.SystemPrefix + "groups"
	groupTopic = viewName
)

// The kinds of conditions. Key is the key in the view. Want is, but for kindGroup, the topic's name for
// errors, behind its length, u8, and then the offset's value; with kindDone the least offset that must be
// committed, i64, stands between the two.
const (
	kindGroup  = 1 // Want: u32 generation before, JSON of the state after or nothing
	kindCommit = 2 // the owner's offset, which never goes back
	kindDone   = 3 // the same, if the one before is committed, and this one is not
	kindAssign = 4 // a new owner; the offset stays unless Want has one
	kindFree   = 5 // an offset without an owner, which never goes back
	kindDelete = 6
)

// View returns the view of all groups, for reading them on a log that was opened read-only.
func View() log.View { return groupsView{} }

// groupsView folds the records of the groups' topic.
type groupsView struct{}

func (groupsView) Name() string     { return viewName }
func (groupsView) Topics() []string { return []string{groupTopic} }

func (groupsView) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	for i := range c.Batches {
		if c.Batches[i].Topic != groupTopic {
			continue
		}
		for r, err := range c.Batches[i].Records() {
			if err != nil {
				return err
			}
			if r.Value == nil {
				tx.Delete(r.Key)
				continue
			}
			if len(r.Key) > 0 && r.Key[0] == 'o' {
				old, err := tx.Get(r.Key)
				if err != nil {
					return err
				}
				tx.Set(r.Key, merge(old, r.Value))
				continue
			}
			tx.Set(r.Key, r.Value)
		}
	}
	return nil
}

// merge returns the value of an offset behind a record that sets it: what is committed does not go back
// within a generation, and a new owner goes on where the old one was unless the record says where.
func merge(old, now []byte) []byte {
	if old == nil {
		return now
	}
	before, now0 := decodeOffset(old), decodeOffset(now)
	stays := now0.Offset < before.Offset
	if now0.Generation > before.Generation {
		stays = now0.Offset < 0 // a reset says where, a mere assignment does not
	}
	if !stays {
		return now
	}
	before.Generation = now0.Generation
	return before.encode()
}

// Offset is what is committed of a partition.
type Offset struct {
	// Generation is the one in which the partition was given to its owner.
	Generation uint32
	// Offset is that of the first unfinished record; -1 when nothing was committed yet.
	Offset int64
	// LeaderEpoch is that of the record before it, -1 when it is not known.
	LeaderEpoch int32
	// Time is when it was committed, in milliseconds since 1970.
	Time int64
	// Metadata is the committer's own.
	Metadata string
}

const offsetHeadBytes = 25

func (o Offset) encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, offsetHeadBytes+len(o.Metadata))
	b = append(b, 1)
	b = be.AppendUint32(b, o.Generation)
	b = be.AppendUint64(b, uint64(o.Offset))
	b = be.AppendUint32(b, uint32(o.LeaderEpoch))
	b = be.AppendUint64(b, uint64(o.Time))
	return append(b, o.Metadata...)
}

// decodeOffset decodes a value that was checked.
func decodeOffset(b []byte) Offset {
	be := binary.BigEndian
	return Offset{
		Generation: be.Uint32(b[1:]), Offset: int64(be.Uint64(b[5:])), LeaderEpoch: int32(be.Uint32(b[13:])),
		Time: int64(be.Uint64(b[17:])), Metadata: string(b[offsetHeadBytes:]),
	}
}

func groupKey(group string) []byte { return append([]byte{'g'}, group...) }

// offsetKey returns the key of a partition's offset. Without a topic it is what the keys of the group
// begin with.
func offsetKey(group string, topic *log.UUID, partition int32) []byte {
	b := make([]byte, 0, 2+len(group)+20)
	b = append(b, 'o', byte(len(group)))
	b = append(b, group...)
	if topic == nil {
		return b
	}
	b = append(b, topic[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(partition))
}

var errKey = errors.New("consumer: key does not decode")

// splitOffsetKey is the reverse of offsetKey.
func splitOffsetKey(key []byte) (group string, topic log.UUID, partition int32, err error) {
	if len(key) < 2 || key[0] != 'o' || len(key) != 2+int(key[1])+20 {
		return "", topic, 0, errKey
	}
	n := int(key[1])
	copy(topic[:], key[2+n:])
	return string(key[2 : 2+n]), topic, int32(binary.BigEndian.Uint32(key[2+n+16:])), nil
}

// Key implements log.Answerer.
func (groupsView) Key(c *log.Condition) ([]byte, error) {
	bad := fmt.Errorf("%w: kind %d of %s", log.ErrCondition, c.Kind, viewName)
	switch c.Kind {
	case kindGroup:
		if len(c.Key) < 2 || c.Key[0] != 'g' || len(c.Want) < 4 {
			return nil, bad
		}
	case kindCommit, kindDone, kindAssign, kindFree, kindDelete:
		_, _, _, err := splitOffsetKey(c.Key)
		if err != nil || c.Kind != kindDelete && len(afterName(c)) < offsetHeadBytes+doneBytes(c) {
			return nil, bad
		}
	default:
		return nil, bad
	}
	return c.Key, nil
}

// afterName returns what stands behind the topic's name in Want, or nil.
func afterName(c *log.Condition) []byte {
	if len(c.Want) == 0 || len(c.Want) < 1+int(c.Want[0]) {
		return nil
	}
	return c.Want[1+int(c.Want[0]):]
}

// topicOf returns the topic's name in a condition that was checked.
func topicOf(c *log.Condition) string { return string(c.Want[1 : 1+int(c.Want[0])]) }

// doneBytes is how much stands in front of the value.
func doneBytes(c *log.Condition) int {
	if c.Kind == kindDone {
		return 8
	}
	return 0
}

// value returns what a condition that was checked sets its key to, nil to delete it.
func value(c *log.Condition) []byte {
	switch c.Kind {
	case kindGroup:
		if len(c.Want) == 4 {
			return nil
		}
		return c.Want[4:]
	case kindDelete:
		return nil
	}
	return afterName(c)[doneBytes(c):]
}

// onOffset returns a condition on the offset of a partition. With kindDone, must is the least offset that
// has to be committed.
func onOffset(kind uint8, group string, t *log.Topic, partition int32, must int64, o Offset) log.Condition {
	id := t.ID()
	want := append([]byte{byte(len(t.Name()))}, t.Name()...)
	if kind == kindDone {
		want = binary.BigEndian.AppendUint64(want, uint64(must))
	}
	want = append(want, o.encode()...)
	return log.Condition{View: viewName, Kind: kind, Key: offsetKey(group, &id, partition), Want: want}
}

// deletion returns a condition that deletes the offset with this key.
func deletion(key []byte) log.Condition {
	return log.Condition{View: viewName, Kind: kindDelete, Key: slices.Clone(key), Want: []byte{0}}
}

// onGroup returns a condition that makes the group what next is, if it is of generation before; nil
// deletes it.
func onGroup(group string, before uint32, next *State) (log.Condition, error) {
	want := binary.BigEndian.AppendUint32(nil, before)
	if next != nil {
		text, err := json.Marshal(next)
		if err != nil {
			return log.Condition{}, fmt.Errorf("consumer: group %q: %w", group, err)
		}
		want = append(want, text...)
	}
	return log.Condition{View: viewName, Kind: kindGroup, Key: groupKey(group), Want: want}, nil
}

// Carry implements log.Answerer.
func (groupsView) Carry(c *log.Condition, _ int) (string, []log.Record) {
	return groupTopic, []log.Record{{Key: c.Key, Value: value(c)}}
}

// Verdict implements log.Answerer.
func (groupsView) Verdict(c *log.Condition, have []byte) (*log.Duplicate, error) {
	switch c.Kind {
	case kindGroup:
		before, generation := binary.BigEndian.Uint32(c.Want), uint32(0)
		if have != nil {
			var s State
			if err := json.Unmarshal(have, &s); err != nil {
				return nil, fmt.Errorf("consumer: group %q: %w", c.Key[1:], err)
			}
			generation = s.Generation
		}
		if before != generation {
			return nil, fmt.Errorf("%w: group %q is at generation %d, not %d", ErrStale, c.Key[1:], generation, before)
		}
	case kindCommit, kindDone:
		return nil, verdictOnOffset(c, have)
	case kindFree:
		if have != nil {
			if o := decodeOffset(have); o.Generation != decodeOffset(value(c)).Generation {
				return nil, fenced(c, o.Generation)
			}
		}
	}
	return nil, nil
}

func fenced(c *log.Condition, current uint32) error {
	group, _, partition, _ := splitOffsetKey(c.Key) // was checked
	return &FencedError{Group: group, Topic: topicOf(c), Partition: partition, Generation: decodeOffset(value(c)).Generation, Current: current}
}

func verdictOnOffset(c *log.Condition, have []byte) error {
	if have == nil {
		return fenced(c, 0) // the group was deleted
	}
	o, now := decodeOffset(have), decodeOffset(value(c))
	if o.Generation != now.Generation {
		return fenced(c, o.Generation)
	}
	if c.Kind == kindDone {
		if must := int64(binary.BigEndian.Uint64(afterName(c))); o.Offset < must || o.Offset >= now.Offset {
			group, _, partition, _ := splitOffsetKey(c.Key)
			return &UnfinishedError{Group: group, Topic: topicOf(c), Partition: partition, Offset: now.Offset - 1, Committed: o.Offset}
		}
	}
	return nil
}

// After implements log.Answerer.
func (groupsView) After(c *log.Condition, have []byte, _ *log.Sequenced) []byte {
	now := value(c)
	if c.Kind == kindGroup || now == nil {
		return now
	}
	return merge(have, now)
}
