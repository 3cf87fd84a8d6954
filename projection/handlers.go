package projection

import (
	"reflect"

	"github.com/stratalog/strata/aggregate"
)

// Handlers brings events to functions by the Go types that they are decoded to. T is the transaction. It is
// filled by On, and must not be changed once it is used.
type Handlers[T any] struct {
	types *aggregate.Types
	by    map[reflect.Type]func(tx T, e *Event, v any) error
}

// NewHandlers returns Handlers for events of these types. Upcasts apply. Events of a type that none of them is
// for are passed over; ones that types does not know are an *aggregate.UnknownTypeError, unless it passes them.
func NewHandlers[T any](types *aggregate.Types) *Handlers[T] {
	return &Handlers[T]{types: types, by: map[reflect.Type]func(T, *Event, any) error{}}
}

// On makes f the function for events of the Go type V.
func On[T, V any](h *Handlers[T], f func(tx T, e *Event, v V) error) {
	h.by[reflect.TypeFor[V]()] = func(tx T, e *Event, v any) error { return f(tx, e, v.(V)) }
}

// Handle is the handler for Define.
func (h *Handlers[T]) Handle(tx T, e *Event) error {
	v, err := h.types.Decode(e.Event)
	if err != nil {
		if h.types.Passes(err) {
			return nil
		}
		return err
	}
	if f := h.by[reflect.TypeOf(v)]; f != nil {
		return f(tx, e, v)
	}
	return nil
}
