package aggregate

import (
	"context"
	"iter"
	"time"

	"github.com/stratalog/strata/log"
)

// LoadOptions says which events of a stream are loaded. The zero value is all, the first one first.
type LoadOptions struct {
	// From and To are the lowest and highest version wanted, both included. 0 is no bound.
	From, To uint64
	// Until leaves out the first event with a later Time, and all behind it. The zero Time is no bound.
	Until time.Time
	// Before leaves out events at this position of the log and behind. 0 is no bound.
	Before uint64
	// Backward begins with the last event.
	Backward bool
	// Unsynced shows events that are written and not synced yet, which a power cut may take back. Without
	// it a load waits for the sync that is under way.
	Unsynced bool
}

// Load yields the events of a stream in order of version, up to the last one that was acknowledged before
// the loop begins. What it costs depends on how many of them are wanted, and not on what else there is. Data
// is valid only inside the loop body; Event.Clone keeps an event.
//
// A stream that there is not has no events. An error is the last pair: a *TombstoneError for a stream that
// was ended, a *GapError where events are missing, and what reading the log may return.
func (s *Store) Load(ctx context.Context, stream string, o ...LoadOptions) iter.Seq2[Event, error] {
	var options LoadOptions
	if len(o) > 0 {
		options = o[0]
	}
	return func(yield func(Event, error) bool) {
		ld := loading{s: s, ctx: ctx, stream: stream, o: options}
		ld.runs, ld.guess, ld.offsets = ld.few[:0], ld.guesses[:0], ld.near[:0]
		more := true
		err := ld.run(func(e *Event) bool {
			more = yield(*e, nil)
			return more
		})
		if err != nil && more {
			yield(Event{}, err)
		}
	}
}

// loading is one load.
type loading struct {
	s      *Store
	ctx    context.Context
	stream string
	o      LoadOptions
	dec    decoder
	event  Event // the one that is lent
	runs   []run
	few    [12]run // is runs, as long as they find room
	// guess is what the index had of the page guessed when it was asked for the head.
	guessed uint64
	guess   []byte
	guesses [64]byte // is guess, as long as it finds room
	offsets []int64
	near    [12]int64 // is offsets, as long as they find room
}

// run calls each with each event. It ends when that returns false.
func (ld *loading) run(each func(*Event) bool) error {
	if err := checkStream(ld.stream); err != nil {
		return err
	}
	h, err := ld.head()
	if err != nil {
		return err
	}
	if h.tombstone {
		return &TombstoneError{Stream: ld.stream}
	}
	from, to := max(ld.o.From, h.first, 1), h.version
	if ld.o.To > 0 {
		to = min(to, ld.o.To)
	}
	if from > to {
		return nil
	}
	if !ld.o.Backward {
		return ld.forward(from, to, each)
	}
	if !ld.o.Until.IsZero() || ld.o.Before > 0 {
		// Where the bound lies is known when the events in front of it were looked at.
		end := from - 1
		if err := ld.forward(from, to, func(e *Event) bool { end = e.Version; return true }); err != nil {
			return err
		}
		if to = end; from > to {
			return nil
		}
	}
	return ld.backward(from, to, each)
}

// head returns what is known of the stream. It asks the index in the same breath for the page that is likely
// to be read.
func (ld *loading) head() (h head, err error) {
	ld.guessed = pageOf(max(ld.o.From, 1))
	stream := []byte(ld.stream)
	keys := [...][]byte{headKey(stream), pageKey(stream, ld.guessed)}
	err = ld.s.h.GetMany(ld.ctx, keys[:], func(i int, value []byte) (err error) {
		if i == 0 {
			h, err = decodeHead(value)
			return err
		}
		ld.guess = append(ld.guess, value...)
		return nil
	})
	return h, err
}

// within reports whether e lies before the bounds of time and position.
func (ld *loading) within(e *Event) bool {
	return (ld.o.Until.IsZero() || !e.Time.After(ld.o.Until)) && (ld.o.Before == 0 || e.Position < ld.o.Before)
}

