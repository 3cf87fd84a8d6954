package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
)

func TestManual(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	m := clock.NewManual(start)
	early, late := m.NewTimer(time.Second), m.NewTimer(time.Minute)
	m.Advance(999 * time.Millisecond)
	require.Empty(t, early.C())
	m.Advance(time.Millisecond)
	require.Equal(t, start.Add(time.Second), <-early.C())
	require.Empty(t, late.C())

	m.Jump(-time.Hour)
	require.Equal(t, start.Add(time.Second-time.Hour), m.Now())
	require.Equal(t, time.Second, m.Monotonic(), "a jump does not move the monotonic clock")

	early.Reset(time.Second)
	early.Stop()
	m.Advance(2 * time.Minute)
	require.Empty(t, early.C())
	late.Reset(time.Second)
	require.Empty(t, late.C(), "what an earlier setting left is gone")
	late.Reset(0)
	<-late.C()
}

func TestSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.System()
		wall, mono := c.Now(), c.Monotonic()
		timer := c.NewTimer(time.Hour)
		timer.Reset(time.Minute)
		<-timer.C()
		require.Equal(t, time.Minute, c.Monotonic()-mono)
		require.Equal(t, wall.Add(time.Minute), c.Now())
		timer.Reset(time.Minute)
		timer.Stop()
		select {
		case <-timer.C():
			t.Fatal("a stopped timer fired")
		case <-time.After(time.Hour):
		}
	})
}
