package harness

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// Nested crashes w at drawn moments, crashes the recovery from that, or what is appended behind it, and
// crashes the recovery from that again: chains of crashes, each a kill or a power cut. What was
// acknowledged at any level must be there at the end. An image is one crash.
func Nested(t testing.TB, w Workload, chains int, o Options) Stats {
	t.Helper()
	o = o.withDefaults()
	list := moments(t, &w, o.Seed)
	const depth = 3
	s := inParallel(t, chains, func(k int) (int, error) {
		rng := rand.New(rand.NewPCG(o.Seed, uint64(k)))
		img := drawImage(&list[rng.IntN(len(list))], rng)
		story := img.String()
		for level := range depth {
			fs, v := img.make()
			if err := check(&w, fs, v, o.Seed, level == depth-1); err != nil {
				return 0, fmt.Errorf("T2 %s chain %d: %s: %w\n%s", w.Name, k, story, err, replay(t, o.Seed))
			}
			if level == depth-1 {
				return v.written, nil
			}
			next, err := resume(&w, &img, rng)
			if err != nil {
				return 0, fmt.Errorf("T2 %s chain %d: %s: %w\n%s", w.Name, k, story, err, replay(t, o.Seed))
			}
			img = *next
			story += "\n  then " + img.String()
		}
		return 0, nil
	})
	s.Images *= depth
	return s
}

// drawImage draws a way to crash at m.
func drawImage(m *moment, rng *rand.Rand) image {
	fills := []crashfs.Fill{crashfs.Old, crashfs.Zeros, crashfs.Garbage, crashfs.Mixed}
	c := crashfs.Cut{Seed: rng.Uint64(), Missing: fills[rng.IntN(4)], EarlyUnlinks: rng.IntN(4) == 0}
	n := len(m.snap.Unsynced())
	switch rng.IntN(7) {
	case 0, 1:
		return image{m: m, kill: true}
	case 2:
		c.Policy = crashfs.All
	case 3:
		c.Policy, c.Ops, c.Bytes = crashfs.Torn, rng.IntN(n+1), rng.Int64N(1000)
	case 4:
		c.Policy, c.Block = crashfs.Subset, 512
	case 5:
		c.Policy = crashfs.SubsetEntries
	}
	return image{m: m, cut: c}
}

// resume opens what img has left, appends to it, and draws the next crash from that.
func resume(w *Workload, img *image, rng *rand.Rand) (*image, error) {
	fs, v := img.make()
	s := newSession(w, fs, rng.Uint64(), v)
	var list []moment
	opened := 0
	s.hook = func(op crashfs.Op) { list = append(list, moment{op, s.crash.Snapshot(), s.View()}) }
	fs.SetHook(s.hook)
	s.Open()
	opened = len(list)
	if w.Opaque {
		w.Steps(s)
	} else {
		const topic = "nested"
		if !s.HasTopic(topic) {
			s.CreateTopic(topic, log.TopicOptions{Partitions: 2})
		}
		for range 1 + rng.IntN(4) {
			s.Commit(log.Durability(rng.IntN(3)), Put{Topic: topic, Partition: int32(rng.IntN(2)), Bytes: rng.IntN(900)})
			if rng.IntN(4) == 0 {
				s.Reopen()
			}
		}
	}
	end := moment{crashfs.Op{After: true}, s.crash.Snapshot(), s.View()}
	s.crash.SetHook(nil)
	s.Close()
	if err := s.violated(); err != nil {
		return nil, err
	}
	list = append(list, end)
	if opened > 0 && rng.IntN(2) == 0 {
		list = list[:opened] // within the recovery
	}
	next := drawImage(&list[rng.IntN(len(list))], rng)
	return &next, nil
}
