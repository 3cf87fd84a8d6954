package log

import "time"

// logTime is the log's time, in microseconds since 1970: it runs with the monotonic clock and is
// drawn towards the wall clock by at most a tenth of the time that passes, so that it never stands
// still and never leaps. It is guarded by Log.mu.
type logTime struct {
	clock Clock
	now   time.Duration // since 1970
	mono  time.Duration
	drawn time.Duration // mono when it was last drawn
}

// drawEvery is how often the wall clock is looked at: reading it costs more than all else here.
const drawEvery = time.Millisecond

// startTime returns a time that begins at the later of the wall clock and last.
func startTime(c Clock, last int64) logTime {
	mono := c.Monotonic()
	t := logTime{clock: c, mono: mono, drawn: mono}
	t.now = max(time.Duration(c.Now().UnixMicro())*time.Microsecond, time.Duration(last)*time.Microsecond)
	return t
}

// read moves the time on and returns it.
func (t *logTime) read() int64 {
	mono := t.clock.Monotonic()
	passed := max(0, mono-t.mono)
	t.mono = mono
	t.now += passed
	if since := mono - t.drawn; since >= drawEvery {
		t.drawn = mono
		wall := time.Duration(t.clock.Now().UnixMicro()) * time.Microsecond
		t.now += min(max(wall-t.now, -since/10), since/10)
	}
	return int64(t.now / time.Microsecond)
}
