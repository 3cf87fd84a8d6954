package projection_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"testing"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/fuzz/harness"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// counts is sums in its second version: it counts, too.
func counts(tx *projection.Tx, e *projection.Event) error {
	if err := sums(tx, e); err != nil {
		return err
	}
	v, _, err := tx.Get("count/" + e.Stream)
	if err != nil {
		return err
	}
	tx.Set("count/"+e.Stream, append(v[:len(v):len(v)], 'I'))
	return nil
}

// definitions by version. Events that are no number are parked.
func crashDefinition(version int) *projection.Definition[*projection.Tx] {
	o := projection.Options{BatchEvents: 2, Poison: projection.PoisonParks}
	if version == 1 {
		return projection.Define("sums", 1, o, sums)
	}
	return projection.Define("sums", 2, o, counts)
}

// carryOn appends events, and carries a model on in between, over three lives: in the second one the definition
// is changed, and in the third one a rebuild was asked for.
func carryOn(s *harness.Session) {
	s.Open()
	for life, version := range []int{1, 2, 2} {
		l := s.Log()
		if l == nil {
			return
		}
		store, err := aggregate.Open(ctx, l, "events", aggregate.Options{Partitions: 2})
		if err != nil {
			return
		}
		m, err := projection.Open(ctx, l, crashDefinition(version))
		if err != nil {
			s.Violation("open: %w", err)
			return
		}
		for i := range 4 {
			data := strconv.Itoa(1 + i)
			if i == 2 {
				data = "poison"
			}
			_, err := store.Commit(ctx, aggregate.Batch{Appends: []aggregate.Append{
				{Stream: "a", Expected: aggregate.Any, Events: []aggregate.Event{{Type: "added", Data: []byte(data)}, {Type: "added", Data: []byte("10")}}},
				{Stream: "b", Expected: aggregate.Any, Events: []aggregate.Event{{Type: "added", Data: []byte("-5")}}},
			}})
			if err != nil {
				return
			}
			if i == 1 {
				continue
			}
			if err := m.CatchUp(ctx); err != nil {
				s.Violation("catch up: %w", err)
				return
			}
		}
		switch life {
		case 0:
			s.Kill()
		case 1:
			if err := projection.MarkReset(l.Options().FS, l.Dir(), "sums", l.Options().Rand); err != nil {
				s.Violation("mark: %w", err)
				return
			}
			s.Reopen()
		}
	}
}

// fold returns what a version of the handlers makes of the events before a position.
func fold(l *log.Log, version int, before uint64) (map[string]string, error) {
	all := map[string]string{}
	t, err := l.Topic("events")
	if err != nil {
		return all, err
	}
	for r, err := range t.Read(log.Oldest) {
		if err != nil {
			return nil, err
		}
		if r.Position >= before {
			break
		}
		amount, err := strconv.Atoi(string(r.Value))
		if err != nil {
			continue // it is parked
		}
		stream := string(r.Key)
		for _, key := range []string{"sum/" + stream, "total"} {
			was, _ := strconv.Atoi(all[key])
			all[key] = fmt.Sprint(was + amount)
		}
		if version == 2 {
			all["count/"+stream] += "I"
		}
	}
	return all, nil
}

// modelIsFold checks that what readers see is the fold of the events before its checkpoint, carries it on, and
// checks again: first under the version that is there, then under the last one.
func modelIsFold(l *log.Log, _ []harness.Note) error {
	if _, err := l.Topic("events"); errors.Is(err, log.ErrNoTopic) {
		return nil
	}
	for _, version := range []int{0, 2} { // 0 is as it is
		m, err := projection.Open(ctx, l, crashDefinition(max(version, 1)))
		if err != nil {
			return err
		}
		end := l.Position() // parking appends more
		if version > 0 {
			if err := m.CatchUp(ctx); err != nil {
				return err
			}
		}
		sn, err := m.Snapshot()
		if errors.Is(err, projection.ErrNotReady) && version == 0 {
			continue
		}
		if err != nil {
			return err
		}
		if version > 0 && (sn.Version() != version || sn.Position() < end) {
			return fmt.Errorf("version %d at position %d of %d", sn.Version(), sn.Position(), end)
		}
		want, err := fold(l, sn.Version(), sn.Position())
		if err != nil {
			return err
		}
		got := map[string]string{}
		for kv, err := range sn.Range("", "") {
			if err != nil {
				return err
			}
			got[kv.Key] = string(kv.Value)
		}
		if err := sn.Close(); err != nil {
			return err
		}
		if !maps.Equal(want, got) {
			return fmt.Errorf("model of version %d at position %d is %v, and the events make %v", sn.Version(), sn.Position(), got, want)
		}
		if err := parkedOnce(l, m); err != nil {
			return err
		}
	}
	return nil
}

// parkedOnce checks that each parked event is in the topic of parked events, once for each version.
func parkedOnce(l *log.Log, m *projection.Model) error {
	list, err := m.Parked(ctx)
	if err != nil {
		return err
	}
	t, err := l.Topic("sums.parked")
	if errors.Is(err, log.ErrNoTopic) && len(list) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	offsets := map[string]int{}
	for r, err := range t.Read(log.Oldest) {
		if err != nil {
			return err
		}
		offset, _ := r.Header("strata-dead-offset")
		partition, _ := r.Header("strata-dead-partition")
		offsets[string(partition)+"/"+string(offset)]++
	}
	for _, p := range list {
		if n := offsets[fmt.Sprintf("%d/%d", p.Partition, p.Offset)]; n < 1 || n > 2 {
			return fmt.Errorf("the event at position %d is parked, and %d times in the topic", p.Position, n)
		}
	}
	return nil
}

// TestFault_S18_CrashAtEveryOperation crashes a projection before and after each file operation, of the log and
// of its own store, also while it parks events, is built anew beside the old model (S19) and is switched: on an even selection of the images,
// or on all with STRATA_IMAGES=all.
func TestFault_S18_CrashAtEveryOperation(t *testing.T) {
	w := harness.Workload{
		Name: "projection", Options: log.Options{SegmentBytes: 64 << 10, SyncInterval: -1}, Opaque: true,
		Steps: carryOn, Check: modelIsFold,
	}
	o, floor := harness.Options{Deep: 64, Limit: 1000}, 1000
	switch {
	case os.Getenv("STRATA_IMAGES") == "all":
		o.Limit = 0
	case testing.Short():
		o.Limit, floor = 150, 150
	}
	s := harness.Run(t, w, o)
	t.Logf("T1 projection %s", s)
	if s.Images < floor {
		t.Errorf("%s: the floor is %d images", s, floor)
	}
}
