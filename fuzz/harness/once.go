package harness

import (
	"errors"
	"fmt"
	"time"

	"github.com/stratalog/strata/log"
)

// onceNote is a commit under a key, and, when it was acknowledged, where it is.
type onceNote struct {
	key    string
	offset int64
}

// Views is a workload of commits under idempotency keys and of a numbering producer, whose views are
// kept in Pebble on the same file system, so that an image is one instant of both. What it promises is
// that each acknowledged key stands for one record, at its place, for ever.
func Views() Workload {
	return Workload{
		Name: "views", Options: log.Options{SegmentBytes: 64 << 10, SyncInterval: -1}, Opaque: true,
		Steps: viewSteps, Check: checkOnce,
	}
}

func viewSteps(s *Session) {
	s.Open()
	s.CreateTopic("a", log.TopicOptions{})
	for i := range 14 {
		if i == 5 || i == 10 {
			s.Reopen()
		}
		if s.Log() == nil {
			return
		}
		s.once(fmt.Sprint("key-", i), i, log.Synced)
		if i%4 == 3 {
			s.once(fmt.Sprint("key-", i-2), i, log.Synced) // again
		}
		if i%6 == 2 {
			// Written only; the state is flushed meanwhile, and must not be ahead of the log.
			s.once(fmt.Sprint("written-", i), i, log.Written)
			s.Advance(31 * time.Second)
		}
		if i == 7 {
			s.Kill()
		}
	}
	if l := s.Log(); l != nil {
		if p, err := l.Producer(background, "p"); err != nil {
			s.expected("register", err)
		} else if t := s.topic("a"); t != nil {
			for i := range 3 {
				if _, err := p.Append(background, t.Partition(0), int32(i), log.Record{Value: fmt.Append(nil, "produced-", i)}); err != nil {
					s.expected("append", err)
					return
				}
			}
		}
	}
}

// once commits one record under a key. What is only written is not promised.
func (s *Session) once(key string, size int, d log.Durability) {
	t := s.topic("a")
	if t == nil {
		return
	}
	c := s.Log().NewCommit()
	c.Durability(d)
	c.Append(t, log.Record{Key: []byte(key), Value: make([]byte, 300*size)})
	c.Require(log.Once(key))
	s.Attempt(onceNote{key: key})
	r, err := c.Commit(background)
	if err != nil {
		s.expected("commit once", err)
		return
	}
	if d == log.Synced {
		s.Promise(onceNote{key: key, offset: r.Offset})
	}
}

// checkOnce looks for every promised key, and asks the view for every key that is there.
func checkOnce(l *log.Log, notes []Note) error {
	tried, promised := map[string]bool{}, map[string]int64{}
	for _, n := range notes {
		if o, ok := n.Value.(onceNote); ok {
			tried[o.key] = true
			if n.Acked {
				promised[o.key] = o.offset
			}
		}
	}
	t, err := l.Topic("a")
	if errors.Is(err, log.ErrNoTopic) && len(promised) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	there := map[string]int64{}
	for r, err := range t.Read(log.Oldest) {
		if err != nil {
			return err
		}
		if r.Key == nil {
			continue // the producer's
		}
		key := string(r.Key)
		if _, twice := there[key]; twice {
			return fmt.Errorf("key %s is there twice", key)
		}
		if !tried[key] {
			return fmt.Errorf("key %s was never tried", key)
		}
		there[key] = r.Offset
	}
	for key, offset := range promised {
		if at, ok := there[key]; !ok || at != offset {
			return fmt.Errorf("key %s was acknowledged at offset %d and is not there", key, offset)
		}
	}
	for key, offset := range there {
		c := l.NewCommit()
		c.Append(t, log.Record{Key: []byte(key)})
		c.Require(log.Once(key))
		r, err := c.Commit(background)
		if err != nil {
			return fmt.Errorf("once %s: %w", key, err)
		}
		if !r.Duplicate || r.Offset != offset {
			return fmt.Errorf("key %s is at offset %d, and the view says %d, duplicate=%v", key, offset, r.Offset, r.Duplicate)
		}
	}
	return nil
}
