package projection_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
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
	"github.com/stratalog/strata/internal/clock"
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
	givesUp(t)
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
	clk := clock.NewManual(time.Unix(1e9, 0))
	store, err := projection.OpenPebble("store", projection.PebbleOptions{FS: errorfs.Wrap(vfs.NewMem(), full), Clock: clk})
	require.NoError(t, err)
	value := make([]byte, 1<<20)
	m, err := projection.NewModel(ctx, l, store, projection.Define("sums", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		for i := range 20 {
			tx.Set("large"+strconv.Itoa(i), value)
		}
		return sums(tx, e)
	}))
	require.NoError(t, err)
	catchUp := func() error { // while time passes: Pebble waits before it tries again
		done := make(chan error, 1)
		go func() { done <- m.CatchUp(ctx) }()
		for {
			select {
			case err := <-done:
				return err
			default:
				clk.Advance(time.Second)
				runtime.Gosched()
			}
		}
	}
	full.On()
	failed := 0
	for range 5 {
		add(t, s, "a", 1)
		if err := catchUp(); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorIs(t, err, projection.ErrStore)
			failed++
		}
	}
	require.NotZero(t, failed)
	full.Off()
	for catchUp() != nil { // it is told of what was met before
	}
	v, ok, err := m.Get("total")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "5", string(v))
	require.NoError(t, store.Close())
}

// TestErrorIsToldOnce has an error of the background told: it fails neither the next Sync nor the one after that.
func TestErrorIsToldOnce(t *testing.T) {
	store, err := projection.NewMemory()
	require.NoError(t, err)
	met := errors.New("met in the background")
	for i := range 30 { // what is left over would fail the next Sync by chance
		_, err := store.Create(ctx, "sums", i, "", projection.Checkpoint{})
		require.NoError(t, err)
		projection.MeetError(store, met)
		require.ErrorIs(t, store.Sync(ctx), met)
		require.NoError(t, store.Sync(ctx), i)
		require.NoError(t, store.Sync(ctx), i)
	}
	require.NoError(t, store.Close())
}

// TestGivenUpPebbleRests has what a flush does in a store that was given up: it makes a file, and gets no answer, to which it
// would try again at once.
func TestGivenUpPebbleRests(t *testing.T) {
	givesUp(t)
	below := vfs.NewMem()
	store, err := projection.OpenPebble("store", projection.PebbleOptions{FS: below, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	cause := errors.New("cause")
	projection.GiveUp(store, cause)
	answered := make(chan error, 1)
	for _, name := range []string{"000099.sst", "MANIFEST-000099"} {
		go func() {
			_, err := projection.FilesOf(store).Create("store/"+name, vfs.WriteCategoryUnspecified)
			answered <- err
		}()
	}
	for range 1000 {
		runtime.Gosched()
	}
	require.ErrorIs(t, projection.FilesOf(store).Remove("store/LOCK"), cause, "changes are refused")
	require.ErrorIs(t, store.Sync(ctx), cause)
	require.NoError(t, store.Close())
	require.Empty(t, answered)
	_, err = below.Stat("store/000099.sst")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
