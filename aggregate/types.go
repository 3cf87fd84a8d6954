package aggregate

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

// ErrUnknownType is matched by every *UnknownTypeError.
var ErrUnknownType = errors.New("aggregate: unknown event type")

// UnknownTypeError names a type of event, or a schema version of one, that is not among the Types.
type UnknownTypeError struct {
	Type   string
	Schema int
}

func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("aggregate: unknown event type %q, schema %d", e.Type, e.Schema)
}

// Is makes errors.Is(err, ErrUnknownType) true.
func (e *UnknownTypeError) Is(target error) bool { return target == ErrUnknownType }

// ErrDecode is matched by every *DecodeError.
var ErrDecode = errors.New("aggregate: event does not decode")

// DecodeError says which event does not decode, and why.
type DecodeError struct {
	Stream  string
	Version uint64
	Type    string
	Schema  int
	Cause   error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("aggregate: event %d of stream %q, type %q, schema %d: %v", e.Version, e.Stream, e.Type, e.Schema, e.Cause)
}

// Is makes errors.Is(err, ErrDecode) true.
func (e *DecodeError) Is(target error) bool { return target == ErrDecode }

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Cause }

// Types knows which Go types events are: it is made by NewTypes and never changes. There is no other
// registry than those that a program makes. Its methods may be called concurrently.
type Types struct {
	codecs  codecs
	byName  map[string]*eventType
	byGo    map[reflect.Type]*eventType
	upcasts map[upcastKey]func(*Event) error
	pass    bool
	errs    []error
}

type eventType struct {
	name    string
	schema  int
	goType  reflect.Type
	decode  func(c Codec, data []byte) (any, error)
	pointer func(v any) any // to what v is
}

type upcastKey struct {
	name   string
	schema int
}

// Registration is an argument of NewTypes: what EventType, Upcast, UseCodec, ReadCodec and PassUnknown
// return.
type Registration func(*Types)

// NewTypes returns what the registrations say. What is wrong with them is returned by Validate, and by
// what is made with the Types.
func NewTypes(registrations ...Registration) *Types {
	t := &Types{byName: map[string]*eventType{}, byGo: map[reflect.Type]*eventType{}, upcasts: map[upcastKey]func(*Event) error{}}
	for _, r := range registrations {
		r(t)
	}
	if t.codecs.writes == nil {
		t.codecs.add(JSON{})
	}
	for name, et := range t.byName {
		if t.upcasts[upcastKey{name, et.schema}] != nil {
			t.wrong(fmt.Sprintf("upcast of %q, schema %d", name, et.schema), "that is the present schema version")
		}
	}
	return t
}

// Validate returns all that is wrong with the registrations, each an *InvalidError.
func (t *Types) Validate() error { return errors.Join(t.errs...) }

func (t *Types) wrong(what, reason string) {
	t.errs = append(t.errs, &InvalidError{What: what, Reason: reason})
}

// EventType registers E as the Go type of the events called name, whose present schema version is the one
// given, 0 if there is none. Decoding gives an E: that is a struct, or a pointer to one where it must not be
// copied, as protobuf messages.
func EventType[E any](name string, schema ...int) Registration {
	return func(t *Types) {
		et := &eventType{name: name, goType: reflect.TypeFor[E]()}
		if len(schema) > 0 {
			et.schema = schema[0]
		}
		if et.goType.Kind() == reflect.Pointer {
			et.decode = func(c Codec, data []byte) (any, error) {
				v := reflect.New(et.goType.Elem()).Interface()
				return v, c.Unmarshal(data, v)
			}
			et.pointer = func(v any) any { return v }
		} else {
			et.decode = func(c Codec, data []byte) (any, error) {
				var v E
				err := c.Unmarshal(data, &v)
				return v, err
			}
			et.pointer = func(v any) any {
				e := v.(E)
				return &e
			}
		}
		what := "event type " + strconv.Quote(name)
		if err := (&Event{Type: name, Schema: et.schema}).check(); err != nil {
			t.errs = append(t.errs, err)
		}
		if et.goType.Kind() == reflect.Interface {
			t.wrong(what, "an interface is not the type of an event")
		}
		if t.byName[name] != nil {
			t.wrong(what, "it is registered twice")
		}
		if other := t.byGo[et.goType]; other != nil {
			t.wrong(what, fmt.Sprintf("%v is the type of %q already", et.goType, other.name))
		}
		t.byName[name], t.byGo[et.goType] = et, et
	}
}

