package aggregate

import (
	"encoding/json"
	"fmt"
)

// Codec turns events and snapshots into bytes and back. It is called concurrently. The module
// aggregate/codectest has those for Protocol Buffers and CBOR.
type Codec interface {
	// ContentType is the media type of what Marshal returns. It is kept with it, and says by which codec
	// it is read.
	ContentType() string
	// Marshal encodes *v or v: it is given a pointer.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data, which it must not keep, into v, a pointer.
	Unmarshal(data []byte, v any) error
}

// JSON is the default Codec: encoding/json.
type JSON struct{}

// ContentType returns "application/json".
func (JSON) ContentType() string { return "application/json" }

// Marshal is json.Marshal.
func (JSON) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal is json.Unmarshal.
func (JSON) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// codecs are those of a definition, by content type. The first one writes.
type codecs struct {
	writes Codec
	byType map[string]Codec
}

func (c *codecs) add(codec Codec) {
	if c.byType == nil {
		c.byType = map[string]Codec{}
	}
	if c.writes == nil {
		c.writes = codec
	}
	if _, ok := c.byType[codec.ContentType()]; !ok {
		c.byType[codec.ContentType()] = codec
	}
}

// of returns the codec for a content type; "" is that which writes.
func (c *codecs) of(contentType string) (Codec, error) {
	if contentType == "" {
		return c.writes, nil
	}
	if codec, ok := c.byType[contentType]; ok {
		return codec, nil
	}
	return nil, fmt.Errorf("no codec for content type %q", contentType)
}
