package queue

// limits bound what is held in memory, and what one commit does. They are those of usual, but in tests,
// which make them so small that everything overflows.
type limits struct {
	buffer       int // messages of each stretch of keys that are in memory
	keyBuffer    int // messages that wait behind one key
	aheadRecords int // of the backlog
	aheadBytes   int64
	aside        int // messages that one commit hands out, sets aside, or ends the leases of
	drop         int // keys that one commit drops
	events       int // what the view tells, until it is taken in
	lazyEvents   int // how much of that may lie there before the pump is woken for its sake
}

var usual = limits{
	buffer: 1024, keyBuffer: 64, aheadRecords: 256, aheadBytes: 1 << 20, aside: 1024, drop: 1000, events: 8192, lazyEvents: 1024,
}
