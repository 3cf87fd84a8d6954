package projection_test

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// TestDamageBehindTheBuilds damages a store where it says which build readers see: the builds can be read, and what
// was read of them must not outlive the store. The model is built anew from the first event.
func TestDamageBehindTheBuilds(t *testing.T) {
	fs := vfs.NewMem()
	noise := rand.NewChaCha8([32]byte{1})
	calls := 0
	d := projection.Define("sums", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		calls++
		for i := range 8 { // several blocks, between the builds and the names
			value := make([]byte, 3<<10)
			_, _ = noise.Read(value)
			tx.Set("noise/"+strconv.Itoa(i), value)
		}
		return sums(tx, e)
	})
	quiet := log.Options{FS: fs, Logger: slog.New(slog.DiscardHandler)}
	l, err := log.Open("data", quiet)
	require.NoError(t, err)
	add(t, openStore(t, l), "a", 1, 2, 3)
	m, err := projection.Open(ctx, l, d)
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.NoError(t, l.Close())
	require.Equal(t, 3, calls)

	const dir = "data/projections/store"
	names, err := fs.List(dir)
	require.NoError(t, err)
	damaged := 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		if at := bytes.Index(b, []byte("nsums")); at >= 0 {
			require.Greater(t, at, 8<<10, "behind the first blocks")
			_, err = f.WriteAt([]byte{'#'}, int64(at))
			require.NoError(t, err)
			damaged++
		}
		require.NoError(t, f.Close())
	}
	require.NotZero(t, damaged)

	l, err = log.Open("data", quiet)
	require.NoError(t, err)
	m, err = projection.Open(ctx, l, d)
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, 6, calls)
	v, ok, err := m.Get("total")
	require.NoError(t, err)
	require.True(t, ok, "an empty model was taken on")
	require.Equal(t, "6", string(v))
	require.NoError(t, l.Close())
}
