package aggregate_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
)

// gobs is a Codec other than JSON.
type gobs struct{}

func (gobs) ContentType() string { return "application/x-gob" }

func (gobs) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobs) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

func TestTypesRoundTrip(t *testing.T) {
	for name, types := range map[string]*aggregate.Types{
		"json":    aggregate.NewTypes(aggregate.EventType[Withdrawn]("w", 2), aggregate.EventType[*Deposited]("d")),
		"gob":     aggregate.NewTypes(aggregate.UseCodec(gobs{}), aggregate.EventType[Withdrawn]("w", 2), aggregate.EventType[*Deposited]("d")),
		"another": aggregate.NewTypes(aggregate.ReadCodec(gobs{}), aggregate.EventType[Withdrawn]("w", 2), aggregate.EventType[*Deposited]("d")),
	} {
		require.NoError(t, types.Validate())
		for _, v := range []any{Withdrawn{Amount: 3, Reason: "r"}, &Withdrawn{Amount: 4}, &Deposited{5}} {
			e, err := types.Encode(v)
			require.NoError(t, err, name)
			if name == "gob" {
				require.Equal(t, "application/x-gob", e.ContentType)
			} else {
				require.Equal(t, "application/json", e.ContentType)
			}
			got, err := types.Decode(e)
			require.NoError(t, err, name)
			if w, ok := v.(*Withdrawn); ok {
				v = *w
			}
			require.Equal(t, v, got, name)
		}
		for _, v := range []any{nil, 7, Closed{}, (*Withdrawn)(nil)} {
			_, err := types.Encode(v)
			require.ErrorIs(t, err, aggregate.ErrInvalid, name)
		}
	}
	// What was written by an old codec is read beside the new one.
	old := aggregate.NewTypes(aggregate.UseCodec(gobs{}), aggregate.EventType[Opened]("o"))
	e, err := old.Encode(Opened{"x"})
	require.NoError(t, err)
	now := aggregate.NewTypes(aggregate.ReadCodec(gobs{}), aggregate.EventType[Opened]("o"))
	v, err := now.Decode(e)
	require.NoError(t, err)
	require.Equal(t, Opened{"x"}, v)
	_, err = aggregate.NewTypes(aggregate.EventType[Opened]("o")).Decode(e)
	require.ErrorIs(t, err, aggregate.ErrDecode)
	e.Data = []byte{1}
	_, err = now.Decode(e)
	var bad *aggregate.DecodeError
	require.ErrorAs(t, err, &bad)
}

