package aggregate

import (
	"encoding/hex"
	"fmt"
	"io"
	"sync"
	"time"
)

// ids makes UUIDs of version 7 from the log's source of randomness.
type ids struct {
	mu   sync.Mutex
	from io.Reader // guarded by mu
	buf  [640]byte // guarded by mu; read ahead
	left []byte    // guarded by mu; what of buf is not used
}

const idRandomBytes = 10

// next returns an id of something that happens now.
func (s *ids) next(now time.Time) (string, error) {
	var id [16]byte
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	s.mu.Lock()
	if len(s.left) == 0 {
		if _, err := io.ReadFull(s.from, s.buf[:]); err != nil {
			s.mu.Unlock()
			return "", fmt.Errorf("aggregate: id of an event: %w", err)
		}
		s.left = s.buf[:]
	}
	copy(id[6:], s.left[:idRandomBytes])
	s.left = s.left[idRandomBytes:]
	s.mu.Unlock()
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:]), nil
}
