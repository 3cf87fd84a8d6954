package crashfs_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stretchr/testify/require"
)

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func openPebble(fs *crashfs.FS) (*pebble.DB, error) {
	return pebble.Open("db", &pebble.Options{
		FS: fs, Logger: quiet{}, MemTableSize: 64 << 10, DisableAutomaticCompactions: true,
	})
}

// TestPebble runs a store that other people wrote for a real disk. On every image it opens,
// and has what it had promised to have.
func TestPebble(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	type moment struct {
		snap   *crashfs.Snapshot
		synced int
	}
	var moments []moment
	synced := 0
	stride := int64(7)
	if testing.Short() {
		stride = 23
	}
	fs.SetHook(func(op crashfs.Op) {
		// Before the store has said that it is open it has promised nothing.
		if synced > 0 && op.N%stride == 0 {
			moments = append(moments, moment{fs.Snapshot(), synced})
		}
	})
	db, err := openPebble(fs)
	require.NoError(t, err)
	for i := range 60 {
		// A key written without a sync first: an image may have it or not.
		require.NoError(t, db.Set(fmt.Appendf(nil, "loose%03d", i), make([]byte, 300), pebble.NoSync))
		require.NoError(t, db.Set(fmt.Appendf(nil, "key%03d", i), fmt.Appendf(nil, "value%d", i), pebble.Sync))
		synced = i + 1
		if i%20 == 19 {
			require.NoError(t, db.Flush())
		}
	}
	require.NoError(t, db.Compact(t.Context(), []byte("a"), []byte("z"), false))
	require.NoError(t, db.Close())
	require.Empty(t, fs.OpenHandles())

	require.NotEmpty(t, moments)
	for k, m := range moments {
		for _, cut := range []crashfs.Cut{
			{},
			{Policy: crashfs.All},
			{Policy: crashfs.Prefix, Ops: len(m.snap.Unsynced()) / 2},
			{Policy: crashfs.Subset, Seed: uint64(k), Block: 4096},
		} {
			img := m.snap.Image(cut)
			db, err := openPebble(img)
			require.NoError(t, err, "operation %d, %s", m.snap.N, cut)
			for i := range 60 {
				got, closer, err := db.Get(fmt.Appendf(nil, "key%03d", i))
				if errors.Is(err, pebble.ErrNotFound) && i >= m.synced {
					continue
				}
				require.NoError(t, err, "operation %d, %s, key %d of %d", m.snap.N, cut, i, m.synced)
				require.Equal(t, fmt.Sprintf("value%d", i), string(got))
				require.NoError(t, closer.Close())
			}
			require.NoError(t, db.Close())
			require.Empty(t, img.OpenHandles())
		}
	}
}
