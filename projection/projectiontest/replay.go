// Package projectiontest finds handlers of projections that depend on more than the model and the event.
package projectiontest

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// apart is what lies between two replays, by the clock of the bubble in which they run: no year, month, day of
// the month, weekday, hour, minute, second or part of one is the same.
const apart = 400*24*time.Hour + 3*24*time.Hour + 5*time.Hour + 7*time.Minute + 11*time.Second + 13_017_019*time.Nanosecond

// replays is how many there are: enough for an order by chance to show.
const replays = 8

// CheckReplay fails t when the handler of d makes different models of the same events: of those in l, handled
// several times in memory, at times that differ by years. It finds handlers that use the clock, chance, or the
// order of a map. Effects are not called.
func CheckReplay(t *testing.T, l *log.Log, d *projection.Definition[*projection.Tx]) {
	t.Helper()
	if err := Replay(t, l, d); err != nil {
		t.Error(err)
	}
}

// Replay is CheckReplay with the difference as an error, or what the handler has returned.
func Replay(t *testing.T, l *log.Log, d *projection.Definition[*projection.Tx]) error {
	t.Helper()
	var records []log.Record
	for r, err := range l.Read(log.Oldest, log.ReadOptions{Topics: d.Wants}) {
		if err != nil {
			return err
		}
		records = append(records, r.Clone())
	}
	var failed error
	synctest.Test(t, func(*testing.T) {
		var first *projection.Tx
		for i := range replays {
			time.Sleep(apart)
			tx := projection.NewTx()
			if failed = d.Replay(tx, records); failed != nil {
				return
			}
			if first == nil {
				first = tx
			}
			for diff, err := range projection.Diff(first, tx) {
				if failed = err; err == nil {
					failed = &Error{Projection: d.Name(), Key: diff.Key, First: bytes.Clone(diff.A), Other: bytes.Clone(diff.B), Replay: i}
				}
				return
			}
		}
	})
	return failed
}

// Error says where two models differ that were made of the same events. A value is nil where there is none.
type Error struct {
	Projection   string
	Key          string
	First, Other []byte
	// Replay is the number of the other replay, from 1.
	Replay int
}

func (e *Error) Error() string {
	return fmt.Sprintf("projection %q: the handler depends on more than model and event, such as the clock or the order of a map: "+
		"key %q is %q, and in replay %d %q", e.Projection, e.Key, e.First, e.Replay, e.Other)
}
