package codectest

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/stratalog/strata/aggregate"
)

// Protobuf is a Codec: events are pointers to generated messages, EventType[*pb.Deposited]. An aggregate with
// snapshots is a Snapshotter, since its state is no message. It may be used concurrently.
//
// Bytes are the same for equal messages within one build of a program, which is all that the library promises.
// Fields that a reader does not know are kept in the message, so adding fields needs no upcast.
type Protobuf struct{}

var _ aggregate.Codec = Protobuf{}

// ContentType returns "application/protobuf".
func (Protobuf) ContentType() string { return "application/protobuf" }

// Marshal encodes v, which must be a message.
func (Protobuf) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("codectest: %T is no message", v)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

// Unmarshal decodes data into v, which must be a message.
func (Protobuf) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("codectest: %T is no message", v)
	}
	return proto.Unmarshal(data, m)
}