// Upcast registers how an event of a type and an old schema version becomes one of a later version: up
// changes Data, and raises Schema or changes Type. It is given a copy of the event, of whose Data it must
// not change the bytes in place. Upcasts follow each other until there is none for what has come of it.
func Upcast(name string, schema int, up func(*Event) error) Registration {
	return func(t *Types) {
		k := upcastKey{name, schema}
		if t.upcasts[k] != nil {
			t.wrong(fmt.Sprintf("upcast of %q, schema %d", name, schema), "it is registered twice")
		}
		t.upcasts[k] = up
	}
}

// UseCodec makes c the codec that encodes. It decodes, too.
func UseCodec(c Codec) Registration {
	return func(t *Types) { t.codecs.writes = c; t.codecs.add(c) }
}

// ReadCodec makes c decode what was encoded by it before.
func ReadCodec(c Codec) Registration {
	return func(t *Types) {
		writes := t.codecs.writes
		if t.codecs.add(c); writes == nil {
			t.codecs.add(JSON{})
			t.codecs.writes = JSON{}
		}
	}
}

// PassUnknown makes those who fold events pass over the ones of types that have no EventType. Otherwise these
// are an *UnknownTypeError, as is always an event of a type that has one in a schema version that no Upcast
// brings to the present one: its facts must not be lost for a forgotten Upcast.
func PassUnknown() Registration { return func(t *Types) { t.pass = true } }

// maxUpcasts bounds a chain of upcasts, which may be a circle.
const maxUpcasts = 1000

// Upcast makes e an event of a version to which no upcast applies any more.
func (t *Types) Upcast(e *Event) error {
	for range maxUpcasts {
		up := t.upcasts[upcastKey{e.Type, e.Schema}]
		if up == nil {
			return nil
		}
		name, schema := e.Type, e.Schema
		if err := up(e); err != nil {
			return err
		}
		if e.Type == name && e.Schema <= schema {
			return fmt.Errorf("the upcast of %q, schema %d, gives schema %d", name, schema, e.Schema)
		}
	}
	return fmt.Errorf("more than %d upcasts: %q, schema %d, comes again", maxUpcasts, e.Type, e.Schema)
}

// Decode returns an event as a value of its Go type, after the upcasts that apply. The error is a
// *DecodeError; for an unknown type it matches ErrUnknownType too.
func (t *Types) Decode(e Event) (any, error) {
	bad := func(cause error) error {
		return &DecodeError{Stream: e.Stream, Version: e.Version, Type: e.Type, Schema: e.Schema, Cause: cause}
	}
	now := e
	if err := t.Upcast(&now); err != nil {
		return nil, bad(err)
	}
	et := t.byName[now.Type]
	if et == nil || et.schema != now.Schema {
		return nil, bad(&UnknownTypeError{Type: now.Type, Schema: now.Schema})
	}
	c, err := t.codecs.of(now.ContentType)
	if err != nil {
		return nil, bad(err)
	}
	v, err := et.decode(c, now.Data)
	if err != nil {
		return nil, bad(err)
	}
	return v, nil
}

// Passes reports whether err, of Decode, is one that PassUnknown asks to pass over.
func (t *Types) Passes(err error) bool {
	var unknown *UnknownTypeError
	return t.pass && errors.As(err, &unknown) && t.byName[unknown.Type] == nil
}

// Encode returns an event with the type, schema, content type and data of v, whose Go type, or that of
// which it is a pointer, is registered. The error is an *InvalidError, or the codec's.
func (t *Types) Encode(v any) (Event, error) {
	et := t.byGo[reflect.TypeOf(v)]
	p := v
	if et != nil {
		p = et.pointer(v)
	} else if rt := reflect.TypeOf(v); rt != nil && rt.Kind() == reflect.Pointer {
		if et = t.byGo[rt.Elem()]; et != nil && reflect.ValueOf(v).IsNil() {
			et = nil
		}
	}
	if et == nil {
		return Event{}, &InvalidError{What: fmt.Sprintf("event of Go type %T", v), Reason: "the type is not registered"}
	}
	data, err := t.codecs.writes.Marshal(p)
	if err != nil {
		return Event{}, fmt.Errorf("aggregate: event of type %q: %w", et.name, err)
	}
	return Event{Type: et.name, Schema: et.schema, ContentType: t.codecs.writes.ContentType(), Data: data}, nil
}
