package log

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAwaitDecided ends the context of one who waits between the decision on its commit and the signal: the
// commit is acknowledged, and the signal is not left behind for the next who uses the waiter.
func TestAwaitDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Log{}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		w := l.newWaiter()
		require.True(t, w.decideLocked(nil))
		told := make(chan struct{})
		go func() {
			defer close(told)
			time.Sleep(time.Second) // of the bubble: await has seen that ctx has ended
			w.signal()
		}()
		require.NoError(t, l.await(ctx, &Commit{l: l}, w))
		<-told
		require.Empty(t, w.c)
	})
}
