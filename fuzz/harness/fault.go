package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// failable is the predicate of every operation that can fail.
func failable(op crashfs.Op) bool { return op.Kind != crashfs.OpClose && op.Kind != crashfs.OpUnlock }

// countOps runs w without a fault and returns how many operations match.
func countOps(t testing.TB, w *Workload, seed uint64, match func(crashfs.Op) bool) int {
	t.Helper()
	fs := crashfs.New(crashfs.Options{})
	in := fs.Inject(crashfs.Fault{Match: match, At: 1 << 40})
	s := newSession(w, fs, seed, View{})
	w.Steps(s)
	s.Close()
	if err := s.violated(); err != nil {
		t.Fatalf("%s seed=%d: without any fault: %v", w.Name, seed, err)
	}
	return in.Matched()
}

// Errors makes each operation of w fail in turn, once and for good, before and after its effect, with
// every error that disks give. w goes on as well as it can. Then the fault is gone: the log opens,
// with everything that was acknowledged, and takes commits; and so it does when power was cut first.
// With thin, one out of so many combinations is tried at each operation.
func Errors(t testing.TB, w Workload, thin int, o Options) Stats {
	t.Helper()
	o = o.withDefaults()
	n := countOps(t, &w, o.Seed, failable)
	var faults []crashfs.Fault
	for at := range n {
		combination := at
		for _, err := range []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE, syscall.EROFS} {
			for _, sticky := range []bool{false, true} {
				for _, after := range []bool{false, true} {
					if combination++; combination%max(thin, 1) == 0 {
						faults = append(faults, crashfs.Fault{Match: failable, At: at + 1, Sticky: sticky, After: after, Err: err})
					}
				}
			}
		}
		faults = append(faults, crashfs.Fault{Match: failable, At: at + 1, Short: true, Bytes: 20})
	}
	return inParallel(t, len(faults), func(k int) (int, error) {
		f := faults[k]
		acked, err := faulty(&w, f, o, false)
		if err != nil {
			return 0, fmt.Errorf("T4 %s: %s: %w\n%s", w.Name, describe(f), err, replay(t, o.Seed))
		}
		return acked, nil
	})
}

func describe(f crashfs.Fault) string {
	return fmt.Sprintf("operation %d fails with %v, sticky=%v after=%v short=%v sync=%v", f.At, f.Err, f.Sticky, f.After, f.Short, f.Sync)
}

// faulty runs w with a fault, and then without.
func faulty(w *Workload, f crashfs.Fault, o Options, forgetful bool) (acked int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	fs := crashfs.New(crashfs.Options{})
	in := fs.Inject(f)
	s := newSession(w, fs, o.Seed, View{})
	s.faulty, s.forgetful = true, forgetful
	w.Steps(s)
	view, snap := s.View(), fs.Snapshot()
	s.Close()
	if err := s.violated(); err != nil {
		return 0, fmt.Errorf("%w (%d fired)", err, in.Fired())
	}
	if err := leaks(fs); err != nil {
		return 0, err
	}
	fs.Heal()
	if err := check(w, snap.Image(crashfs.Cut{}), view.afterPowerCut(), o.Seed, f.At%8 == 0); err != nil {
		return 0, fmt.Errorf("then a power cut: %w", err)
	}
	v := s.View()
	if forgetful {
		v = v.afterPowerCut()
	}
	if err := check(w, fs, v, o.Seed, true); err != nil {
		return 0, fmt.Errorf("after healing: %w", err)
	}
	return v.written, nil
}

func syncsOfFiles(op crashfs.Op) bool {
	return op.Kind == crashfs.OpSync || op.Kind == crashfs.OpSyncData
}

func syncs(op crashfs.Op) bool { return op.Kind.IsSync() }

