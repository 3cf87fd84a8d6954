package timer_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/timer"
)

// fate is what must become of a timer, as of a moment of the run: it fires once, never, or either.
type fate int

const (
	never fate = iota
	either
	once
)

// fates are those of all timers, by payload.
type fates struct {
	mu sync.Mutex
	of map[string]fate // guarded by mu
}

func (f *fates) put(now fate, payloads ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range payloads {
		f.of[p] = now
	}
}

func (f *fates) now() map[string]fate {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.of)
}

// moment is what a crash may leave, and what must come of it.
type moment struct {
	op   crashfs.Op
	snap *crashfs.Snapshot
	must map[string]fate
}

// TestFault_S30_TimerFiresOnceAcrossCrashAndClockJump sets, replaces, cancels and fires timers, while
// the wall clock jumps. It crashes at every operation on a file, and opens each image under a clock
// that is behind, or ahead: whatever was acknowledged fires once, before the crash or behind it, and
// nothing fires that was cancelled or replaced.
func TestFault_S30_TimerFiresOnceAcrossCrashAndClockJump(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	f := &fates{of: map[string]fate{}}
	var moments []moment
	fs.SetHook(func(op crashfs.Op) {
		if op.After {
			moments = append(moments, moment{op, fs.Snapshot(), f.now()})
		}
	})
	c := clock.NewManual(start)
	l, ts := openFiring(t, fs, c)
	set := func(id, payload string, after time.Duration, replaced ...string) {
		f.put(either, append(replaced, payload)...)
		hold(t, l, timer.Set("a", id, start.Add(after), []byte(payload)))
		f.put(never, replaced...)
		f.put(once, payload)
	}
	settle := func(left int) {
		waitFor(t, func() bool {
			n, err := ts.Count(ctx, "a")
			require.NoError(t, err)
			return n <= left
		})
	}
	set("x", "x1", time.Minute)
	set("y", "y1", time.Minute)
	set("z", "z1", 3*time.Hour)
	set("z", "z2", 2*time.Minute, "z1")
	set("w", "w1", 24*time.Hour)
	f.put(either, "y1")
	hold(t, l, timer.Cancel("a", "y"))
	f.put(never, "y1")
	c.Jump(30 * time.Minute)
	c.Advance(time.Minute)
	settle(2) // x1 has fired
	c.Jump(-5 * time.Hour)
	c.Advance(3 * time.Minute)
	settle(1) // z2 has fired
	set("v", "v1", -time.Hour)
	settle(1)
	require.NoError(t, l.Close())
	fs.SetHook(nil)
	require.Greater(t, len(moments), 50)

	step := 1
	if testing.Short() {
		step = 9
	}
	for i := 0; i < len(moments); i += step {
		m := moments[i]
		cut := crashfs.Cut{Policy: []crashfs.Policy{crashfs.None, crashfs.All, crashfs.Subset}[i/step%3], Seed: uint64(i)}
		wall := start.Add([]time.Duration{-time.Hour, 0, 90 * time.Second, 48 * time.Hour}[i/step%4])
		t.Run(fmt.Sprintf("%d %v wall=%v", i, cut, wall.Sub(start)), func(t *testing.T) {
			checkFates(t, m.snap.Image(cut), clock.NewManual(wall), m.must)
		})
	}
	t.Logf("%d operations", len(moments))
}

// openFiring opens a log whose timers of "a" fire with a record that tells.
func openFiring(t testing.TB, fs *crashfs.FS, c *clock.Manual) (*log.Log, *timer.Timers) {
	l, ts := open(t, fs, c)
	fired, err := l.CreateTopic(ctx, "fired", log.TopicOptions{})
	require.NoError(t, err)
	_, err = ts.HandleEach("a", func(_ context.Context, c *log.Commit, due timer.Timer) error {
		if due.Due.After(l.Now()) {
			panic("fired early")
		}
		c.Append(fired, log.Record{Value: due.Payload})
		return nil
	})
	require.NoError(t, err)
	return l, ts
}

// checkFates lets all timers of an image fire, and compares.
func checkFates(t *testing.T, fs *crashfs.FS, c *clock.Manual, must map[string]fate) {
	l, ts := openFiring(t, fs, c)
	for l.Now().Before(start.Add(25 * time.Hour)) {
		c.Advance(time.Hour)
	}
	waitFor(t, func() bool {
		n, err := ts.Count(ctx, "a")
		require.NoError(t, err)
		return n == 0
	})
	topic, err := l.Topic("fired")
	require.NoError(t, err)
	got := map[string]int{}
	for r, err := range topic.Read(log.Oldest, log.ReadOptions{Unsynced: true}) {
		require.NoError(t, err)
		got[string(r.Value)]++
	}
	for payload, n := range got {
		require.Equal(t, 1, n, payload)
		require.NotEqual(t, never, must[payload], payload)
	}
	for payload, want := range must {
		if want == once {
			require.Equal(t, 1, got[payload], payload)
		}
	}
	require.NoError(t, l.Close())
}
