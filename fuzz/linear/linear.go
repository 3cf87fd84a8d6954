// Package linear decides whether a concurrent history of appends with an expected version is one that a
// single register with a version could have had (linearizability), with porcupine. It is a module of
// its own, so that the engine does not depend on that.
//
// It is T10 of the harnesses: aggregates call it with their streams, and the test of this package with
// the partitions of a log.
package linear

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// Op is one call on one key, between two moments of the same clock.
type Op struct {
	Key    string
	Client int
	Call   int64 // when it began
	Return int64 // when it ended; Forever when its outcome is not known
	// Append says what kind of call it was: an append that expects a version, or a read of the version.
	Append   bool
	Expected int64
	// Outcome is what an append led to; Version is the actual version that a conflict told or a read saw.
	Outcome Outcome
	Version int64
}

// Outcome is what became of an append.
type Outcome uint8

// The outcomes of an append.
const (
	Done     Outcome = iota // the version rose by one
	Conflict                // the version was another one, and stayed
	Unknown                 // done or not
)

// Forever is the Return of a call that may take effect at any later moment, or never.
const Forever = int64(1<<62 - 1)

// ErrUndecided is wrapped by the error of a history that is too long to decide in time.
var ErrUndecided = fmt.Errorf("linear: not decided in time")

// Check returns nil when the history is linearizable, each key for itself.
func Check(history []Op, patience time.Duration) error {
	narrowed := narrow(history)
	for _, o := range narrowed {
		if o.Call > o.Return {
			return fmt.Errorf("linear: an operation on %q took effect before it began, or after it ended", o.Key)
		}
	}
	return check(narrowed, patience)
}

func check(history []Op, patience time.Duration) error {
	ops := make([]porcupine.Operation, 0, len(history))
	for _, o := range history {
		ops = append(ops, porcupine.Operation{ClientId: o.Client, Input: o, Output: o, Call: o.Call, Return: o.Return})
	}
	switch porcupine.CheckOperationsTimeout(register, ops, patience) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%w: %d operations", ErrUndecided, len(history))
	}
	return fmt.Errorf("linear: no order of the %d operations explains what they returned", len(history))
}

// register is the model: a version per key. An append whose outcome is unknown may have been done, or
// not, so a state is a set of one or two versions; porcupine's nondeterministic models express that.
var register = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var keys []string
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			k := o.Input.(Op).Key
			if byKey[k] == nil {
				keys = append(keys, k)
			}
			byKey[k] = append(byKey[k], o)
		}
		var parts [][]porcupine.Operation
		for _, k := range keys {
			parts = append(parts, byKey[k])
		}
		return parts
	},
	Init: func() []any { return []any{int64(0)} },
	Step: func(state, input, _ any) []any {
		version, o := state.(int64), input.(Op)
		switch {
		case !o.Append && o.Version == version:
			return []any{version}
		case !o.Append:
			return nil
		case o.Outcome == Unknown && o.Expected == version:
			return []any{version, version + 1}
		case o.Outcome == Unknown:
			return []any{version}
		case o.Outcome == Done && o.Expected == version:
			return []any{version + 1}
		case o.Outcome == Conflict && o.Expected != version && o.Version == version:
			return []any{version}
		}
		return nil
	},
}).ToModel()
