package projection_test

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// TestProgress counts the events of a Run, and how many there are in a second, by a clock of the test.
func TestProgress(t *testing.T) {
	clk := clock.NewManual(time.Unix(1e9, 0))
	l, err := log.Open("data", log.Options{FS: vfs.NewMem(), Clock: clk})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	s := openStore(t, l)
	m, err := projection.Open(ctx, l, projection.Define("sums", 1, projection.Options{}, sums))
	require.NoError(t, err)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(running) }()
	handled := func(values ...int) projection.Progress {
		add(t, s, "a", values...)
		require.NoError(t, l.Sync(ctx))
		require.NoError(t, m.WaitFor(ctx, l.Position()))
		return m.Progress()
	}
	p := handled(1, 2, 3)
	require.EqualValues(t, 3, p.Events)
	require.Zero(t, p.EventsPerSecond, "no second has passed")
	clk.Advance(2 * time.Second)
	p = handled(4)
	require.EqualValues(t, 4, p.Events)
	require.Equal(t, 2.0, p.EventsPerSecond, "four events in two seconds")
	require.Equal(t, projection.Live, p.Phase)
	require.Equal(t, l.Position(), p.End)
	require.Equal(t, p.End, p.Position)
	require.Zero(t, p.Lag())
	stop()
	require.NoError(t, <-done)
	p = m.Progress()
	require.Equal(t, projection.Stopped, p.Phase)
	require.Zero(t, p.EventsPerSecond)
}
