package queue

// state is what the view keeps of a queue as a whole. Sums of bytes are of keys and values.
type state struct {
	head int64 // what lies before was taken out of the backlog
	end  int64 // behind the last message that was sent
	sent int64 // ever
	// How many messages there are of each sort. Together they are the depth.
	backlog, ready, delayed, waiting, leased int64
	// What became of the others.
	done, dead, dropped int64
	sentBytes           int64 // ever
	bytes               int64 // of the depth
	backlogBytes        int64
}

const stateFields = 13

func (s *state) fields() [stateFields]*int64 {
	return [stateFields]*int64{
		&s.head, &s.end, &s.sent, &s.backlog, &s.ready, &s.delayed, &s.waiting, &s.leased,
		&s.done, &s.dead, &s.dropped, &s.sentBytes, &s.bytes,
	}
}

func (s *state) encode() []byte {
	b := make([]byte, 0, 8*(stateFields+1))
	for _, f := range s.fields() {
		b = be.AppendUint64(b, uint64(*f))
	}
	return be.AppendUint64(b, uint64(s.backlogBytes))
}

// decodeState returns a queue without messages for no bytes.
func decodeState(b []byte) (s state) {
	if len(b) != 8*(stateFields+1) {
		return s
	}
	for i, f := range s.fields() {
		*f = int64(be.Uint64(b[8*i:]))
	}
	s.backlogBytes = int64(be.Uint64(b[8*stateFields:]))
	return s
}

func (s *state) depth() int64 { return s.backlog + s.ready + s.delayed + s.waiting + s.leased }

// sort returns the number of messages in in.
func (s *state) sort(in source) *int64 {
	switch in {
	case inReady:
		return &s.ready
	case inDelayed:
		return &s.delayed
	case inWaiting:
		return &s.waiting
	}
	return &s.backlog
}

// leave notes that it is not where it was any more.
func (s *state) leave(it *item) {
	*s.sort(it.in)--
	if it.in == inBacklog {
		s.backlogBytes -= it.size
	}
}

// totals is the value under 't': what was ever sent to a bounded queue.
func totals(sent, sentBytes int64) []byte {
	return be.AppendUint64(be.AppendUint64(make([]byte, 0, 16), uint64(sent)), uint64(sentBytes))
}
