package timer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stratalog/strata/log"
)

const (
	viewName = log.SystemPrefix + "timers"
	setBytes = 16

	opSet    = 's'
	opCancel = 'c'
	opFire   = 'f'
)

// view knows which timers are set. Its formats are in the package's doc.
type view struct{}

func (view) Name() string     { return viewName }
func (view) Topics() []string { return []string{viewName} }

var errRecord = errors.New("timer: record does not decode")

func (view) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	for i := range c.Batches {
		if c.Batches[i].Topic != viewName {
			continue
		}
		for r, err := range c.Batches[i].Records() {
			if err != nil {
				return err
			}
			if err := apply(tx, r.Key, r.Value, c.Position); err != nil {
				return fmt.Errorf("%w at position %d", err, r.Position)
			}
		}
	}
	return nil
}

// apply folds in one record of the commit at position.
func apply(tx *log.ViewTx, name, value []byte, position uint64) error {
	owner, id, ok := bytes.Cut(name, []byte{0})
	if !ok || len(value) == 0 {
		return errRecord
	}
	idKey := append(append(make([]byte, 0, 1+len(name)), 'i'), name...)
	old, err := tx.Get(idKey)
	if err != nil {
		return err
	}
	change := int64(0)
	if len(old) == setBytes {
		tx.Delete(dueKey(owner, old, id))
		change--
	}
	switch op := value[0]; {
	case op == opSet && len(value) >= 9:
		set := encodeSet(binary.BigEndian.Uint64(value[1:]), position)
		tx.Set(idKey, set)
		tx.Set(dueKey(owner, set, id), value[9:])
		change++
	case (op == opCancel || op == opFire) && len(value) == 1:
		if old != nil {
			tx.Delete(idKey)
		}
	default:
		return errRecord
	}
	return addCount(tx, owner, change)
}

func addCount(tx *log.ViewTx, owner []byte, change int64) error {
	if change == 0 {
		return nil
	}
	key := countKey(owner)
	value, err := tx.Get(key)
	if err != nil {
		return err
	}
	n := decodeCount(value) + change
	if n == 0 {
		tx.Delete(key)
		return nil
	}
	tx.Set(key, binary.BigEndian.AppendUint64(nil, uint64(n)))
	return nil
}

func countKey(owner []byte) []byte { return append([]byte{'n'}, owner...) }

func decodeCount(value []byte) int64 {
	if len(value) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(value))
}

// dueKey returns the key under 'd' of a timer; set is the value under 'i', or the first bytes of it.
func dueKey(owner, set, id []byte) []byte {
	b := make([]byte, 0, 2+len(owner)+len(set)+len(id))
	b = append(append(b, 'd'), owner...)
	b = append(append(b, 0), set...)
	return append(b, id...)
}

// decodeTimer decodes a key under 'd' and its value. The payload is still the value.
func decodeTimer(key, value []byte) (t Timer, ok bool) {
	i := bytes.IndexByte(key, 0)
	if i < 1 || key[0] != 'd' || len(key) <= i+1+setBytes {
		return t, false
	}
	set := key[i+1:]
	return Timer{
		Owner: string(key[1:i]), ID: string(set[setBytes:]), Payload: value,
		Due: decodeDue(binary.BigEndian.Uint64(set)), Position: binary.BigEndian.Uint64(set[8:]),
	}, true
}

func (view) Key(c *log.Condition) ([]byte, error) {
	owner, id, _ := bytes.Cut(c.Key, []byte{0})
	if err := check(string(owner), string(id)); err != nil {
		return nil, err
	}
	switch {
	case c.Kind == conditionSet && len(c.Want) > 8+MaxPayloadBytes:
		return nil, &InvalidError{
			Owner: string(owner), ID: string(id),
			Reason: fmt.Sprintf("a payload of %d bytes is above %d", len(c.Want)-8, MaxPayloadBytes),
		}
	case c.Kind == conditionSet && len(c.Want) >= 8, c.Kind == conditionCancel,
		c.Kind == conditionFire && len(c.Want) == setBytes:
		return append([]byte{'i'}, c.Key...), nil
	}
	return nil, log.ErrCondition
}

func (view) Carry(c *log.Condition, _ int) (string, []log.Record) {
	value := []byte{opFire}
	switch c.Kind {
	case conditionSet:
		value = append(append(make([]byte, 0, 1+len(c.Want)), opSet), c.Want...)
	case conditionCancel:
		value[0] = opCancel
	}
	return viewName, []log.Record{{Key: c.Key, Value: value}}
}

func (view) Verdict(c *log.Condition, value []byte) (*log.Duplicate, error) {
	if c.Kind != conditionFire || bytes.Equal(value, c.Want) {
		return nil, nil
	}
	owner, id, _ := bytes.Cut(c.Key, []byte{0})
	e := &NotSetError{Owner: string(owner), ID: string(id), Due: decodeDue(binary.BigEndian.Uint64(c.Want))}
	if len(value) == setBytes {
		e.Now = decodeDue(binary.BigEndian.Uint64(value))
	}
	return nil, e
}

func (view) After(c *log.Condition, _ []byte, s *log.Sequenced) []byte {
	if c.Kind == conditionSet {
		return encodeSet(binary.BigEndian.Uint64(c.Want), s.Position)
	}
	return nil
}
