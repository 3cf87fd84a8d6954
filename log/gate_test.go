package log_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// TestGateHoldsOnAFailedLog has the sync of the log fail that a flush of the state asks for: the log
// is failed, the state is not flushed, and Close returns.
func TestGateHoldsOnAFailedLog(t *testing.T) {
	var broken atomic.Bool
	mem := vfs.NewCrashableMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && strings.Contains(op.Path, "log") && (op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync) {
			return syscall.EIO
		}
		return nil
	}))
	clk := clock.NewManual(time.Unix(1e9, 0))
	l := open(t, fs, "data", log.Options{Clock: clk, SyncInterval: -1})
	_, err := once(l, "before", "v", log.Synced)
	require.NoError(t, err)
	broken.Store(true)
	r, err := once(l, "after", "v", log.Written)
	require.NoError(t, err)
	h, err := l.RegisterEngineView(ctx, "__strata.once")
	require.NoError(t, err)
	require.NoError(t, h.Wait(ctx, r.Position))
	require.NotEmpty(t, viewDump(t, h)) // spilled
	clk.Advance(time.Minute)            // flushed, or an idle mark synced: either fails the log
	a, err := l.Topic("a")
	require.NoError(t, err)
	_, err = a.Append(ctx, log.Record{Value: []byte("v")})
	require.ErrorIs(t, err, log.ErrFailed)
	v, ok, err := h.Get(ctx, []byte("after"))
	require.NoError(t, err, "reads go on")
	require.True(t, ok)
	require.NotEmpty(t, v)
	require.ErrorIs(t, l.Close(), log.ErrFailed)

	crashed := mem.CrashClone(vfs.CrashCloneCfg{})
	l = open(t, crashed, "data", log.Options{})
	first, err := once(l, "before", "v", log.Synced)
	require.NoError(t, err)
	require.True(t, first.Duplicate)
	again, err := once(l, "after", "v", log.Synced)
	require.NoError(t, err)
	require.False(t, again.Duplicate, "it was never synced")
	require.NoError(t, l.Close())
}

// TestStateWithoutSpace fills the disk under the state alone: commits go on, and Close returns.
func TestStateWithoutSpace(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			var full atomic.Bool
			mem := vfs.NewMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if full.Load() && strings.HasSuffix(op.Path, ".sst") && op.Kind == kind {
					return syscall.ENOSPC
				}
				return nil
			}))
			l := open(t, fs, "data", log.Options{})
			_, err := once(l, "0", "v", log.Synced)
			require.NoError(t, err)
			full.Store(true)
			for i := range 20 {
				_, err := once(l, fmt.Sprint(i), "v", log.Synced)
				require.NoError(t, err)
			}
			_ = l.Close() // tells, where the state could not be written
			full.Store(false)
			l = open(t, fs, "data", log.Options{})
			for i := range 20 {
				r, err := once(l, fmt.Sprint(i), "v", log.Synced)
				require.NoError(t, err)
				require.True(t, r.Duplicate)
			}
			require.NoError(t, l.Close())
		})
	}
}

// TestGateSyncsTheLogFirst has the state flushed while commits are only written, and looks at every
// sync of a table: all commits that were there when the table was begun are synced by then.
func TestGateSyncsTheLogFirst(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	clk := clock.NewManual(time.Unix(1e9, 0))
	var tables, ahead atomic.Int64
	var written atomic.Uint64
	var begun sync.Map // the position that was written when a table was begun, by path
	fs.SetHook(func(op crashfs.Op) {
		if op.After || !strings.HasSuffix(op.Path, ".sst") {
			return
		}
		least, _ := begun.LoadOrStore(op.Path, written.Load())
		if !op.Kind.IsSync() {
			return
		}
		tables.Add(1)
		left := fs.Snapshot().Image(crashfs.Cut{})
		ro, err := log.Open("data", log.Options{FS: left, ReadOnly: true, Logger: quiet})
		if err != nil {
			ahead.Add(1)
			return
		}
		if ro.Position() < least.(uint64) {
			ahead.Add(1)
		}
		_ = ro.Close()
	})
	l := open(t, fs, "data", log.Options{Clock: clk, SyncInterval: -1})
	h, err := l.RegisterEngineView(ctx, "__strata.once")
	require.NoError(t, err)
	for i := range 20 {
		// Before the commit: it may be flushed as soon as it is applied, and then no other table comes.
		before := tables.Load()
		r, err := once(l, fmt.Sprint(i), "v", log.Written)
		require.NoError(t, err)
		require.NoError(t, h.Wait(ctx, r.Position+1))
		written.Store(r.Position + 1)
		for tables.Load() == before {
			clk.Advance(time.Minute)
			runtime.Gosched()
		}
	}
	require.NoError(t, l.Close())
	require.Zero(t, ahead.Load(), "tables were synced while the log was not")
}

// TestDeadStateRests has what a flush does on a state that has died: it makes a table, and is refused behind a pause, since
// it tries again at once; other files are refused at once, and so are tables when the log is being closed.
func TestDeadStateRests(t *testing.T) {
	clk := clock.NewManual(time.Unix(1e9, 0))
	l := open(t, vfs.NewMem(), "data", log.Options{Clock: clk, Logger: quiet})
	cause := errors.New("cause")
	l.FailState(cause)
	require.ErrorIs(t, l.CreateStateFile("data/state/000099.dbtmp"), cause)
	refused := make(chan error, 1)
	flush := func() { refused <- l.CreateStateFile("data/state/000099.sst") }
	go flush()
	for range 1000 {
		runtime.Gosched()
	}
	require.Empty(t, refused)
	for len(refused) == 0 {
		clk.Advance(time.Second)
		runtime.Gosched()
	}
	require.ErrorIs(t, <-refused, cause)
	go flush()
	_ = l.Close() // may tell of the state
	require.ErrorIs(t, <-refused, cause)
}
