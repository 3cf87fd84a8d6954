package saga

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stratalog/strata/log"
)

const viewName = log.SystemPrefix + "sagas"

// The kinds of conditions. Key is saga | 0 | id. Want is a head and the events, each behind its length, u32.
const (
	kindAt   = 1 // be64 version that the instance has; 0 when it is to begin
	kindRun  = 2 // be64 epoch that it has | be64 epoch that it gets
	kindTell = 3 // holds when there is an instance
)

// View returns the view of all sagas, for reading them on a log that was opened read-only.
func View() log.View { return view{} }

// view folds events into instances. Its formats are in the package's doc.
type view struct{}

func (view) Name() string     { return viewName }
func (view) Topics() []string { return []string{viewName} }

func (view) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	a := applying{tx: tx, at: c.Time.UTC()}
	for i := range c.Batches {
		if c.Batches[i].Topic != viewName {
			continue
		}
		for r, err := range c.Batches[i].Records() {
			if err != nil {
				return err
			}
			if err := a.event(r.Key, r.Value, r.Offset); err != nil {
				return fmt.Errorf("%w at position %d", err, r.Position)
			}
		}
	}
	return a.flush()
}

// applying is one commit being folded in. Events of an instance lie together.
type applying struct {
	tx    *log.ViewTx
	at    time.Time
	key   []byte
	in    Instance
	was   Status
	ready bool
}

var errRecord = errors.New("saga: record does not decode")

func (a *applying) event(key, value []byte, offset int64) error {
	if !bytes.Equal(key, a.key) {
		if err := a.flush(); err != nil {
			return err
		}
		if err := a.load(key); err != nil {
			return err
		}
	}
	var e Event
	if err := json.Unmarshal(value, &e); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	if err := a.in.apply(&e, a.at); err != nil {
		return err
	}
	a.tx.Set(historyKey(key, a.in.Version), binary.BigEndian.AppendUint64(nil, uint64(offset)))
	return nil
}

func (a *applying) load(key []byte) error {
	name, id, ok := bytes.Cut(key, []byte{0})
	if !ok {
		return errRecord
	}
	a.key = bytes.Clone(key)
	a.in = Instance{Saga: string(name), ID: string(id)}
	value, err := a.tx.Get(prefixed('i', key))
	if err != nil {
		return err
	}
	if value != nil {
		if err := json.Unmarshal(value, &a.in); err != nil {
			return fmt.Errorf("%w: %w", errRecord, err)
		}
	}
	a.was, a.ready = a.in.Status, value != nil && a.in.ready()
	return nil
}

func (a *applying) flush() error {
	if a.key == nil {
		return nil
	}
	text, err := json.Marshal(&a.in)
	if err != nil {
		return err
	}
	a.tx.Set(prefixed('i', a.key), text)
	a.tx.Set(prefixed('v', a.key), encodeHead(a.in.Version, a.in.Epoch))
	if now := a.in.ready(); now != a.ready {
		if now {
			a.tx.Set(prefixed('r', a.key), nil)
		} else {
			a.tx.Delete(prefixed('r', a.key))
		}
	}
	if a.in.Status != a.was {
		if err := a.count(a.was, -1); err != nil {
			return err
		}
		if err := a.count(a.in.Status, 1); err != nil {
			return err
		}
	}
	a.key = nil
	return nil
}

// count notes that the instance got a status, or lost it.
func (a *applying) count(s Status, change int64) error {
	if s == 0 {
		return nil
	}
	key := statusKey(a.in.Saga, s, a.in.ID)
	if change > 0 {
		a.tx.Set(key, nil)
	} else {
		a.tx.Delete(key)
	}
	key = countKey(a.in.Saga, s)
	value, err := a.tx.Get(key)
	if err != nil {
		return err
	}
	n := change
	if len(value) == 8 {
		n += int64(binary.BigEndian.Uint64(value))
	}
	a.tx.Set(key, binary.BigEndian.AppendUint64(nil, uint64(n)))
	return nil
}

func prefixed(prefix byte, key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), prefix), key...)
}

func instanceKey(saga, id string) []byte {
	return append(append(append(make([]byte, 0, len(saga)+1+len(id)), saga...), 0), id...)
}

