package aggregate_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// flip changes one byte behind where marker is first found in a segment file, and returns whether it was.
func flip(t testing.TB, fs vfs.FS, marker string) bool {
	t.Helper()
	names, err := fs.List("data/log")
	require.NoError(t, err)
	for _, name := range names {
		if !strings.HasSuffix(name, ".seg") {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin("data/log", name), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		text, err := io.ReadAll(f)
		require.NoError(t, err)
		if at := bytes.Index(text, []byte(marker)); at >= 0 {
			_, err = f.WriteAt([]byte{text[at] ^ 1}, int64(at))
			require.NoError(t, err)
			require.NoError(t, f.Close())
			return true
		}
		require.NoError(t, f.Close())
	}
	return false
}

// TestFault_S27_DamagedSnapshot flips a byte of a snapshot on disk: it is passed over, and the events are
// folded. A flipped byte of an event is an error that says where.
func TestFault_S27_DamagedSnapshot(t *testing.T) {
	fs, c := vfs.NewMem(), clock.NewManual(start)
	open := func() (*log.Log, *aggregate.Store) {
		l, err := log.Open("data", log.Options{FS: fs, Clock: c, SegmentBytes: 64 << 10, SyncInterval: -1})
		require.NoError(t, err)
		return l, openStore(t, l)
	}
	l, s := open()
	folded := 0
	at := counted(&folded, 1, 0)
	r := accountsOf(t, s, at)
	for _, n := range []int{111111, 222222} {
		deposit(t, r, "1", n)
	}
	require.NoError(t, r.Snapshot(ctx, "1")) // Balance is 333333
	_, err := s.Append(ctx, "filler", aggregate.Any, event(strings.Repeat("x", 30<<10)), event("y"))
	require.NoError(t, err)
	for range 4 {
		_, err := s.Append(ctx, "filler", aggregate.Any, event(strings.Repeat("x", 30<<10)))
		require.NoError(t, err)
	}
	folded = 0
	a, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, []int{333333, 0}, []int{a.Balance, folded})
	require.NoError(t, l.Close())

	require.True(t, flip(t, fs, "333333"))
	l, s = open()
	folded = 0
	a, err = accountsOf(t, s, at).Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, []int{333333, 3}, []int{a.Balance, folded})
	require.NoError(t, l.Close())

	require.True(t, flip(t, fs, "222222"))
	l, s = open()
	_, err = accountsOf(t, s, at).Load(ctx, "1")
	var damage *log.CorruptError
	require.ErrorAs(t, err, &damage)
	require.NotEmpty(t, damage.File)
	require.NoError(t, l.Close())
}
