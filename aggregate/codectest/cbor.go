package codectest

import (
	"github.com/fxamacker/cbor/v2"

	"github.com/stratalog/strata/aggregate"
)

// CBOR is a Codec: events are structs, as with JSON. Equal values give equal bytes (the core deterministic
// encoding of RFC 8949, section 4.2.1); times keep their nanoseconds, and come back in UTC or as an offset. It is
// made by NewCBOR, and may be used concurrently.
type CBOR struct {
	encode cbor.EncMode
	decode cbor.DecMode
}

var _ aggregate.Codec = (*CBOR)(nil)

// NewCBOR returns a CBOR codec.
func NewCBOR() (*CBOR, error) {
	o := cbor.CoreDetEncOptions()
	o.Time = cbor.TimeRFC3339Nano
	encode, err := o.EncMode()
	if err != nil {
		return nil, err
	}
	// Of a key that comes twice it is not clear what it means.
	decode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF}.DecMode()
	if err != nil {
		return nil, err
	}
	return &CBOR{encode, decode}, nil
}

// ContentType returns "application/cbor".
func (*CBOR) ContentType() string { return "application/cbor" }

// Marshal encodes v.
func (c *CBOR) Marshal(v any) ([]byte, error) { return c.encode.Marshal(v) }

// Unmarshal decodes data, which must have nothing behind the value, into v.
func (c *CBOR) Unmarshal(data []byte, v any) error { return c.decode.Unmarshal(data, v) }
