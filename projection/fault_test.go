package projection_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// carryOnAnyway carries a model on over two lives, on a file system that fails, as well as it can.
func carryOnAnyway(fs vfs.FS) error {
	for _, version := range []int{1, 2} {
		l, err := log.Open("data", log.Options{FS: fs, SyncInterval: -1, SegmentBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		err = withLog(l, version)
		_ = l.Close() // tells of the store
		if err != nil {
			return err
		}
	}
	return nil
}

func withLog(l *log.Log, version int) error {
	store, err := aggregate.Open(ctx, l, "events", aggregate.Options{Partitions: 2})
	if err != nil {
		return err
	}
	m, err := projection.Open(ctx, l, crashDefinition(version))
	if errors.Is(err, log.ErrStateAhead) {
		return fmt.Errorf("a failing file system was taken for another log: %w", err)
	}
	for i := range 3 {
		if _, err := store.Append(ctx, "a", aggregate.Any, aggregate.Event{Type: "added", Data: strconv.AppendInt(nil, int64(i), 10)}); err != nil {
			return err
		}
		if m != nil {
			_ = m.CatchUp(ctx) // it may fail, and be called again
		}
	}
	return nil
}

// TestErrorsOfFiles makes each operation on the files of projections fail, once and for good, before and after
// its effect. The log goes on, nothing panics, waits for ever, stays open or is taken for damage, and when the
// fault is gone, also behind a power cut, the model is the fold of the events.
func TestErrorsOfFiles(t *testing.T) {
	ours := func(op crashfs.Op) bool {
		return strings.Contains(op.Path, "/projections") && op.Kind != crashfs.OpClose && op.Kind != crashfs.OpUnlock
	}
	fs := crashfs.New(crashfs.Options{})
	counting := fs.Inject(crashfs.Fault{Match: ours, At: 1 << 40})
	require.NoError(t, carryOnAnyway(fs))
	n := counting.Matched()
	require.Greater(t, n, 60)
	step := 1
	if testing.Short() {
		step = 13
	}
	tried := 0
	for at := 1; at <= n; at += step {
		f := crashfs.Fault{
			Match: ours, At: at, Sticky: at%2 == 0, After: at/2%2 == 0,
			Err: []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE, syscall.EROFS}[at/4%4],
		}
		if at%9 == 0 {
			writes := func(op crashfs.Op) bool { return ours(op) && op.Kind == crashfs.OpWrite } // short reads make Pebble panic under -race
			f = crashfs.Fault{Match: writes, At: at / 9, Short: true, Bytes: 20}
		}
		what := fmt.Sprintf("operation %d of %d fails with %v, sticky=%v after=%v", at, n, f.Err, f.Sticky, f.After)
		fs := crashfs.New(crashfs.Options{})
		fs.Inject(f)
		require.NoError(t, carryOnAnyway(fs), what)
		require.Empty(t, fs.OpenHandles(), what)
		cut := fs.Snapshot().Image(crashfs.Cut{})
		fs.Heal()
		for _, fs := range []*crashfs.FS{fs, cut} {
			l, err := log.Open("data", log.Options{FS: fs, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err, what)
			require.NoError(t, modelIsFold(l, nil), what)
			require.NoError(t, l.Close(), what)
		}
		tried++
	}
	t.Logf("T4 projection faults=%d of %d", tried, n)
}

// TestFullDisk lets the store's writes fail while events come: CatchUp returns that, and goes on when there is room
// again.
func TestFullDisk(t *testing.T) {
	full := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	})}
	l := openLog(t, vfs.NewMem())
	s := openStore(t, l)
	store, err := projection.OpenPebble("store", projection.PebbleOptions{FS: errorfs.Wrap(vfs.NewMem(), full)})
	require.NoError(t, err)
	value := make([]byte, 1<<20)
	m, err := projection.NewModel(ctx, l, store, projection.Define("sums", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		for i := range 20 {
			tx.Set("large"+strconv.Itoa(i), value)
		}
		return sums(tx, e)
	}))
	require.NoError(t, err)
	full.On()
	failed := 0
	for range 5 {
		add(t, s, "a", 1)
		if err := m.CatchUp(ctx); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorIs(t, err, projection.ErrStore)
			failed++
		}
	}
	require.NotZero(t, failed)
	full.Off()
	require.Eventually(t, func() bool { return m.CatchUp(ctx) == nil }, time.Minute, 50*time.Millisecond)
	v, ok, err := m.Get("total")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "5", string(v))
	require.NoError(t, store.Close())
}
