package log

import (
	"context"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// TestOffsetAtPositionBesideWrite looks for the offset of a position between the two moments of a write: the end
// of the partition has moved, that of the log has not.
func TestOffsetAtPositionBesideWrite(t *testing.T) {
	l, err := Open("data", Options{FS: vfs.NewMem(), SyncInterval: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	topic, err := l.CreateTopic(t.Context(), "events", TopicOptions{})
	require.NoError(t, err)
	p := topic.Partition(0)
	write := func() {
		c := l.NewCommit()
		c.Durability(Written)
		c.AppendTo(p, Record{Value: []byte("v")})
		_, err := c.Commit(context.Background())
		require.NoError(t, err)
	}
	write()
	before := l.written
	write()
	after := l.written

	l.endMu.Lock()
	l.written = before
	l.writtenPosition.Store(before.position)
	found := make(chan int64, 1)
	go func() {
		offset, err := l.offsetAtPosition(p, before.position)
		if err != nil {
			offset = -1
		}
		found <- offset
	}()
	for range 1000 { // whoever does not wait is done by now
		runtime.Gosched()
	}
	l.written = after
	l.writtenPosition.Store(after.position)
	l.endMu.Unlock()
	require.EqualValues(t, 1, <-found)
}
