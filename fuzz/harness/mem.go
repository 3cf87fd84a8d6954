package harness

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// memMoment is a file system of Pebble's own before an operation, and what was known then.
type memMoment struct {
	clones []*vfs.MemFS
	view   View
}

// mutating reports whether an operation of errorfs changes something.
func mutating(k errorfs.OpKind) bool { return k.ReadOrWrite() == errorfs.OpIsWrite }

// RunMem is Run on the crashable file system that Pebble is tested with: it tells less of a disk than
// crashfs, and shares nothing with it, so that what both have wrong is unlikely. Power is cut before
// each operation, with nothing, everything, or half of what was not synced left.
func RunMem(t testing.TB, w Workload, o Options) Stats {
	t.Helper()
	o = o.withDefaults()
	mem := vfs.NewCrashableMem()
	var list []memMoment
	var mu sync.Mutex // guards list: Pebble has goroutines of its own
	var s *Session
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !mutating(op.Kind) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		rng := rand.New(rand.NewPCG(o.Seed, uint64(len(list))))
		m := memMoment{view: s.View()}
		for _, percent := range []int{0, 100, 50, 50} {
			m.clones = append(m.clones, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
		}
		list = append(list, m)
		return nil
	}))
	s = newSession(&w, fs, o.Seed, View{})
	w.Steps(s)
	s.Close()
	if err := s.violated(); err != nil {
		t.Fatalf("%s seed=%d: without any crash: %v", w.Name, o.Seed, err)
	}
	const each = 4
	return inParallel(t, each*len(list), func(k int) (int, error) {
		m := &list[k/each]
		v := m.view.afterPowerCut()
		if err := check(&w, m.clones[k%each], v, o.Seed, k%o.Deep == 0); err != nil {
			return 0, fmt.Errorf("T1 %s on Pebble's file system: operation %d, image %d: %w\n%s", w.Name, k/each, k%each, err, replay(t, o.Seed))
		}
		return v.written, nil
	})
}