func historyKey(key []byte, version uint64) []byte {
	return binary.BigEndian.AppendUint64(append(prefixed('h', key), 0), version)
}

func statusKey(saga string, s Status, id string) []byte {
	return append(append(append(append([]byte{'s'}, saga...), 0), byte(s)), id...)
}

func countKey(saga string, s Status) []byte {
	return append(append(append([]byte{'n'}, saga...), 0), byte(s))
}

const headBytes = 16

func encodeHead(version, epoch uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, headBytes), version), epoch)
}

func decodeHead(b []byte) (version, epoch uint64) {
	if len(b) != headBytes {
		return 0, 0
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
}

// condition returns one that appends events to an instance.
func condition(kind uint8, key []byte, head []byte, events []Event) (log.Condition, error) {
	want := bytes.Clone(head)
	for i := range events {
		text, err := json.Marshal(&events[i])
		if err != nil {
			return log.Condition{}, err
		}
		want = append(binary.BigEndian.AppendUint32(want, uint32(len(text))), text...)
	}
	return log.Condition{View: viewName, Kind: kind, Key: key, Want: want}, nil
}

func at(key []byte, version uint64, events ...Event) (log.Condition, error) {
	return condition(kindAt, key, binary.BigEndian.AppendUint64(nil, version), events)
}

func run(key []byte, before, epoch uint64, events []Event) (log.Condition, error) {
	return condition(kindRun, key, encodeHead(before, epoch), events)
}

func tell(key []byte, events ...Event) (log.Condition, error) {
	return condition(kindTell, key, nil, events)
}

func headOf(c *log.Condition) int {
	switch c.Kind {
	case kindAt:
		return 8
	case kindRun:
		return headBytes
	}
	return 0
}

// texts returns the encoded events of a condition, or false when they do not decode.
func texts(c *log.Condition) (list [][]byte, ok bool) {
	head := headOf(c)
	if len(c.Want) < head {
		return nil, false
	}
	for rest := c.Want[head:]; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, false
		}
		n := uint64(binary.BigEndian.Uint32(rest))
		if rest = rest[4:]; uint64(len(rest)) < n {
			return nil, false
		}
		list, rest = append(list, rest[:n]), rest[n:]
	}
	return list, true
}

func (view) Key(c *log.Condition) ([]byte, error) {
	saga, id, found := bytes.Cut(c.Key, []byte{0})
	if c.Kind < kindAt || c.Kind > kindTell || !found {
		return nil, log.ErrCondition
	}
	if err := check(string(saga), string(id)); err != nil {
		return nil, err
	}
	if list, ok := texts(c); !ok || len(list) == 0 {
		return nil, log.ErrCondition
	}
	return prefixed('v', c.Key), nil
}

func (view) Carry(c *log.Condition, _ int) (string, []log.Record) {
	list, _ := texts(c) // was checked
	records := make([]log.Record, len(list))
	for i, text := range list {
		records[i] = log.Record{Key: c.Key, Value: text}
	}
	return viewName, records
}

func (view) Verdict(c *log.Condition, value []byte) (*log.Duplicate, error) {
	saga, id, _ := bytes.Cut(c.Key, []byte{0})
	version, epoch := decodeHead(value)
	if c.Kind != kindAt && value == nil {
		return nil, &InstanceError{string(saga), string(id)}
	}
	switch c.Kind {
	case kindAt:
		if want := binary.BigEndian.Uint64(c.Want); want != version {
			return nil, &FencedError{string(saga), string(id), "version", want, version}
		}
	case kindRun:
		if want := binary.BigEndian.Uint64(c.Want); want != epoch {
			return nil, &FencedError{string(saga), string(id), "epoch", want, epoch}
		}
	}
	return nil, nil
}

func (view) After(c *log.Condition, value []byte, _ *log.Sequenced) []byte {
	version, epoch := decodeHead(value)
	list, _ := texts(c)
	if c.Kind == kindRun {
		epoch = binary.BigEndian.Uint64(c.Want[8:])
	}
	return encodeHead(version+uint64(len(list)), epoch)
}
