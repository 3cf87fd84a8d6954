package consumer_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/fuzz/harness"
	"github.com/stratalog/strata/log"
)

// transformed is promised when the output for an input was acknowledged.
type transformed struct{ input string }

// transform is consume, transform, produce: two lives of a member that appends an output for each input in
// the commit that moves its offset, and another group that commits by marks.
func transform(s *harness.Session) {
	s.Open()
	for life := range 2 {
		l := s.Log()
		if l == nil {
			return
		}
		in, err := l.CreateTopic(ctx, "in", log.TopicOptions{Partitions: 2})
		if err != nil {
			return
		}
		out, err := l.CreateTopic(ctx, "out", log.TopicOptions{})
		if err != nil {
			return
		}
		for i := range 4 {
			if _, err := in.Partition(int32(i%2)).Append(ctx, log.Record{Value: fmt.Append(nil, life, ".", i)}); err != nil {
				return
			}
		}
		m, err := consumer.Join(ctx, l, "transform", consumer.Options{Topics: []string{"in"}})
		if err != nil {
			return
		}
		n := 0
		for r, err := range m.Records(ctx) {
			if err != nil {
				return
			}
			s.Attempt(transformed{string(r.Value)})
			c := l.NewCommit()
			c.Append(out, log.Record{Key: r.Value, Value: fmt.Append(nil, r.Partition, " ", r.Offset)})
			c.Require(m.Done(r))
			if _, err := c.Commit(ctx); err != nil {
				return
			}
			s.Promise(transformed{string(r.Value)})
			if n++; n == 4 {
				break
			}
		}
		if life == 0 {
			s.Kill()
			continue
		}
		if err := m.Close(); err != nil {
			return
		}
	}
}

// booksBalance checks that the outputs are those of the first inputs of each partition, once each and in
// order, and that the offset of the group says how many.
func booksBalance(l *log.Log, notes []harness.Note) error {
	promised := 0
	for _, n := range notes {
		if _, ok := n.Value.(transformed); ok && n.Acked {
			promised++
		}
	}
	in, err := l.Topic("in")
	if errors.Is(err, log.ErrNoTopic) && promised == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	out, err := l.Topic("out")
	if errors.Is(err, log.ErrNoTopic) && promised == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	done := [2]int64{}
	count := 0
	for r, err := range out.Read(log.Oldest) {
		if err != nil {
			return err
		}
		var p int
		var offset int64
		if _, err := fmt.Fscan(strings.NewReader(string(r.Value)), &p, &offset); err != nil {
			return err
		}
		if offset != done[p] {
			return fmt.Errorf("output of offset %d of partition %d where that of %d was due", offset, p, done[p])
		}
		source, err := in.Partition(int32(p)).Get(offset)
		if err != nil {
			return err
		}
		if string(source.Value) != string(r.Key) {
			return fmt.Errorf("output of %q is said to be of %q", r.Key, source.Value)
		}
		done[p]++
		count++
	}
	if count < promised {
		return fmt.Errorf("%d outputs, %d were promised", count, promised)
	}
	s, err := consumer.OpenStore(ctx, l)
	if err != nil {
		return err
	}
	for p := range done {
		o, ok, err := s.Fetch(ctx, "transform", in.Partition(int32(p)))
		if err != nil {
			return err
		}
		if at := max(o.Offset, 0); ok && at != done[p] || !ok && done[p] > 0 {
			return fmt.Errorf("partition %d: offset %d is committed, and there are %d outputs", p, at, done[p])
		}
	}
	return nil
}

// images returns how many images are checked: so many, or fewer with -short, or, with STRATA_IMAGES=all, all
// that the file operations make.
func images(full, short int) int {
	switch {
	case os.Getenv("STRATA_IMAGES") == "all":
		return 0
	case testing.Short():
		return short
	}
	return full
}

// TestFault_S31_CrashAtEveryOperation crashes consume, transform, produce before and after each file
// operation: outputs correspond to inputs exactly once, on every image.
func TestFault_S31_CrashAtEveryOperation(t *testing.T) {
	w := harness.Workload{
		Name: "transform", Options: log.Options{SegmentBytes: 64 << 10, SyncInterval: -1}, Opaque: true,
		Steps: transform, Check: booksBalance,
	}
	o := harness.Options{Deep: 64, Limit: images(1500, 400)}
	s := harness.Run(t, w, o)
	t.Logf("T1 transform %s", s)
	if s.Images < o.Limit || s.Acked == 0 {
		t.Errorf("%s: the floor is %d images, with promises to check", s, o.Limit)
	}
}