// Syncs makes each sync of w fail in turn in the ways in which kernels do: it fails and forgets, so
// that the next sync succeeds without the bytes; the same, and reads show the old bytes; or it lies.
// The log must find itself failed, and after reopening, without or with a power cut, have all that was
// acknowledged, also what was acknowledged since. After a lie and a power cut that cannot be asked:
// then what is there must be a prefix of what was appended, or refused as damaged.
func Syncs(t testing.TB, w Workload, o Options) (Stats, Lies) {
	t.Helper()
	o = o.withDefaults()
	files := countOps(t, &w, o.Seed, syncsOfFiles)
	s := inParallel(t, 2*files, func(k int) (int, error) {
		f := crashfs.Fault{Match: syncsOfFiles, At: k/2 + 1, Sync: []crashfs.SyncMode{crashfs.Drop, crashfs.Revert}[k%2], Err: syscall.EIO}
		acked, err := faulty(&w, f, o, f.Sync == crashfs.Revert)
		if err == nil {
			err = reopened(&w, f, o)
		}
		if err != nil {
			return 0, fmt.Errorf("T5 %s: %s: %w\n%s", w.Name, describe(f), err, replay(t, o.Seed))
		}
		return acked, nil
	})
	s.Images *= 3
	n := countOps(t, &w, o.Seed, syncs)
	results := make([]Lies, 2*n)
	lies := inParallel(t, 2*n, func(k int) (int, error) {
		f := crashfs.Fault{Match: syncs, At: k/2 + 1, Sync: crashfs.Lie, Sticky: k%2 == 1}
		acked, err := lying(&w, f, o, &results[k])
		if err != nil {
			return 0, fmt.Errorf("T5 %s: %s: %w\n%s", w.Name, describe(f), err, replay(t, o.Seed))
		}
		return acked, nil
	})
	s.Add(lies)
	var sum Lies
	for _, r := range results {
		sum.Whole += r.Whole
		sum.Lost += r.Lost
		sum.Refused += r.Refused
	}
	return s, sum
}

// Lies counts what became of logs whose disk had lied before a power cut.
type Lies struct {
	Whole   int // nothing was missing
	Lost    int // acknowledged commits at the end were gone, which nobody can know
	Refused int // the loss was found and told
}

// String is for the line that a harness logs.
func (l Lies) String() string {
	return fmt.Sprintf("lies: whole=%d lost=%d refused=%d", l.Whole, l.Lost, l.Refused)
}

// reopened goes on behind a sync that failed and forgot: open, append, and only then cut the power.
func reopened(w *Workload, f crashfs.Fault, o Options) error {
	for _, evict := range []bool{false, true} {
		fs := crashfs.New(crashfs.Options{})
		fs.Inject(f)
		s := newSession(w, fs, o.Seed, View{})
		s.faulty, s.forgetful = true, true
		w.Steps(s)
		s.die(fs.Snapshot().Clone())
		if evict {
			s.crash.Evict()
		}
		s.faulty = false
		s.Open()
		if s.l == nil {
			return s.violated()
		}
		if !s.HasTopic("later") {
			s.CreateTopic("later", log.TopicOptions{})
		}
		s.Commit(log.Synced, Put{Topic: "later", Bytes: 100})
		view, snap := s.View(), s.crash.Snapshot()
		s.Close()
		if err := s.violated(); err != nil {
			return fmt.Errorf("reopened, evicted=%v: %w", evict, err)
		}
		if err := check(w, snap.Image(crashfs.Cut{}), view.afterPowerCut(), o.Seed, false); err != nil {
			return fmt.Errorf("reopened, evicted=%v, appended, then a power cut: %w", evict, err)
		}
	}
	return nil
}

// lying runs w on a disk that lies.
func lying(w *Workload, f crashfs.Fault, o Options, result *Lies) (acked int, err error) {
	fs := crashfs.New(crashfs.Options{})
	fs.Inject(f)
	s := newSession(w, fs, o.Seed, View{})
	w.Steps(s)
	view, snap := s.View(), fs.Snapshot()
	s.Close()
	if err := s.violated(); err != nil {
		return 0, err
	}
	if err := check(w, snap.Clone(), view, o.Seed, false); err != nil {
		return 0, fmt.Errorf("the process alone was killed: %w", err)
	}
	must := view.synced
	view.synced, view.written = 0, 0
	img := snap.Image(crashfs.Cut{})
	l, err := log.Open(dir, w.options(img, newClock(), &bytesOf{rand.NewPCG(o.Seed, 3)}))
	if errors.Is(err, log.ErrCorrupt) {
		result.Refused++
		return 0, leaks(img)
	}
	if err != nil {
		return 0, fmt.Errorf("then a power cut: %w", err)
	}
	n, err := verify(w, l, view, false)
	err = errors.Join(l.Close(), err)
	var c *log.CorruptError
	switch {
	case errors.As(err, &c) && c.File != "":
		result.Refused++
		err = nil
	case err == nil && n < must:
		result.Lost++
	case err == nil:
		result.Whole++
	}
	return 0, errors.Join(err, leaks(img))
}
