package projection_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// marked is sums that tells by which handler a model was made.
func marked(by string) *projection.Definition[*projection.Tx] {
	return projection.Define("sums", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		tx.Set("by", []byte(by))
		return sums(tx, e)
	})
}

// TestResetSurvivesKill kills the program behind a rebuild that was asked for. The store has no log of its own, so
// what was built may not be taken back once the request is gone.
func TestResetSurvivesKill(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	l, err := log.Open("data", log.Options{FS: fs})
	require.NoError(t, err)
	s := openStore(t, l)
	add(t, s, "a", 1, 2)
	m, err := projection.Open(ctx, l, marked("wrong"))
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.NoError(t, l.Close()) // all is on disk

	l, err = log.Open("data", log.Options{FS: fs})
	require.NoError(t, err)
	require.NoError(t, projection.MarkReset(fs, "data", "sums", l.Options().Rand))
	m, err = projection.Open(ctx, l, marked("mended"))
	require.NoError(t, err)
	require.NoError(t, m.CatchUp(ctx))
	require.Equal(t, "mended", content(t, m)["by"])
	asked, err := projection.ResetAsked(fs, "data", "sums")
	require.NoError(t, err)
	require.False(t, asked)
	for what, after := range map[string]*crashfs.FS{"kill": fs.Snapshot().Clone(), "power cut": fs.Snapshot().Image(crashfs.Cut{})} {
		l, err := log.Open("data", log.Options{FS: after, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err, what)
		m, err := projection.Open(ctx, l, marked("mended"))
		require.NoError(t, err, what)
		require.Equal(t, "mended", content(t, m)["by"], what)
		require.NoError(t, m.CatchUp(ctx), what)
		require.Equal(t, "mended", content(t, m)["by"], what)
		require.NoError(t, l.Close(), what)
	}
	require.NoError(t, l.Close())
}

// TestStatusOfAKilledProgram lists a projection that is carried on, that was when its program was killed, and one
// whose log was closed under it.
func TestStatusOfAKilledProgram(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	l, err := log.Open("data", log.Options{FS: fs})
	require.NoError(t, err)
	m, err := projection.Open(ctx, l, marked("it"))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- m.Run(context.Background()) }()
	require.NoError(t, m.WaitFor(ctx, add(t, openStore(t, l), "a", 1)))
	phase := func(fs *crashfs.FS) projection.Phase {
		list, err := projection.List(fs, "data")
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0].Phase
	}
	require.Contains(t, []projection.Phase{projection.Live, projection.Building}, phase(fs))
	killed := fs.Snapshot().Clone()
	require.Equal(t, projection.Killed, phase(killed))
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-done, projection.ErrClosed)
	require.Equal(t, projection.Stopped, phase(fs))
}
