package pubsub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stratalog/strata/log"
)

const (
	viewName = log.SystemPrefix + "exchanges"

	// Key is a name, Want the options as JSON. Holds when there is no such exchange; it is a duplicate
	// when it is there with those options.
	conditionDeclare = 1
	// Key is a name. Holds when the exchange is there.
	conditionDelete = 2
	// Key is a name | 0 | binding as JSON. Holds when that is not there, and is a duplicate otherwise.
	conditionBind = 3
	// Key is the same. Holds when that is there.
	conditionUnbind = 4
)

// view knows exchanges and bindings. Its formats are in the package's doc.
type view struct{}

// change is the value of a record.
type change struct {
	Op       string           `json:"op"`
	Exchange *ExchangeOptions `json:"exchange,omitempty"`
	Binding  json.RawMessage  `json:"binding,omitempty"`
}

func (view) Name() string     { return viewName }
func (view) Topics() []string { return []string{viewName} }

func (view) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	for i := range c.Batches {
		if c.Batches[i].Topic != viewName {
			continue
		}
		for r, err := range c.Batches[i].Records() {
			if err != nil {
				return err
			}
			if err := apply(tx, r.Key, r.Value); err != nil {
				return fmt.Errorf("pubsub: record at position %d: %w", r.Position, err)
			}
		}
	}
	return nil
}

func apply(tx *log.ViewTx, name, value []byte) error {
	var ch change
	if err := json.Unmarshal(value, &ch); err != nil {
		return err
	}
	switch ch.Op {
	case "declare":
		options, err := json.Marshal(ch.Exchange)
		if err != nil {
			return err
		}
		tx.Set(viewKey('x', name), options)
	case "delete":
		tx.Delete(viewKey('x', name))
	case "bind":
		tx.Set(viewKey('b', bindingName(name, ch.Binding)), bound)
	case "unbind":
		tx.Delete(viewKey('b', bindingName(name, ch.Binding)))
	default:
		return errors.New("unknown change " + ch.Op)
	}
	return nil
}

// bound is the value of each binding.
var bound = []byte{1}

func viewKey(kind byte, name []byte) []byte {
	return append(append(make([]byte, 0, 1+len(name)), kind), name...)
}

func bindingName(exchange, binding []byte) []byte {
	b := append(make([]byte, 0, len(exchange)+1+len(binding)), exchange...)
	return append(append(b, 0), binding...)
}

func (view) Key(c *log.Condition) ([]byte, error) {
	switch c.Kind {
	case conditionDeclare, conditionDelete:
		return viewKey('x', c.Key), nil
	case conditionBind, conditionUnbind:
		return viewKey('b', c.Key), nil
	}
	return nil, log.ErrCondition
}

func (view) Carry(c *log.Condition, _ int) (string, []log.Record) {
	name, binding, _ := bytes.Cut(c.Key, []byte{0})
	var ch any
	switch c.Kind {
	case conditionDeclare:
		ch = struct {
			Op       string          `json:"op"`
			Exchange json.RawMessage `json:"exchange"`
		}{"declare", c.Want}
	case conditionDelete:
		ch = change{Op: "delete"}
	case conditionBind:
		ch = change{Op: "bind", Binding: binding}
	case conditionUnbind:
		ch = change{Op: "unbind", Binding: binding}
	}
	value, err := json.Marshal(ch)
	if err != nil {
		// The bytes are not JSON: a condition that is not of this package. The view would refuse it.
		panic("pubsub: condition does not encode: " + err.Error())
	}
	return viewName, []log.Record{{Key: name, Value: value}}
}

func (view) Verdict(c *log.Condition, value []byte) (*log.Duplicate, error) {
	switch c.Kind {
	case conditionDeclare:
		if value == nil {
			return nil, nil
		}
		if bytes.Equal(value, c.Want) {
			return &log.Duplicate{}, nil
		}
		return nil, mismatch(string(c.Key), value, c.Want)
	case conditionDelete:
		if value == nil {
			return nil, &ExchangeError{Exchange: string(c.Key)}
		}
	case conditionBind:
		if value != nil {
			return &log.Duplicate{}, nil
		}
	case conditionUnbind:
		if value == nil {
			return nil, ErrNotBound
		}
	}
	return nil, nil
}

// mismatch says in what the options differ.
func mismatch(name string, have, want []byte) error {
	var h, w ExchangeOptions
	if err := errors.Join(json.Unmarshal(have, &h), json.Unmarshal(want, &w)); err != nil {
		return err
	}
	if h.Kind != w.Kind {
		return &log.MismatchError{Name: name, Field: "kind", Have: string(h.Kind), Want: string(w.Kind)}
	}
	return &log.MismatchError{Name: name, Field: "alternate", Have: h.Alternate, Want: w.Alternate}
}

func (view) After(c *log.Condition, _ []byte, _ *log.Sequenced) []byte {
	switch c.Kind {
	case conditionDeclare:
		return c.Want
	case conditionBind:
		return bound
	}
	return nil
}
