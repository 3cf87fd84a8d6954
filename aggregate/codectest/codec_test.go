package codectest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

var ctx = context.Background()

// The events of an account as structs, for CBOR and JSON. In protobuf they are messages that come with the
// library: an owner is a StringValue, an amount an Int64Value, and a note a Struct.
type (
	Opened    struct{ Owner string }
	Deposited struct {
		Amount int64
		At     time.Time
	}
	Noted struct{ Fields map[string]string }
)

type Account struct {
	aggregate.Root
	Owner   string
	Balance int64
	Notes   int
	folded  int // events that were applied to this value; in no snapshot
}

func (a *Account) apply(event any) error {
	a.folded++
	switch e := event.(type) {
	case Opened:
		a.Owner = e.Owner
	case *wrapperspb.StringValue:
		a.Owner = e.Value
	case Deposited:
		a.Balance += e.Amount
	case *wrapperspb.Int64Value:
		a.Balance += e.Value
	case Noted, *structpb.Struct:
		a.Notes++
	default:
		return fmt.Errorf("no %T is known", event)
	}
	return nil
}

// ProtoAccount is an Account whose snapshots are messages.
type ProtoAccount struct{ Account }

func (a *ProtoAccount) apply(event any) error { return a.Account.apply(event) }

func (a *ProtoAccount) Snapshot() ([]byte, error) {
	s, err := structpb.NewStruct(map[string]any{"owner": a.Owner, "balance": float64(a.Balance), "notes": float64(a.Notes)})
	if err != nil {
		return nil, err
	}
	return proto.Marshal(s)
}

func (a *ProtoAccount) Restore(data []byte) error {
	var s structpb.Struct
	if err := proto.Unmarshal(data, &s); err != nil {
		return err
	}
	a.Owner = s.Fields["owner"].GetStringValue()
	a.Balance, a.Notes = int64(s.Fields["balance"].GetNumberValue()), int(s.Fields["notes"].GetNumberValue())
	return nil
}

func newCBOR(t testing.TB) *CBOR {
	c, err := NewCBOR()
	require.NoError(t, err)
	return c
}

func structTypes(r ...aggregate.Registration) *aggregate.Types {
	return aggregate.NewTypes(append(r, aggregate.EventType[Opened]("opened"), aggregate.EventType[Deposited]("deposited"), aggregate.EventType[Noted]("noted"))...)
}

func messageTypes(r ...aggregate.Registration) *aggregate.Types {
	return aggregate.NewTypes(append(r, aggregate.UseCodec(Protobuf{}),
		aggregate.EventType[*wrapperspb.StringValue]("opened", 1), aggregate.EventType[*wrapperspb.Int64Value]("deposited", 1), aggregate.EventType[*structpb.Struct]("noted", 1))...)
}

