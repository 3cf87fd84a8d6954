package log_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// TestErrorsOfStateFiles makes each operation on the files of the views' state fail, once and for good: while it is
// opened and made, written, and closed. Commits go on being acknowledged, nothing panics, waits for ever or stays
// open, and when the fault is gone the conditions hold.
func TestErrorsOfStateFiles(t *testing.T) {
	ours := func(op crashfs.Op) bool {
		return strings.Contains(op.Path, "data/state") && op.Kind != crashfs.OpClose && op.Kind != crashfs.OpUnlock && op.Kind != crashfs.OpRead
	}
	once := func(l *log.Log, key string) error {
		topic, err := l.Topic("a")
		if errors.Is(err, log.ErrNoTopic) {
			topic, err = l.CreateTopic(ctx, "a", log.TopicOptions{})
		}
		if err != nil {
			return err
		}
		c := l.NewCommit()
		c.Append(topic, log.Record{Value: []byte(key)})
		c.Require(log.Once(key))
		_, err = c.Commit(ctx)
		return err
	}
	// Each life adds a key, and tries those of the lives before again.
	lives := func(fs *crashfs.FS, what string) (kept int) {
		for range 3 {
			l, err := log.Open("data", log.Options{FS: fs, SyncInterval: -1, SegmentBytes: 64 << 10, Logger: quiet})
			if err != nil {
				continue
			}
			for at := range kept {
				_ = once(l, fmt.Sprint(at)) // happens no second time
			}
			if once(l, fmt.Sprint(kept)) == nil {
				kept++
			}
			_ = l.Close()
		}
		return kept
	}
	fs := crashfs.New(crashfs.Options{})
	counting := fs.Inject(crashfs.Fault{Match: ours, At: 1 << 40})
	require.Equal(t, 3, lives(fs, "no fault"))
	n := counting.Matched()
	require.Greater(t, n, 40)
	step := 1
	if testing.Short() {
		step = 7
	}
	directories := 0
	for at := 1; at <= n; at += step {
		f := crashfs.Fault{Match: ours, At: at, Sticky: at%2 == 0, Err: []error{syscall.EIO, syscall.ENOSPC}[at/2%2]}
		what := fmt.Sprintf("operation %d of %d, sticky=%v", at, n, f.Sticky)
		checkStateFault(t, f, lives, once, what)
	}
	for at := 1; at <= 12; at++ { // what Pebble panics at
		match := func(op crashfs.Op) bool { return ours(op) && op.Kind == crashfs.OpSyncDir }
		checkStateFault(t, crashfs.Fault{Match: match, At: at, Err: syscall.EIO}, lives, once, fmt.Sprint("sync of a directory, the ", at, ". time"))
		short := func(op crashfs.Op) bool { return ours(op) && op.Kind == crashfs.OpWrite }
		checkStateFault(t, crashfs.Fault{Match: short, At: at, Short: true, Bytes: 20}, lives, once, fmt.Sprint("short write, the ", at, ". time"))
		directories++
	}
	t.Logf("T4 state faults=%d of %d directories=%d", (n+step-1)/step, n, directories)
}

func checkStateFault(t *testing.T, f crashfs.Fault, lives func(*crashfs.FS, string) int, once func(*log.Log, string) error, what string) {
	t.Helper()
	fs := crashfs.New(crashfs.Options{})
	fs.Inject(f)
	kept := lives(fs, what)
	require.Empty(t, fs.OpenHandles(), what)
	fs.Heal()
	l, err := log.Open("data", log.Options{FS: fs, Logger: quiet})
	require.NoError(t, err, what)
	for at := range kept {
		_ = once(l, fmt.Sprint(at))
	}
	require.NoError(t, once(l, "another"), what)
	topic, err := l.Topic("a")
	require.NoError(t, err, what)
	times := map[string]int{}
	for r, err := range topic.Read(log.Oldest) {
		require.NoError(t, err, what)
		times[string(r.Value)]++
		require.Equal(t, 1, times[string(r.Value)], "%s: %s happened again", what, r.Value)
	}
	for at := range kept {
		require.Equal(t, 1, times[fmt.Sprint(at)], what)
	}
	require.NoError(t, l.Close(), what)
	require.Empty(t, fs.OpenHandles(), what)
}
