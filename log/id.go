package log

import (
	"encoding/hex"
	"fmt"
	"io"
)

// UUID identifies a topic for ever, across deletion and creation anew under the same name.
type UUID [16]byte

// String returns the usual form, as in RFC 9562.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:36], u[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// MarshalText returns String.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText parses what String returns.
func (u *UUID) UnmarshalText(b []byte) error {
	if len(b) == 36 && b[8] == '-' && b[13] == '-' && b[18] == '-' && b[23] == '-' {
		digits := append(append(append(append(append([]byte{}, b[:8]...), b[9:13]...), b[14:18]...), b[19:23]...), b[24:]...)
		if _, err := hex.Decode(u[:], digits); err == nil {
			return nil
		}
	}
	return fmt.Errorf("log: not a UUID: %q", b)
}

// newUUID draws a version 4 UUID.
func newUUID(random io.Reader) (UUID, error) {
	var u UUID
	if _, err := io.ReadFull(random, u[:]); err != nil {
		return u, fmt.Errorf("log: draw an id: %w", err)
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u, nil
}
