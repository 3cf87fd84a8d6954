package timer

import (
	"encoding/binary"
	"time"

	"github.com/stratalog/strata/log"
)

const (
	// The Key of each is owner | 0 | id.
	conditionSet    = 1 // Want: be64 due | payload. Holds always.
	conditionCancel = 2 // Holds always.
	conditionFire   = 3 // Want: be64 due | be64 position. Holds when that is what is set.
)

// Set sets a timer, in place of one that the owner has set under the same id. It always holds. Due is
// rounded up to a microsecond; a time before 1970 is one that has come. payload is copied.
func Set(owner, id string, due time.Time, payload []byte) log.Condition {
	want := make([]byte, 0, 8+len(payload))
	want = binary.BigEndian.AppendUint64(want, encodeDue(due))
	return condition(conditionSet, owner, id, append(want, payload...))
}

// Cancel removes the timer that the owner has set under id. It always holds, also when there is none.
// To cancel only what is set, use Fire.
func Cancel(owner, id string) log.Condition { return condition(conditionCancel, owner, id, nil) }

// Fire removes t. It holds while t, this very one, is set; otherwise the commit gets a *NotSetError.
// Whether t is due it does not ask.
func Fire(t Timer) log.Condition {
	return condition(conditionFire, t.Owner, t.ID, encodeSet(encodeDue(t.Due), t.Position))
}

func condition(kind uint8, owner, id string, want []byte) log.Condition {
	return log.Condition{View: viewName, Kind: kind, Key: encodeName(owner, id), Want: want}
}

// encodeDue returns microseconds since 1970.
func encodeDue(due time.Time) uint64 {
	us := due.UnixMicro()
	if due.After(time.UnixMicro(us)) {
		us++
	}
	return uint64(max(0, us))
}

func decodeDue(us uint64) time.Time { return time.UnixMicro(int64(us)).UTC() }

// encodeSet returns the value of a timer's key under 'i'.
func encodeSet(due, position uint64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, setBytes), due)
	return binary.BigEndian.AppendUint64(b, position)
}

func encodeName(owner, id string) []byte {
	b := append(make([]byte, 0, len(owner)+1+len(id)), owner...)
	return append(append(b, 0), id...)
}