func newStore(t testing.TB) *aggregate.Store {
	l, err := log.Open("data", log.Options{FS: vfs.NewMem(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	s, err := aggregate.Open(ctx, l, "events", aggregate.Options{})
	require.NoError(t, err)
	return s
}

// spoil overwrites bytes that a codec must not have kept.
func spoil(b []byte) {
	for i := range b {
		b[i] = 0xa5
	}
}

// TestCBORRoundTrip encodes drawn events twice and decodes them: equal bytes, equal events.
func TestCBORRoundTrip(t *testing.T) {
	types := structTypes(aggregate.UseCodec(newCBOR(t)))
	require.NoError(t, types.Validate())
	rapid.Check(t, func(t *rapid.T) {
		for _, v := range []any{
			Opened{rapid.String().Draw(t, "owner")},
			Deposited{rapid.Int64().Draw(t, "amount"), time.Unix(rapid.Int64Range(-1<<31, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()},
			Noted{rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "fields")},
		} {
			e, err := types.Encode(v)
			require.NoError(t, err)
			require.Equal(t, "application/cbor", e.ContentType)
			again, err := types.Encode(v)
			require.NoError(t, err)
			require.True(t, bytes.Equal(e.Data, again.Data))
			got, err := types.Decode(e)
			require.NoError(t, err)
			spoil(e.Data)
			require.Equal(t, v, got)
		}
	})
}

// TestProtobufRoundTrip is that for messages.
func TestProtobufRoundTrip(t *testing.T) {
	types := messageTypes()
	require.NoError(t, types.Validate())
	rapid.Check(t, func(t *rapid.T) {
		fields := map[string]*structpb.Value{}
		for k, v := range rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "fields") {
			fields[k] = structpb.NewStringValue(v)
		}
		for _, v := range []proto.Message{
			wrapperspb.String(rapid.String().Draw(t, "owner")), wrapperspb.Int64(rapid.Int64().Draw(t, "amount")), &structpb.Struct{Fields: fields},
		} {
			e, err := types.Encode(v)
			require.NoError(t, err)
			require.Equal(t, "application/protobuf", e.ContentType)
			again, err := types.Encode(v)
			require.NoError(t, err)
			require.True(t, bytes.Equal(e.Data, again.Data))
			got, err := types.Decode(e)
			require.NoError(t, err)
			spoil(e.Data)
			require.True(t, proto.Equal(v, got.(proto.Message)))
		}
	})
}

// TestUnknownFields shows that a message with fields of a later schema goes through an older program unhurt.
func TestUnknownFields(t *testing.T) {
	types := messageTypes()
	data := append([]byte{0x08, 0x05}, 0x7a, 0x01, 'x') // value 5, and a field 15
	v, err := types.Decode(aggregate.Event{Type: "deposited", Schema: 1, ContentType: "application/protobuf", Data: data})
	require.NoError(t, err)
	require.EqualValues(t, 5, v.(*wrapperspb.Int64Value).Value)
	e, err := types.Encode(v)
	require.NoError(t, err)
	require.Equal(t, data, e.Data)
}

// TestWrongData is refused, and told as an event that does not decode.
func TestWrongData(t *testing.T) {
	c := newCBOR(t)
	_, err := Protobuf{}.Marshal(&Opened{})
	require.ErrorContains(t, err, "is no message")
	require.ErrorContains(t, Protobuf{}.Unmarshal(nil, &Opened{}), "is no message")
	whole, err := c.Marshal(Opened{"x"})
	require.NoError(t, err)
	for _, data := range [][]byte{nil, whole[:len(whole)-1], append(whole, 0), {0xa2, 0x65, 'O', 'w', 'n', 'e', 'r', 0x61, 'a', 0x65, 'O', 'w', 'n', 'e', 'r', 0x61, 'b'}} {
		_, err = structTypes(aggregate.UseCodec(c)).Decode(aggregate.Event{Type: "opened", ContentType: c.ContentType(), Data: data})
		require.ErrorIs(t, err, aggregate.ErrDecode, "%x", data)
	}
	_, err = messageTypes().Decode(aggregate.Event{Type: "deposited", Schema: 1, ContentType: "application/protobuf", Data: []byte{0x08}})
	require.ErrorIs(t, err, aggregate.ErrDecode)
	// A program without the codec says so.
	_, err = structTypes().Decode(aggregate.Event{Type: "opened", ContentType: c.ContentType(), Data: whole})
	require.ErrorContains(t, err, `no codec for content type "application/cbor"`)
}

// TestRepositoryCBOR saves and loads, with a snapshot every fourth event.
func TestRepositoryCBOR(t *testing.T) {
	s := newStore(t)
	r, err := aggregate.NewRepository(s, aggregate.Define("account", structTypes(aggregate.UseCodec(newCBOR(t))), (*Account).apply).Snapshots(1, 4))
	require.NoError(t, err)
	for i := range int64(6) {
		_, err := r.Handle(ctx, "1", func(a *Account) error {
			if a.Version() == 0 {
				return a.Raise(Opened{"ann"})
			}
			return a.Raise(Deposited{Amount: i}, Noted{map[string]string{"b": "2", "a": "1"}})
		})
		require.NoError(t, err)
	}
	a, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, []any{"ann", int64(15), 5, uint64(11)}, []any{a.Owner, a.Balance, a.Notes, a.Version()})
	require.Less(t, a.folded, 5, "the rest is in a snapshot")
	all, err := r.Load(ctx, "1", aggregate.AsOf{Position: 1 << 40}) // without the snapshot
	require.NoError(t, err)
	require.Equal(t, []any{a.Owner, a.Balance, a.Notes, 11}, []any{all.Owner, all.Balance, all.Notes, all.folded})
}

// TestRepositoryProtobuf is that for messages, of which the state is none.
func TestRepositoryProtobuf(t *testing.T) {
	s := newStore(t)
	r, err := aggregate.NewRepository(s, aggregate.Define("account", messageTypes(), (*ProtoAccount).apply).Snapshots(1, 4))
	require.NoError(t, err)
	for i := range int64(6) {
		_, err := r.Handle(ctx, "1", func(a *ProtoAccount) error {
			if a.Version() == 0 {
				return a.Raise(wrapperspb.String("ann"))
			}
			return a.Raise(wrapperspb.Int64(i), &structpb.Struct{})
		})
		require.NoError(t, err)
	}
	a, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, []any{"ann", int64(15), 5, uint64(11)}, []any{a.Owner, a.Balance, a.Notes, a.Version()})
	require.Less(t, a.folded, 5)

	// A state that is no message and encodes itself in no other way does not save, and nothing happens.
	bare, err := aggregate.NewRepository(s, aggregate.Define("bare", messageTypes(), (*Account).apply).Snapshots(1, 1))
	require.NoError(t, err)
	_, err = bare.Handle(ctx, "1", func(a *Account) error { return a.Raise(wrapperspb.String("bob")) })
	require.ErrorContains(t, err, "is no message")
	_, err = bare.Load(ctx, "1")
	require.ErrorIs(t, err, aggregate.ErrNoStream)
}

// TestMovingFromJSON reads a stream that began in JSON: with CBOR the same structs are written otherwise from
// now on; with protobuf an upcast makes messages of the old events, and nothing is rewritten.
func TestMovingFromJSON(t *testing.T) {
	s := newStore(t)
	open := func(types *aggregate.Types) *aggregate.Repository[Account] {
		r, err := aggregate.NewRepository(s, aggregate.Define("account", types, (*Account).apply))
		require.NoError(t, err)
		return r
	}
	add := func(r *aggregate.Repository[Account], event any) {
		_, err := r.Handle(ctx, "1", func(a *Account) error { return a.Raise(event) })
		require.NoError(t, err)
	}
	old := open(structTypes())
	add(old, Opened{"ann"})
	add(old, Deposited{Amount: 3})
	c := newCBOR(t)
	add(open(structTypes(aggregate.UseCodec(c), aggregate.ReadCodec(aggregate.JSON{}))), Deposited{Amount: 4})

	// becomes replaces the data of an event by a message.
	becomes := func(e *aggregate.Event, from any, message func() proto.Message) error {
		unmarshal := json.Unmarshal
		if e.ContentType == c.ContentType() {
			unmarshal = c.Unmarshal
		}
		err := unmarshal(e.Data, from)
		if err != nil {
			return err
		}
		e.Data, err = Protobuf{}.Marshal(message())
		e.ContentType, e.Schema = Protobuf{}.ContentType(), 1
		return err
	}
	now := open(messageTypes(
		aggregate.Upcast("opened", 0, func(e *aggregate.Event) error {
			var o Opened
			return becomes(e, &o, func() proto.Message { return wrapperspb.String(o.Owner) })
		}),
		aggregate.Upcast("deposited", 0, func(e *aggregate.Event) error {
			var d Deposited
			return becomes(e, &d, func() proto.Message { return wrapperspb.Int64(d.Amount) })
		}),
	))
	add(now, wrapperspb.Int64(5))
	a, err := now.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, []any{"ann", int64(12), uint64(4)}, []any{a.Owner, a.Balance, a.Version()})
	var kinds []string
	for e, err := range s.Load(ctx, "account-1") {
		require.NoError(t, err)
		kinds = append(kinds, e.ContentType)
	}
	require.Equal(t, []string{"application/json", "application/json", "application/cbor", "application/protobuf"}, kinds)
}