func TestUpcasts(t *testing.T) {
	field := func(e *aggregate.Event, change func(map[string]any)) error {
		var m map[string]any
		if err := json.Unmarshal(e.Data, &m); err != nil {
			return err
		}
		change(m)
		data, err := json.Marshal(m)
		e.Data, e.Schema = data, e.Schema+1
		return err
	}
	boom := errors.New("boom")
	types := aggregate.NewTypes(
		aggregate.EventType[Withdrawn]("withdrawn", 2),
		aggregate.EventType[Closed]("closed"),
		aggregate.Upcast("taken", 0, func(e *aggregate.Event) error { e.Type = "withdrawn"; return nil }), // renamed
		aggregate.Upcast("withdrawn", 0, func(e *aggregate.Event) error {
			return field(e, func(m map[string]any) { m["Amount"] = m["Cents"].(float64) / 100 })
		}),
		aggregate.Upcast("withdrawn", 1, func(e *aggregate.Event) error {
			return field(e, func(m map[string]any) { m["Reason"] = "unknown" })
		}),
		aggregate.Upcast("stuck", 3, func(e *aggregate.Event) error { return nil }),
		aggregate.Upcast("ping", 0, func(e *aggregate.Event) error { e.Type = "pong"; return nil }),
		aggregate.Upcast("pong", 0, func(e *aggregate.Event) error { e.Type = "ping"; return nil }),
		aggregate.Upcast("broken", 0, func(e *aggregate.Event) error { return boom }),
	)
	require.NoError(t, types.Validate())
	require.ErrorContains(t, aggregate.NewTypes(
		aggregate.Upcast("closed", 0, func(*aggregate.Event) error { return nil }), aggregate.EventType[Closed]("closed"),
	).Validate(), "present schema version")
	data := []byte(`{"Cents":1200}`)
	for _, name := range []string{"taken", "withdrawn"} {
		v, err := types.Decode(aggregate.Event{Type: name, Data: data})
		require.NoError(t, err)
		require.Equal(t, Withdrawn{Amount: 12, Reason: "unknown"}, v)
	}
	require.Equal(t, `{"Cents":1200}`, string(data))
	v, err := types.Decode(aggregate.Event{Type: "withdrawn", Schema: 2, Data: []byte(`{"Amount":1}`)})
	require.NoError(t, err)
	require.Equal(t, Withdrawn{Amount: 1}, v)

	for _, tc := range []struct {
		e       aggregate.Event
		unknown bool
		text    string
	}{
		{aggregate.Event{Type: "withdrawn", Schema: 3}, true, `unknown event type "withdrawn", schema 3`},
		{aggregate.Event{Type: "none"}, true, `unknown event type "none"`},
		{aggregate.Event{Type: "closed", Schema: 1}, true, `unknown event type "closed", schema 1`},
		{aggregate.Event{Type: "stuck", Schema: 3}, false, "gives schema 3"},
		{aggregate.Event{Type: "ping"}, false, "comes again"},
		{aggregate.Event{Type: "broken"}, false, "boom"},
		{aggregate.Event{Type: "closed", ContentType: "text/plain"}, false, "no codec"},
		{aggregate.Event{Type: "closed", Data: []byte("{")}, false, "unexpected end"},
	} {
		tc.e.Stream, tc.e.Version = "s", 7
		_, err := types.Decode(tc.e)
		var bad *aggregate.DecodeError
		require.ErrorAs(t, err, &bad, tc.text)
		require.Equal(t, []any{"s", uint64(7), tc.e.Type, tc.e.Schema}, []any{bad.Stream, bad.Version, bad.Type, bad.Schema})
		require.Equal(t, tc.unknown, errors.Is(err, aggregate.ErrUnknownType), tc.text)
		require.True(t, strings.Contains(err.Error(), tc.text), err)
		require.False(t, types.Passes(err))
	}
}

func TestUnknownEvents(t *testing.T) {
	s, _ := newStore(t)
	r := accountsOf(t, s, accountType)
	deposit(t, r, "1", 5)
	_, err := s.Append(ctx, "account-1", aggregate.At(2), aggregate.Event{Type: "account.frozen"})
	require.NoError(t, err)
	_, err = r.Load(ctx, "1")
	var unknown *aggregate.UnknownTypeError
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, "account.frozen", unknown.Type)
	_, err = r.Handle(ctx, "1", func(*Account) error { return nil })
	require.ErrorIs(t, err, aggregate.ErrUnknownType)

	lenient := aggregate.NewTypes(
		aggregate.PassUnknown(), aggregate.EventType[Opened]("account.opened"), aggregate.EventType[Deposited]("account.deposited"),
	)
	passing := accountsOf(t, s, aggregate.Define("account", lenient, (*Account).apply))
	a, err := passing.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, 5, a.Balance)
	require.EqualValues(t, 3, a.Version())
	deposit(t, passing, "1", 2)
	a, err = passing.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, 7, a.Balance)

	// A known type in a schema version that nothing brings to the present one is not passed over.
	_, err = s.Append(ctx, "account-1", aggregate.Exists, aggregate.Event{Type: "account.deposited", Schema: 1, Data: []byte(`{}`)})
	require.NoError(t, err)
	_, err = passing.Load(ctx, "1")
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, aggregate.UnknownTypeError{Type: "account.deposited", Schema: 1}, *unknown)
}
