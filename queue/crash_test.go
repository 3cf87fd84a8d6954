package queue_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stratalog/strata/fuzz/harness"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/timer"
)

// queued is promised when a message was sent, handled when it was acknowledged with its output.
type (
	queued  struct{ value string }
	handled struct{ value string }
)

// deadAndBack sends messages, fails each until it is dead, takes it back, and acknowledges it in a commit with
// its output, over two lives of the process.
func deadAndBack(s *harness.Session) {
	s.Open()
	for life := range 2 {
		if s.Log() == nil || liveOnce(s, s.Log(), life) != nil {
			return
		}
		if life == 0 {
			s.Kill()
		}
	}
}

func liveOnce(s *harness.Session, l *log.Log, life int) error {
	out, err := l.CreateTopic(ctx, "out", log.TopicOptions{})
	if err != nil {
		return err
	}
	q, err := queue.Declare(ctx, l, "work", queue.Options{Retry: timer.Retry{Attempts: 2}})
	if err != nil {
		return err
	}
	for i := range 2 {
		v := fmt.Sprint(life, ".", i)
		s.Attempt(queued{v})
		if _, err := q.Send(ctx, queue.Message{Value: []byte(v), Priority: i}); err != nil {
			return err
		}
		s.Promise(queued{v})
	}
	if err := failAll(q); err != nil {
		return err
	}
	dead, err := queue.Open(ctx, l, "work.dead")
	if err != nil {
		return err
	}
	if _, err := dead.Redrive(ctx, queue.RedriveOptions{}); err != nil {
		return err
	}
	ms, err := q.Receive(ctx, queue.ReceiveOptions{Max: 10})
	for _, m := range ms {
		s.Attempt(handled{string(m.Value)})
		c := l.NewCommit()
		c.Append(out, log.Record{Value: m.Value})
		c.Require(m.Done())
		if _, err := c.Commit(ctx); err != nil {
			return err
		}
		s.Promise(handled{string(m.Value)})
	}
	return err
}

// failAll fails whatever can be received until nothing is left.
func failAll(q *queue.Queue) error {
	for {
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Max: 10})
		if err != nil || len(ms) == 0 {
			return err
		}
		for _, m := range ms {
			if m.Attempt < m.MaxAttempts() {
				err = m.NackAfter(ctx, 0, errTest)
			} else {
				err = m.Nack(ctx, errTest)
			}
			if err != nil {
				return err
			}
		}
	}
}

// onePlaceEach checks that every message is in one place: in the queue, in its dead letters, or in the output; that
// what was promised is there; that the counts are right; and that work goes on.
func onePlaceEach(l *log.Log, notes []harness.Note) error {
	places := map[string]string{}
	for _, n := range notes {
		switch v := n.Value.(type) {
		case queued:
			if n.Acked {
				places[v.value] = "promised"
			}
		}
	}
	q, err := queue.Open(ctx, l, "work")
	if errors.Is(err, queue.ErrNoQueue) && len(places) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	found := map[string]string{}
	put := func(value []byte, place string) error {
		if was, ok := found[string(value)]; ok {
			return fmt.Errorf("message %s is in %s and in %s", value, was, place)
		}
		found[string(value)] = place
		return nil
	}
	for _, name := range []string{"work", "work.dead"} {
		q, err := queue.Open(ctx, l, name)
		if err != nil {
			return err
		}
		n := int64(0)
		for info, err := range q.Messages(ctx) {
			if err != nil {
				return err
			}
			if info.Attempts > 2 {
				return fmt.Errorf("message %s was tried %d times", info.Record.Value, info.Attempts)
			}
			if err := put(info.Record.Value, name); err != nil {
				return err
			}
			n++
		}
		s, err := q.Stats(ctx)
		if err != nil {
			return err
		}
		if s.Depth() != n || s.Sent != n+s.Done+s.Dead+s.Dropped {
			return fmt.Errorf("%d messages in %s, and %+v", n, name, s)
		}
	}
	out, err := l.Topic("out")
	if err != nil {
		return err
	}
	for r, err := range out.Read(log.Oldest) {
		if err != nil {
			return err
		}
		if err := put(r.Value, "out"); err != nil {
			return err
		}
	}
	for value := range places {
		if found[value] == "" {
			return fmt.Errorf("message %s was promised and is not there", value)
		}
	}
	for _, n := range notes {
		if v, ok := n.Value.(handled); ok && n.Acked && found[v.value] != "out" {
			return fmt.Errorf("message %s was done with, and is in %q", v.value, found[v.value])
		}
	}
	return failAll(q)
}

// TestFault_S11_CrashAtEveryOperation crashes send, receive, failures, dead letter, redrive and
// acknowledgement before and after each file operation: on an even selection of the images, or on all with
// STRATA_IMAGES=all.
func TestFault_S11_CrashAtEveryOperation(t *testing.T) {
	w := harness.Workload{
		Name: "dead and back", Options: log.Options{SegmentBytes: 64 << 10, SyncInterval: -1}, Opaque: true,
		Steps: deadAndBack, Check: onePlaceEach,
	}
	o, floor := harness.Options{Deep: 64, Limit: 1200}, 1200
	switch {
	case os.Getenv("STRATA_IMAGES") == "all":
		o.Limit, floor = 0, 3000
	case testing.Short():
		o.Limit, floor = 250, 250
	}
	s := harness.Run(t, w, o)
	t.Logf("T1 dead and back %s", s)
	if s.Images < floor || s.Acked == 0 {
		t.Errorf("%s: the floor is %d images, with promises to check", s, floor)
	}
}
