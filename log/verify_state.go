package log

import (
	"fmt"

	"github.com/stratalog/strata/segment"
)

// readState reads the checkpoint of the state, before the segments, so that what a live writer appends
// meanwhile lies behind it.
func (x *examination) readState() error {
	l := x.l
	b, err := segment.ReadFile(l.fs, l.fs.PathJoin(l.dir, stateName, checkpointName))
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c, ok := decodeCheckpoint(b)
	if !ok {
		x.badState = l.fs.PathJoin(stateName, checkpointName)
		x.find(Finding{File: checkpointName, Check: "checksum", Detail: "how far the state of the views was flushed does not check, and counts as missing"})
		return nil
	}
	x.checkpoint = &c
	return nil
}

// judgeState compares the checkpoint of the state with the log. Where the log is damaged, or may go on
// behind what is proven of it, there is nothing to compare with.
func (x *examination) judgeState() {
	c := x.checkpoint
	if c == nil || x.live || len(x.report.Findings) > 0 {
		return
	}
	ahead := &StateAheadError{Position: c.position, End: x.position}
	switch {
	case c.log != x.id:
		ahead.What = "log"
	case c.position > x.position:
		ahead.What = "position"
	case x.stateBorn && x.stateBody != c.body:
		ahead.What = "body"
	default:
		return
	}
	x.badState = stateName
	f := Finding{File: checkpointName, Check: "state", Detail: fmt.Sprint(ahead), FromPosition: x.position, ToPosition: x.position}
	if ahead.What == "position" {
		f.ToPosition = c.position
	}
	x.find(f)
}
