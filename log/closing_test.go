package log

import (
	"context"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/segment"
)

// openForClosing opens a log in memory with a topic.
func openForClosing(t *testing.T, fs vfs.FS, o Options) (*Log, *Topic) {
	t.Helper()
	o.FS, o.SegmentBytes = fs, 64<<10
	l, err := Open("data", o)
	require.NoError(t, err)
	tp, err := l.CreateTopic(context.Background(), "events", TopicOptions{})
	require.NoError(t, err)
	return l, tp
}

// TestNoSegmentBehindClose closes a log while a commit waits for the pen to begin a new segment. The
// commit is refused, and nothing is written for it.
func TestNoSegmentBehindClose(t *testing.T) {
	fs := vfs.NewMem()
	l, tp := openForClosing(t, fs, Options{})
	big := Record{Value: make([]byte, 20_000)}
	for range 3 {
		_, err := tp.Append(context.Background(), big)
		require.NoError(t, err)
	}
	until := func(holds func() bool) {
		for {
			l.mu.Lock()
			ok := holds()
			l.mu.Unlock()
			if ok {
				return
			}
			runtime.Gosched()
		}
	}
	l.takePen()
	appended, closed := make(chan error), make(chan error)
	go func() {
		_, err := tp.Append(context.Background(), big)
		appended <- err
	}()
	until(func() bool { return len(l.room.waiting) == 1 && len(l.pen.queue) > 0 })
	go func() { closed <- l.Close() }()
	until(func() bool { return l.closed })
	l.passPen()
	require.ErrorIs(t, <-appended, ErrClosed)
	require.NoError(t, <-closed)
	listing, err := segment.List(fs, "data/log")
	require.NoError(t, err)
	require.Len(t, listing.Segments, 1)
	require.Empty(t, listing.New)
}

// TestCloseBehindAnIdleMark closes a log that has come to rest. It ends in a closing mark all the same, so
// that the next opening knows of a clean end; and a second opening and closing adds nothing.
func TestCloseBehindAnIdleMark(t *testing.T) {
	fs := vfs.NewMem()
	l, tp := openForClosing(t, fs, Options{})
	_, err := tp.Append(context.Background(), Record{Value: []byte("a")})
	require.NoError(t, err)
	l.markIdle()
	require.True(t, l.ink.marked)
	require.NoError(t, l.Close())
	path := fs.PathJoin("data", "log", segment.Name{}.String())
	before, err := fs.Stat(path)
	require.NoError(t, err)

	var recovered []RecoveredInfo
	o := Options{Events: Events{Recovered: func(i RecoveredInfo) { recovered = append(recovered, i) }}}
	l, _ = openForClosing(t, fs, o)
	require.Empty(t, recovered)
	require.NoError(t, l.Close())
	after, err := fs.Stat(path)
	require.NoError(t, err)
	require.Equal(t, before.Size(), after.Size())
}
