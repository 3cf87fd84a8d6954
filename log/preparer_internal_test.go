package log

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPreparerIsNotWokenForNothing: a commit wakes the goroutine when a step is due, and else not.
func TestPreparerIsNotWokenForNothing(t *testing.T) {
	p := preparer{kick: make(chan struct{}, 1)}
	p.due.Store(1000)
	p.wrote(400)
	p.wrote(400)
	require.Empty(t, p.kick)
	p.wrote(400)
	require.Len(t, p.kick, 1)
	<-p.kick
	p.ready.Store(true)
	p.wrote(400)
	require.Empty(t, p.kick)
}
