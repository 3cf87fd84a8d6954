package saga

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/stratalog/strata/log"
)

// Store looks at instances and tells them things. It needs no definitions, so tools use it too: what it is
// told is carried out when a runner with the definitions runs. Its methods may be called concurrently.
type Store struct{ e *engine }

// Open returns the store of the sagas of l. On a log that was opened read-only it only looks.
func Open(ctx context.Context, l *log.Log) (*Store, error) {
	e, err := engineOf(ctx, l)
	if err != nil {
		return nil, err
	}
	return &Store{e}, nil
}

// load returns an instance as it is.
func (e *engine) load(ctx context.Context, key []byte) (*Instance, error) {
	value, ok, err := e.h.Get(ctx, prefixed('i', key))
	if err != nil {
		return nil, err
	}
	saga, id, _ := bytes.Cut(key, []byte{0})
	if !ok {
		return nil, &InstanceError{string(saga), string(id)}
	}
	return decodeInstance(value)
}

func decodeInstance(value []byte) (*Instance, error) {
	in := &Instance{}
	if err := json.Unmarshal(value, in); err != nil {
		return nil, fmt.Errorf("saga: an instance's state in the view: %w", err)
	}
	return in, nil
}

// Get returns an instance as it is, with all that was acknowledged before the call.
func (s *Store) Get(ctx context.Context, saga, id string) (Instance, error) {
	if err := check(saga, id); err != nil {
		return Instance{}, err
	}
	in, err := s.e.load(ctx, instanceKey(saga, id))
	if err != nil {
		return Instance{}, err
	}
	return *in, nil
}

// List yields instances by saga and id: those of one saga, or of all when it is "", and those of one
// status, or of all when it is 0. An error is the last pair.
func (s *Store) List(ctx context.Context, saga string, status Status) iter.Seq2[Instance, error] {
	return func(yield func(Instance, error) bool) {
		from, to := []byte{'i'}, []byte{'i' + 1}
		narrow := saga != "" && status != 0
		switch {
		case narrow:
			from = statusKey(saga, status, "")
			to = statusKey(saga, status+1, "")
		case saga != "":
			from = prefixed('i', instanceKey(saga, ""))
			to = bytes.Clone(from)
			to[len(to)-1] = 1
		}
		for kv, err := range s.e.h.Scan(ctx, from, to) {
			if err != nil {
				yield(Instance{}, err)
				return
			}
			in := &Instance{}
			if narrow {
				in, err = s.e.load(ctx, instanceKey(saga, string(kv.Key[len(from):])))
			} else {
				err = json.Unmarshal(kv.Value, in)
			}
			if err == nil && status != 0 && in.Status != status {
				continue
			}
			if err != nil {
				yield(Instance{}, err)
				return
			}
			if !yield(*in, nil) {
				return
			}
		}
	}
}

// Count returns how many instances of a saga there are in each status.
func (s *Store) Count(ctx context.Context, saga string) (map[Status]int, error) {
	counts := map[Status]int{}
	for st := Running; st <= Aborted; st++ {
		value, _, err := s.e.h.Get(ctx, countKey(saga, st))
		if err != nil {
			return nil, err
		}
		if len(value) == 8 && binary.BigEndian.Uint64(value) > 0 {
			counts[st] = int(binary.BigEndian.Uint64(value))
		}
	}
	return counts, nil
}

