package harness

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stratalog/strata/fuzz/crashfs"
)

// Options says how much is tried. The zero value is the short campaign.
type Options struct {
	// Seed decides all that is drawn. Zero means the environment's STRATA_SEED, or 1.
	Seed uint64
	// Draws is the number of random images of each kind at each moment. Zero means 2.
	Draws int
	// Deep is how many images there are to one that is looked at with all checks. Zero means 8.
	Deep int
	// Limit bounds the number of images, of which an even selection is taken. Zero means none.
	Limit int
}

func (o Options) withDefaults() Options {
	if o.Seed == 0 {
		o.Seed = 1
		if s, err := strconv.ParseUint(os.Getenv("STRATA_SEED"), 10, 64); err == nil {
			o.Seed = s
		}
	}
	if o.Draws == 0 {
		o.Draws = 2
	}
	if o.Deep == 0 {
		o.Deep = 8
	}
	return o
}

// Stats says how much was tried.
type Stats struct {
	Images     int // that were opened and checked
	Acked      int // attempts that had to be there, summed over the images
	Violations int
}

// Add adds what another run has tried.
func (s *Stats) Add(o Stats) {
	s.Images += o.Images
	s.Acked += o.Acked
	s.Violations += o.Violations
}

// String is what a harness logs at its end.
func (s Stats) String() string {
	return fmt.Sprintf("images=%d acked=%d violations=%d", s.Images, s.Acked, s.Violations)
}

// moment is the machine, and what was known, around one operation.
type moment struct {
	op   crashfs.Op
	snap *crashfs.Snapshot
	view View
}

func (m *moment) String() string {
	when := "before"
	if m.op.After {
		when = "after"
	}
	return fmt.Sprintf("%s operation %s", when, m.op)
}

// moments runs w on fs and takes a moment before and after each mutating operation.
func moments(t testing.TB, w *Workload, seed uint64) []moment {
	t.Helper()
	s := newSession(w, crashfs.New(crashfs.Options{}), seed, View{})
	var list []moment
	var mu sync.Mutex // Pebble has goroutines of its own
	s.hook = func(op crashfs.Op) {
		m := moment{op, s.crash.Snapshot(), s.View()}
		mu.Lock()
		defer mu.Unlock()
		list = append(list, m)
	}
	s.crash.SetHook(s.hook)
	w.Steps(s)
	s.Close()
	if err := s.violated(); err != nil {
		t.Fatalf("%s seed=%d: without any crash: %v", w.Name, seed, err)
	}
	if err := leaks(s.fs); err != nil {
		t.Fatalf("%s seed=%d: %v", w.Name, seed, err)
	}
	for _, r := range s.crash.Removed() {
		if r.By == crashfs.OpRemove && !hasNewExt(r.Path) && !derived(r.Path) {
			t.Fatalf("%s seed=%d: %s was removed", w.Name, seed, r.Path)
		}
	}
	return list
}

// image is one crash to look at.
type image struct {
	m    *moment
	cut  crashfs.Cut
	kill bool // of the process only
	deep bool
}

// make returns what the crash leaves, and what must be there.
func (i *image) make() (*crashfs.FS, View) {
	if i.kill {
		return i.m.snap.Clone(), i.m.view
	}
	return i.m.snap.Image(i.cut), i.m.view.afterPowerCut()
}

func (i *image) String() string {
	if i.kill {
		return i.m.String() + ", process killed"
	}
	return i.m.String() + ", power cut: " + i.cut.String()
}

// Run runs w, and crashes it before and after each of its file operations in several ways each: the
// process alone is killed, or power is cut so that nothing, everything or some of what was not synced
// is left. Every image must keep the invariants of the package comment. It is what tests of layers and
// of users call.
func Run(t testing.TB, w Workload, o Options) Stats {
	t.Helper()
	o = o.withDefaults()
	list := moments(t, &w, o.Seed)
	var images []image
	for k := range list {
		m := &list[k]
		rng := rand.New(rand.NewPCG(o.Seed, uint64(k)))
		images = append(images,
			image{m: m, kill: true},
			image{m: m, cut: crashfs.Cut{}},
			image{m: m, cut: crashfs.Cut{Policy: crashfs.All}},
			image{m: m, cut: crashfs.Cut{Policy: crashfs.All, EarlyUnlinks: true}},
		)
		for range o.Draws {
			n := len(m.snap.Unsynced())
			images = append(images,
				image{m: m, cut: crashfs.Cut{Policy: crashfs.Prefix, Ops: rng.IntN(n + 1)}},
				image{m: m, cut: crashfs.Cut{Policy: crashfs.Subset, Block: 512, Seed: rng.Uint64(), Missing: crashfs.Mixed}},
				image{m: m, cut: crashfs.Cut{Policy: crashfs.Subset, Seed: rng.Uint64(), EarlyUnlinks: true}},
			)
		}
		images = append(images, image{m: m, cut: crashfs.Cut{Policy: crashfs.SubsetEntries, Seed: rng.Uint64()}})
	}
	return checkImages(t, "T1", &w, images, o)
}

// checkImages looks at images, on all processors.
func checkImages(t testing.TB, harness string, w *Workload, images []image, o Options) Stats {
	t.Helper()
	if o.Limit > 0 && len(images) > o.Limit {
		images = pick(images, o.Limit)
	}
	for k := range images {
		images[k].deep = k%o.Deep == 0
	}
	return inParallel(t, len(images), func(k int) (int, error) {
		img := &images[k]
		fs, v := img.make()
		if err := check(w, fs, v, o.Seed, img.deep); err != nil {
			return 0, fmt.Errorf("%s %s: image %d, %s: %w\n%s", harness, w.Name, k, img, err, replay(t, o.Seed))
		}
		return v.written + v.promised(), nil
	})
}

// pick returns n of images, evenly.
func pick(images []image, n int) []image {
	picked := make([]image, 0, n)
	for k := range n {
		picked = append(picked, images[k*len(images)/n])
	}
	return picked
}

// replay is the command that does the same again.
func replay(t testing.TB, seed uint64) string {
	return fmt.Sprintf("replay: STRATA_SEED=%d go test ./fuzz/harness -run '^%s$'", seed, t.Name())
}

// mostFailures is how many violations are printed.
const mostFailures = 5

// inParallel calls try for [0, n) and counts. An error is a violation.
func inParallel(t testing.TB, n int, try func(k int) (acked int, err error)) Stats {
	t.Helper()
	var next, acked, violations atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				k := int(next.Add(1)) - 1
				if k >= n {
					return
				}
				a, err := try(k)
				acked.Add(int64(a))
				if err == nil {
					continue
				}
				if violations.Add(1) <= mostFailures {
					mu.Lock()
					t.Errorf("%v", err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return Stats{Images: n, Acked: int(acked.Load()), Violations: int(violations.Load())}
}
