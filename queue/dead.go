package queue

import (
	"errors"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// errNoDead is returned inside of the package when the queue of the dead letters is not there.
var errNoDead = errors.New("queue: the dead letters are gone")

// bury adds the message to c, for the dead letters.
func (d *dispatcher) bury(c *log.Commit, r *log.Record, attempts int, cause string, history []Attempt) error {
	to := d.dead.Load()
	if to == nil || to.isEnded() {
		return errNoDead
	}
	dead := record.Dead{
		Cause: cause, Attempts: attempts, Topic: d.name, Partition: 0, Offset: r.Offset, Group: d.name, Time: d.dir.l.Now(),
	}
	for _, a := range history {
		dead.History = append(dead.History, record.DeadAttempt{Time: a.Time, Cause: a.Cause})
	}
	letter := log.Record{Key: r.Key, Value: r.Value}
	for {
		letter.Headers = dead.AppendTo(withoutTraits(r.Headers))
		if len(dead.History) == 0 || record.EncodedRecordBytes(&letter) <= d.dir.letterBytes {
			break
		}
		dead.History = dead.History[len(dead.History)/2+len(dead.History)%2:] // the latest attempts say most
	}
	to.stageAnyway(c, letter)
	return nil
}

func (d *dispatcher) isEnded() bool {
	d.dir.mu.RLock()
	defer d.dir.mu.RUnlock()
	return d.dir.byID[d.id] != d
}
