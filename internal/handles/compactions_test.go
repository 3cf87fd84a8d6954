package handles_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/handles"
)

// quietly is a logger of a Pebble that may fail.
type quietly struct{ t *testing.T }

func (quietly) Infof(string, ...any)  {}
func (quietly) Errorf(string, ...any) {}
func (q quietly) Fatalf(format string, args ...any) {
	q.t.Errorf(format, args...)
}

// pending fills dir with tables that are to be compacted.
func pending(t *testing.T, fs vfs.FS, dir string) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{
		FS: fs, DisableWAL: true, DisableAutomaticCompactions: true, FormatMajorVersion: pebble.FormatNewest, Logger: quietly{t},
	})
	require.NoError(t, err)
	for i := range 12 {
		for k := range 20 {
			require.NoError(t, db.Set([]byte(fmt.Sprintf("k%03d/%d", k, i)), []byte("v"), pebble.NoSync))
		}
		require.NoError(t, db.Flush())
	}
	require.NoError(t, db.Close())
}

// TestErrorsOfOpening fails each change that opening a Pebble makes in its directory, while a compaction is due: nothing
// panics, the error is told, and then it opens and compacts.
func TestErrorsOfOpening(t *testing.T) {
	full := vfs.NewMem()
	pending(t, full, "db")
	open := func(fs vfs.FS, compacted chan<- struct{}) (*pebble.DB, error) {
		c := handles.NewCompactions()
		o := &pebble.Options{FS: fs, DisableWAL: true, FormatMajorVersion: pebble.FormatNewest, Logger: quietly{t}}
		o.Experimental.CompactionScheduler = c
		o.EventListener = &pebble.EventListener{CompactionEnd: func(i pebble.CompactionInfo) {
			if i.Err == nil {
				select {
				case compacted <- struct{}{}:
				default:
				}
			}
		}}
		db, err := pebble.Open("db", o)
		if err == nil {
			c.Opened()
		}
		return db, err
	}
	failed := 0
	for at := 1; ; at++ {
		fs := vfs.NewMem()
		ok, err := vfs.Clone(full, fs, "db", "db")
		require.NoError(t, err)
		require.True(t, ok)
		var n atomic.Int64
		var opened atomic.Bool
		injector := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || strings.HasSuffix(op.Path, ".sst") || opened.Load() || !changes(op) {
				return nil
			}
			if n.Add(1) == int64(at) {
				return syscall.ENOSPC
			}
			return nil
		})
		what := fmt.Sprint("change ", at)
		compacted := make(chan struct{}, 1)
		db, err := open(errorfs.Wrap(fs, injector), compacted)
		opened.Store(true)
		if err == nil {
			require.NoError(t, db.Close(), what)
		} else {
			require.Empty(t, compacted, what)
			require.ErrorIs(t, err, syscall.ENOSPC, what)
			failed++
		}
		db, err = open(fs, compacted)
		require.NoError(t, err, what)
		<-compacted
		v, closer, err := db.Get([]byte("k019/11"))
		require.NoError(t, err, what)
		require.Equal(t, "v", string(v))
		require.NoError(t, closer.Close())
		require.NoError(t, db.Close(), what)
		if n.Load() < int64(at) {
			break
		}
	}
	require.Greater(t, failed, 5)
	t.Logf("failed=%d", failed)
}

// changes leaves out what Pebble panics at, which is FS's to keep from it, or gives up at.
func changes(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData:
		return op.Path != "db" && !strings.Contains(op.Path, "MANIFEST")
	}
	return !strings.Contains(op.Path, "MANIFEST") && !strings.Contains(op.Path, "marker.manifest")
}
