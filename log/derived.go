package log

import (
	"context"
	"fmt"

	"github.com/stratalog/strata/segment"
)

// Checkpoint says how far something that is kept outside of the log was derived from it. It is stored in
// one transaction with what was derived; Log.CheckAhead compares it when that is opened again.
type Checkpoint struct {
	// Log is the id of the log.
	Log UUID
	// Position is that of the first record that is not in what was derived.
	Position uint64
	// Body is the check of the last commit with records before Position.
	Body uint64
}

// ID returns what identifies the log for ever: it is drawn when the log is created.
func (l *Log) ID() UUID { return UUID(l.id) }

// Checkpoint returns the checkpoint at a position, which is at most that where readers end. It reads the
// commit before.
func (l *Log) Checkpoint(position uint64) (Checkpoint, error) {
	if end := l.Position(); position > end {
		return Checkpoint{}, fmt.Errorf("%w: a checkpoint at position %d, and readers see up to %d", ErrOptions, position, end)
	}
	if err := l.readable(); err != nil {
		return Checkpoint{}, err
	}
	c, err := l.checkpointAt(position)
	return Checkpoint{Log: UUID(c.log), Position: c.position, Body: c.body}, err
}

// CheckAhead returns a *StateAheadError when c was not taken from this log as it is: what it stands for
// was derived from another log, from more records than there are, or from others.
func (l *Log) CheckAhead(c Checkpoint) error {
	if err := l.readable(); err != nil {
		return err
	}
	return l.checkAhead(checkpoint{log: segment.LogID(c.Log), position: c.Position, body: c.Body})
}

// WaitPosition waits until readers see all records before position, and returns where they end.
func (l *Log) WaitPosition(ctx context.Context, position uint64) (uint64, error) {
	for {
		if err := l.readable(); err != nil {
			return 0, err
		}
		moved := l.movedChannel() // before looking
		if end := l.Position(); end >= position {
			return end, nil
		}
		if err := l.waitMoved(ctx, moved); err != nil {
			return 0, err
		}
	}
}
