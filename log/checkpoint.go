package log

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/stratalog/strata/segment"
)

// checkpoint says how far state was derived from which log: id, position, and the body check of the
// last frame with records before it, so that a log that lost data, or an older copy of one put back
// under newer state, is told apart.
//
//	0   8  magic "StrataCp"
//	8   16 log id
//	24  8  position
//	32  8  body
//	40  8  xxh64 of all before
//
// The file state/CHECKPOINT is one, and tells how far Pebble was flushed; in Pebble each view has its
// own in the same form.
type checkpoint struct {
	log      segment.LogID
	position uint64
	body     uint64
}

const (
	checkpointMagic = "StrataCp"
	checkpointBytes = 48
	// stateName is the directory of what is derived; checkpointName and damagedName are files in it.
	stateName      = "state"
	checkpointName = "CHECKPOINT"
	damagedName    = "DAMAGED"
)

func (c checkpoint) encode() []byte {
	b := make([]byte, 0, checkpointBytes)
	b = append(b, checkpointMagic...)
	b = append(b, c.log[:]...)
	b = binary.LittleEndian.AppendUint64(b, c.position)
	b = binary.LittleEndian.AppendUint64(b, c.body)
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b))
}

// decodeCheckpoint reports false for bytes that do not check: those count as missing.
func decodeCheckpoint(b []byte) (c checkpoint, ok bool) {
	le := binary.LittleEndian
	if len(b) != checkpointBytes || string(b[:8]) != checkpointMagic || le.Uint64(b[40:]) != xxhash.Sum64(b[:40]) {
		return c, false
	}
	copy(c.log[:], b[8:])
	c.position, c.body = le.Uint64(b[24:]), le.Uint64(b[32:])
	return c, true
}

// ErrStateAhead is matched by every *StateAheadError.
var ErrStateAhead = errors.New("log: state is ahead of the log")

// StateAheadError is returned when state was derived from records that the log does not have: the log
// lost data, or an older copy of it, or another log, was put under newer state. Nothing is changed. To
// go on with this log, move its state directory away; it is then derived anew.
type StateAheadError struct {
	// What is "log" when the state is that of another log, "position" when it reaches beyond the end,
	// "body" when the records before its position were others.
	What string
	// Position is how far the state was derived, End where the log ends.
	Position, End uint64
}

func (e *StateAheadError) Error() string {
	switch e.What {
	case "log":
		return "log: state was derived from another log"
	case "position":
		return fmt.Sprintf("log: state was derived up to position %d, and the log ends at %d", e.Position, e.End)
	}
	return fmt.Sprintf("log: state was derived from other records before position %d", e.Position)
}

// Is makes errors.Is(err, ErrStateAhead) true.
func (e *StateAheadError) Is(target error) bool { return target == ErrStateAhead }

// checkpointAt returns the checkpoint at position, which is that of a frame's first record or the end.
func (l *Log) checkpointAt(position uint64) (checkpoint, error) {
	body, _, err := l.bodyBefore(position)
	return checkpoint{log: l.id, position: position, body: body}, err
}

// bodyBefore returns the body check of the last frame with records before position, and of what
// origin its segment is.
func (l *Log) bodyBefore(position uint64) (body uint64, origin segment.Origin, err error) {
	if position == 0 {
		return 0, segment.Born, nil
	}
	c := cursor{l: l, unsynced: true}
	if err := c.startPosition(position - 1); err != nil {
		return 0, 0, err
	}
	var f segment.Frame
	for {
		err := c.next(&f)
		if isEOF(err) {
			return body, origin, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if f.Kind != segment.Commit {
			continue
		}
		if f.Position >= position {
			return body, origin, nil
		}
		head, err := c.seg.Head()
		if err != nil {
			return 0, 0, err
		}
		body, origin = f.Body, head.Origin
	}
}

// checkAhead returns a *StateAheadError when c is not a checkpoint of this log.
func (l *Log) checkAhead(c checkpoint) error {
	end := l.writtenPosition.Load()
	ahead := func(what string) error { return &StateAheadError{What: what, Position: c.position, End: end} }
	switch {
	case c.log != l.id:
		return ahead("log")
	case c.position > end:
		return ahead("position")
	}
	body, origin, err := l.bodyBefore(c.position)
	if errors.Is(err, ErrCorrupt) {
		// Damage there is told to those who read it, and by verifying; it says nothing of the state.
		l.o.Logger.Warn("state checkpoint not compared: its frame is damaged", "position", c.position, "error", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if origin == segment.Born && body != c.body {
		return ahead("body")
	}
	return nil
}

// checkState compares state/CHECKPOINT with the log, without opening the store.
func (l *Log) checkState() error {
	c, ok, err := l.readCheckpoint()
	if err != nil || !ok {
		return err
	}
	return l.checkAhead(c)
}

// readCheckpoint reads state/CHECKPOINT. One that is missing or does not check is not ok.
func (l *Log) readCheckpoint() (c checkpoint, ok bool, err error) {
	b, err := segment.ReadFile(l.fs, l.fs.PathJoin(l.dir, stateName, checkpointName))
	if isNotExist(err) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	c, ok = decodeCheckpoint(b)
	return c, ok, nil
}