// History yields the events of an instance, the first one first. An error is the last pair.
func (s *Store) History(ctx context.Context, saga, id string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		t, err := s.e.l.Topic(viewName)
		if err != nil {
			yield(Event{}, err)
			return
		}
		from := historyKey(instanceKey(saga, id), 0)
		to := historyKey(instanceKey(saga, id), ^uint64(0))
		for kv, err := range s.e.h.Scan(ctx, from, to) {
			var e Event
			if err == nil {
				var r log.Record
				if r, err = s.read(ctx, t, int64(binary.BigEndian.Uint64(kv.Value))); err == nil {
					err = json.Unmarshal(r.Value, &e)
				}
				e.Version = binary.BigEndian.Uint64(kv.Key[len(kv.Key)-8:])
				e.Offset, e.Time = r.Offset, r.Timestamp.UTC()
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// read returns a record that the view has named. The view shows what is written, and so may name one that
// is not synced yet.
func (s *Store) read(ctx context.Context, t *log.Topic, offset int64) (log.Record, error) {
	r, err := t.Partition(0).Get(offset)
	if !errors.Is(err, log.ErrRange) || s.e.l.Options().ReadOnly {
		return r, err
	}
	if err := s.e.l.Sync(ctx); err != nil {
		return log.Record{}, err
	}
	return t.Partition(0).Get(offset)
}

// Signal tells an instance something that one of its steps awaits, or will. With a key it is told once,
// however often Signal is called with that key.
func (s *Store) Signal(ctx context.Context, saga, id, name string, payload []byte, key string) error {
	if err := check(saga, id); err != nil {
		return err
	}
	cond, err := tell(instanceKey(saga, id), Event{Type: EventSignalled, Name: name, Payload: payload, Key: key})
	if err != nil {
		return err
	}
	c := s.e.l.NewCommit()
	c.Require(cond)
	_, err = c.Commit(ctx)
	return err
}

// Retry makes a parked instance try again what it is parked at, with as many attempts as at first.
func (s *Store) Retry(ctx context.Context, saga, id string) error {
	return s.ask(ctx, saga, id, func(in *Instance) (EventType, error) { return EventRetried, in.mustBe(Parked, "retry") })
}

// Resume makes a parked instance pass what it is parked at: the step counts as done, or as undone, since
// somebody has seen to it.
func (s *Store) Resume(ctx context.Context, saga, id string) error {
	return s.ask(ctx, saga, id, func(in *Instance) (EventType, error) { return EventResumed, in.mustBe(Parked, "resume") })
}

// Abort gives an instance up. One that is parked ends as it is, and so does one that reacts to events. One
// that is running undoes what it has done; when its pivot is done, Abort returns a *PivotError. Is the pivot
// under way, the request is recorded, and refused (EventAbortRefused) should the pivot be done after all.
func (s *Store) Abort(ctx context.Context, saga, id string) error {
	return s.ask(ctx, saga, id, func(in *Instance) (EventType, error) {
		if in.Status == Parked {
			return EventAborted, nil
		}
		if step, past := in.PastPivot(); past && in.Status == Running {
			return "", &PivotError{saga, id, step}
		}
		return EventAbort, in.mustBe(Running, "abort")
	})
}

// mustBe returns a *StatusError unless the instance has this status.
func (in *Instance) mustBe(s Status, asked string) error {
	if in.Status == s {
		return nil
	}
	return &StatusError{in.Saga, in.ID, in.Status, asked}
}

// ask appends what is asked by hand, if the instance's status allows it.
func (s *Store) ask(ctx context.Context, saga, id string, event func(*Instance) (EventType, error)) error {
	if err := check(saga, id); err != nil {
		return err
	}
	key := instanceKey(saga, id)
	for {
		in, err := s.e.load(ctx, key)
		if err != nil {
			return err
		}
		t, err := event(in)
		if err != nil {
			return err
		}
		cond, err := at(key, in.Version, Event{Type: t, Step: in.Step})
		if err != nil {
			return err
		}
		c := s.e.l.NewCommit()
		c.Require(cond)
		if _, err = c.Commit(ctx); err == nil || !errors.Is(err, ErrFenced) {
			return err
		}
		// It has moved on since the look.
	}
}

// Wait waits until an instance is final or parked, and that is synced, and returns it.
func (s *Store) Wait(ctx context.Context, saga, id string) (Instance, error) {
	t, err := s.e.l.Topic(viewName)
	if err != nil {
		return Instance{}, err
	}
	key := instanceKey(saga, id)
	from := t.Partition(0).Next()
	if in, err := s.getSettled(ctx, saga, id); err != nil || in.settled() {
		return in, err
	}
	for r, err := range t.Partition(0).Follow(ctx, log.AtOffset(from)) {
		if err != nil {
			return Instance{}, err
		}
		if !bytes.Equal(r.Key, key) {
			continue
		}
		if err := s.e.h.Wait(ctx, r.Position+1); err != nil {
			return Instance{}, err
		}
		if in, err := s.getSettled(ctx, saga, id); err != nil || in.settled() {
			return in, err
		}
	}
	return Instance{}, ctx.Err()
}

// getSettled returns an instance as it is now; when it is final or parked, that is synced: the view may be
// ahead of the record that has told of it.
func (s *Store) getSettled(ctx context.Context, saga, id string) (Instance, error) {
	in, err := s.Get(ctx, saga, id)
	if err == nil && in.settled() && !s.e.l.Options().ReadOnly {
		err = s.e.l.Sync(ctx)
	}
	return in, err
}

func (in *Instance) settled() bool { return in.Status.Final() || in.Status == Parked }

// Now returns the log's time, by which Instance.Next and StepState.Spent are to be read.
func (s *Store) Now() time.Time { return s.e.l.Now() }

// Sagas returns the names of the sagas that have instances, in order.
func (s *Store) Sagas(ctx context.Context) ([]string, error) {
	var names []string
	for from := []byte{'n'}; ; {
		found := false
		for kv, err := range s.e.h.Scan(ctx, from, []byte{'n' + 1}) {
			if err != nil {
				return nil, err
			}
			name, _, _ := bytes.Cut(kv.Key[1:], []byte{0})
			names, found = append(names, string(name)), true
			from = append(append([]byte{'n'}, name...), 1) // behind all statuses of this one
			break
		}
		if !found {
			return names, nil
		}
	}
}
