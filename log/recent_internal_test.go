package log

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// TestRecent holds groups, and looks at what is told of them.
func TestRecent(t *testing.T) {
	var r recent
	p, q := &part{}, &part{}
	written := func(p *part, start int64, n int) {
		b := bytes.Repeat([]byte{byte(start)}, n)
		r.add(p, &group{start: start, bytes: int64(n), buf: b, stretches: []stretch{{to: n / 2}, {own: b[n/2:]}}})
	}
	held := func(p *part, at, limit int64) int { return len(r.of(p, at, limit)) }

	require.Zero(t, held(p, 0, 8), "nothing is held yet")
	written(p, 64, 8)
	written(p, 72, 16)
	require.Equal(t, append(bytes.Repeat([]byte{64}, 8), bytes.Repeat([]byte{72}, 16)...), r.of(p, 64, 88))
	require.Equal(t, bytes.Repeat([]byte{72}, 8), r.of(p, 72, 80), "no further than to the limit")
	require.Zero(t, held(p, 56, 88), "begins before")
	require.Zero(t, held(p, 64, 96), "ends behind")
	require.Zero(t, held(p, 88, 88))
	require.Zero(t, held(p, 88, 80))
	require.Zero(t, held(q, 64, 88), "another segment")

	written(p, 96, 8)
	require.Zero(t, held(p, 64, 104), "one that nobody waited for lies between")
	require.Equal(t, 8, held(p, 96, 104))
	written(p, 104, recentGroup+8)
	require.Equal(t, 8, held(p, 96, 104), "too large")
	written(q, 104, 8)
	require.Zero(t, held(p, 96, 104))
	for at := int64(112); at < 3*recentBytes; at += 1 << 10 {
		written(q, at, 1<<10)
		require.Equal(t, 1<<10, held(q, at, at+1<<10))
	}
	require.LessOrEqual(t, cap(r.buf), 2*recentBytes)
}

// TestRecentChecked damages what is held, which a follower must tell.
func TestRecentChecked(t *testing.T) {
	ctx := t.Context()
	l, err := Open("data", Options{FS: vfs.NewMem(), Durability: Written, SyncInterval: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	tp, err := l.CreateTopic(ctx, "events", TopicOptions{})
	require.NoError(t, err)
	p := tp.Partition(0)
	rd := reading{partition: p, start: Newest, options: ReadOptions{Unsynced: true}, follow: true}
	w, err := l.begin(&rd)
	require.NoError(t, err)
	var r Record
	written := func() {
		require.True(t, isEOF(w.next(&r)))
		require.False(t, w.c.moreOrAsleep())
		_, err = p.Append(ctx, Record{Value: []byte("value")})
		require.NoError(t, err)
		<-w.c.sleeper.wake
	}
	written()
	require.True(t, w.c.moreOrAsleep())
	require.NoError(t, w.next(&r)) // it stands behind all that there was before
	written()
	l.recent.buf[len(l.recent.buf)-16] ^= 1 // of the value, before what fills the frame up
	require.True(t, w.c.moreOrAsleep())
	require.ErrorIs(t, w.next(&r), ErrCorrupt)
	l.endWalk(w)
}