// page reads the runs of a page, cut to the versions [from, to].
func (ld *loading) page(number, from, to uint64) error {
	value := ld.guess
	var err error
	if number != ld.guessed {
		if value, _, err = ld.s.h.Get(ld.ctx, pageKey([]byte(ld.stream), number)); err != nil {
			return err
		}
	}
	if ld.runs, err = decodePage(ld.runs[:0], number, value); err != nil {
		return err
	}
	kept := ld.runs[:0]
	next := max(from, number*pageVersions+1)
	end := min(to, (number+1)*pageVersions)
	for _, r := range ld.runs {
		if r.first < next {
			skip := min(int(next-r.first), r.count)
			r.first, r.count, r.offset = r.first+uint64(skip), r.count-skip, r.offset+int64(skip)
		}
		if r.count == 0 || r.first > end {
			continue
		}
		if r.first > next {
			return &GapError{Stream: ld.stream, From: next, To: r.first - 1}
		}
		r.count = min(r.count, int(end-r.first+1))
		next = r.first + uint64(r.count)
		if n := len(kept); n > 0 && kept[n-1].partition == r.partition && kept[n-1].offset+int64(kept[n-1].count) == r.offset {
			kept[n-1].count += r.count
			continue
		}
		kept = append(kept, r)
	}
	ld.runs = kept
	if next <= end {
		return &GapError{Stream: ld.stream, From: next, To: end}
	}
	return nil
}

func (ld *loading) forward(from, to uint64, each func(*Event) bool) error {
	for number := pageOf(from); number <= pageOf(to); number++ {
		if err := ld.page(number, from, to); err != nil {
			return err
		}
		more := true
		within := func(e *Event) bool {
			more = ld.within(e) && each(e)
			return more
		}
		for runs := ld.runs; len(runs) > 0 && more; {
			n, err := ld.points(runs), error(nil)
			if n > 0 {
				err = ld.readPoints(runs[0].partition, runs[0].first, 1, within)
			} else {
				n, err = 1, ld.readRun(runs[0], within)
			}
			if err != nil {
				return err
			}
			runs = runs[n:]
		}
		if !more {
			return nil
		}
	}
	return nil
}

// A run that is longer than pointRun is read by a loop over the partition's records, others one by one.
const pointRun = 16

// points gathers the offsets of the first of runs, as long as they are to be read one by one, and returns of how
// many. Only what is synced is read in this way.
func (ld *loading) points(runs []run) (n int) {
	ld.offsets = ld.offsets[:0]
	synced := ld.s.t.Partition(runs[0].partition).Next()
	for _, r := range runs {
		if r.count > pointRun || r.partition != runs[0].partition || r.offset+int64(r.count) > synced {
			break
		}
		for i := range int64(r.count) {
			ld.offsets = append(ld.offsets, r.offset+i)
		}
		n++
	}
	return n
}

// pointsBackward is points from the last of runs on. Only runs of one are gathered: those that are longer lie
// in one commit mostly, which is read forward.
func (ld *loading) pointsBackward(runs []run) (n int) {
	ld.offsets = ld.offsets[:0]
	last := runs[len(runs)-1]
	synced := ld.s.t.Partition(last.partition).Next()
	for n < len(runs) {
		r := runs[len(runs)-1-n]
		if r.count > 1 || r.partition != last.partition || r.offset >= synced {
			break
		}
		ld.offsets = append(ld.offsets, r.offset)
		n++
	}
	return n
}

// readPoints calls each with the events at ld.offsets, whose versions begin with this one and go on by step,
// until that returns false.
func (ld *loading) readPoints(partition int32, version uint64, step int, each func(*Event) bool) error {
	if err := ld.ctx.Err(); err != nil {
		return err
	}
	p := ld.s.t.Partition(partition)
	var wrong error
	at := 0
	err := p.GetMany(ld.offsets, func(r *log.Record) bool {
		if want := ld.offsets[at]; r.Offset != want {
			wrong = &log.LostError{Topic: p.Topic().Name(), Partition: partition, From: want, To: want + 1}
			return false
		}
		if wrong = ld.dec.decode(r, &ld.event); wrong != nil {
			return false
		}
		if wrong = ld.compare(&ld.event, version); wrong != nil {
			return false
		}
		version += uint64(step)
		at++
		return each(&ld.event)
	})
	if wrong != nil {
		return wrong
	}
	return err
}

