package queue

import (
	"encoding/binary"
	"time"

	"github.com/stratalog/strata/log"
)

// Attempt is an attempt that failed.
type Attempt struct {
	Time  time.Time // of the log, when it was given up
	Cause string
}

const (
	// maxHistory bounds how many attempts are remembered, the latest; maxCauseBytes how much of a cause.
	maxHistory    = 32
	maxCauseBytes = 512
)

// addHistory remembers that an attempt of the message has failed. The value is, for each attempt, the
// time in microseconds as a uvarint, and the cause as uvarint length and bytes.
func addHistory(tx *log.ViewTx, id uint64, c *log.AppliedCommit, offset int64, cause string) error {
	key := keyOf(prefixHistory, id, uint64(offset))
	old, err := tx.Get(key)
	if err != nil {
		return err
	}
	attempts := decodeHistory(old)
	attempts = append(attempts, Attempt{c.Time, cause})
	if len(attempts) > maxHistory {
		attempts = attempts[len(attempts)-maxHistory:]
	}
	var b []byte
	for _, a := range attempts {
		b = appendText(binary.AppendUvarint(b, uint64(a.Time.UnixMicro())), a.Cause)
	}
	tx.Set(key, b)
	return nil
}

func decodeHistory(b []byte) (attempts []Attempt) {
	d := decoder{b: b}
	for len(d.b) > 0 {
		a := Attempt{Time: time.UnixMicro(int64(d.uvarint())).UTC(), Cause: d.text()}
		if d.bad {
			break
		}
		attempts = append(attempts, a)
	}
	return attempts
}

// shorten cuts a cause to what is kept of it, at the end of a character.
func shorten(cause string) string {
	if len(cause) <= maxCauseBytes {
		return cause
	}
	n := maxCauseBytes
	for n > 0 && cause[n]&0xc0 == 0x80 {
		n--
	}
	return cause[:n]
}
