package queue

import "github.com/stratalog/strata/log"

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
	// tallied says that the delayed messages are counted by when they are due. States of before that was so are
	// 8 bytes a field and no more; their queues go on without.
	tallied bool
	due     tally // what is being changed of these counts; not encoded
}

const (
	stateFields = 13
	stateBytes  = 8 * (stateFields + 1)
)

func (s *state) fields() [stateFields]*int64 {
	return [stateFields]*int64{
		&s.head, &s.end, &s.sent, &s.backlog, &s.ready, &s.delayed, &s.waiting, &s.leased,
		&s.done, &s.dead, &s.dropped, &s.sentBytes, &s.bytes,
	}
}

func (s *state) encode() []byte {
	b := make([]byte, 0, stateBytes+1)
	for _, f := range s.fields() {
		b = be.AppendUint64(b, uint64(*f))
	}
	b = be.AppendUint64(b, uint64(s.backlogBytes))
	if s.tallied {
		b = append(b, 1)
	}
	return b
}

// decodeState returns a queue without messages for no bytes. What a newer build may have written it refuses.
func decodeState(b []byte) (s state, err error) {
	s.tallied = len(b) != stateBytes
	switch len(b) {
	case stateBytes, stateBytes + 1:
	case 0:
		return s, nil
	default:
		return s, ErrCorrupt
	}
	for i, f := range s.fields() {
		*f = int64(be.Uint64(b[8*i:]))
	}
	s.backlogBytes = int64(be.Uint64(b[8*stateFields:]))
	return s, nil
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

// enter notes that it is there now; the backlog's bytes are the caller's.
func (s *state) enter(it *item) {
	*s.sort(it.in)++
	if it.in == inDelayed && s.tallied {
		s.due.add(it.due, 1)
	}
}

// leave notes that it is not where it was any more.
func (s *state) leave(it *item) {
	*s.sort(it.in)--
	switch {
	case it.in == inBacklog:
		s.backlogBytes -= it.size
	case it.in == inDelayed && s.tallied:
		s.due.add(it.due, -1)
	}
}

// set puts s into the view.
func (s *state) set(tx *log.ViewTx, id uint64) error {
	tx.Set(keyOf(prefixState, id), s.encode())
	return s.due.flush(tx, id)
}

// totals is the value under 't': what was ever sent to a bounded queue.
func totals(sent, sentBytes int64) []byte {
	return be.AppendUint64(be.AppendUint64(make([]byte, 0, 16), uint64(sent)), uint64(sentBytes))
}