// compare returns an error for an event that is not the one of this version of the stream.
func (ld *loading) compare(e *Event, version uint64) error {
	if e.Stream == ld.stream && e.Version == version {
		return nil
	}
	return &RecordError{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset, Reason: "the stream index tells of another event"}
}

func (ld *loading) backward(from, to uint64, each func(*Event) bool) error {
	var events []Event
	for number := pageOf(to); ; number-- {
		if err := ld.page(number, from, to); err != nil {
			return err
		}
		for runs := ld.runs; len(runs) > 0; {
			if n := ld.pointsBackward(runs); n > 0 {
				more := true
				err := ld.readPoints(runs[len(runs)-1].partition, runs[len(runs)-1].first, -1, func(e *Event) bool {
					more = each(e)
					return more
				})
				if err != nil || !more {
					return err
				}
				runs = runs[:len(runs)-n]
				continue
			}
			events = events[:0]
			if err := ld.readRun(runs[len(runs)-1], func(e *Event) bool { events = append(events, e.Clone()); return true }); err != nil {
				return err
			}
			for j := len(events) - 1; j >= 0; j-- {
				if !each(&events[j]) {
					return nil
				}
			}
			runs = runs[:len(runs)-1]
		}
		if number == pageOf(from) {
			return nil
		}
	}
}

// readRun calls each with the events of a run.
func (ld *loading) readRun(r run, each func(*Event) bool) error {
	version := r.first
	var wrong error
	p := ld.s.t.Partition(r.partition)
	err := ld.s.readWith(ld.ctx, &ld.dec, &ld.event, p, r.offset, r.count, !ld.o.Unsynced, func(e *Event) bool {
		if wrong = ld.compare(e, version); wrong != nil {
			return false
		}
		version++
		return each(e)
	})
	if wrong != nil {
		return wrong
	}
	return err
}

// read calls each with the events of count records of p from offset on, until that returns false.
func (s *Store) read(ctx context.Context, p *log.Partition, offset int64, count int, synced bool, each func(*Event) bool) error {
	return s.readWith(ctx, &decoder{}, &Event{}, p, offset, count, synced, each)
}

// readWith is read with a decoder and an event that the caller uses again.
func (s *Store) readWith(ctx context.Context, d *decoder, e *Event, p *log.Partition, offset int64, count int, synced bool, each func(*Event) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if synced && p.Next() < offset+int64(count) && !s.l.Options().ReadOnly {
		if err := s.l.Sync(ctx); err != nil {
			return err
		}
	}
	next, end := offset, offset+int64(count)
	for r, err := range p.Read(log.AtOffset(offset), log.ReadOptions{Unsynced: !synced}) {
		if err != nil {
			return err
		}
		if r.Offset != next {
			break
		}
		if err := d.decode(&r, e); err != nil {
			return err
		}
		if !each(e) {
			return nil
		}
		if next++; next == end {
			return nil
		}
	}
	return &log.LostError{Topic: p.Topic().Name(), Partition: p.Index(), From: next, To: end}
}

// Last returns the last event of a stream. One that there is not, or of which nothing is left, is a
// *StreamError. The event is the caller's.
func (s *Store) Last(ctx context.Context, stream string) (Event, error) {
	for e, err := range s.Load(ctx, stream, LoadOptions{Backward: true}) {
		if err != nil {
			return Event{}, err
		}
		return e.Clone(), nil
	}
	return Event{}, &StreamError{Stream: stream}
}

// VersionAt returns the version that a stream had at a time, by the times of its events: that of the last
// one in front of the first event that is later; 0 when there was none.
func (s *Store) VersionAt(ctx context.Context, stream string, at time.Time) (uint64, error) {
	version := uint64(0)
	for e, err := range s.Load(ctx, stream, LoadOptions{Until: at}) {
		if err != nil {
			return 0, err
		}
		version = e.Version
	}
	return version, nil
}
