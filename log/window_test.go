package log

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// TestWindow holds the window against all changes that there ever were: who has read as of a position
// that is not below the floor finds every change behind it, and only what is applied is forgotten.
func TestWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := window{}
	v := &view{}
	var all []windowSlot
	latest := map[windowKey]windowEntry{}
	applied := uint64(0)
	for i := range uint64(40_000) {
		k := windowKey{v, fmt.Sprint("key", rng.IntN(3000))}
		position := i + 1
		value := fmt.Append(nil, i)
		w.put(k, value, position, applied)
		all = append(all, windowSlot{key: k, position: position})
		latest[k] = windowEntry{value, position}
		if rng.IntN(50) == 0 {
			applied += rng.Uint64N(position - applied + 1)
		}
		require.LessOrEqual(t, w.floor, applied)
		if i%997 != 0 {
			continue
		}
		for _, change := range all[w.floor:] {
			require.Equal(t, latest[change.key], w.entries[change.key])
		}
	}
	require.Positive(t, w.floor)
	w.put(windowKey{v, "last"}, nil, 50_000, 49_999)
	require.LessOrEqual(t, w.bytes, windowBytes+1024)
	require.LessOrEqual(t, len(w.entries), windowBytes/cellBytes)
}

// TestReadBeforeTheWindow has a commit read what its condition rests on, and then wait until the commit
// that changes that has been applied and forgotten by the window: the commit must read again.
func TestReadBeforeTheWindow(t *testing.T) {
	ctx := context.Background()
	l, err := Open("data", Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	once := func(key string) *Commit {
		c := l.NewCommit()
		c.Durability(Buffered)
		c.Require(Once(key))
		return c
	}
	late := once("k")
	payload, err := late.prepare(ctx)
	require.NoError(t, err)
	first, err := once("k").Commit(ctx)
	require.NoError(t, err)
	require.False(t, first.Duplicate)
	for i := 0; ; i++ {
		_, err := once(fmt.Sprint("other-", i)).Commit(ctx)
		require.NoError(t, err)
		if i%1000 != 999 {
			continue
		}
		require.NoError(t, l.Sync(ctx))
		require.NoError(t, l.applier.wait(ctx))
		l.mu.Lock()
		_, there := l.window.entries[windowKey{l.findView(onceView{}.Name()), "k"}]
		l.mu.Unlock()
		if !there {
			break
		}
	}
	l.mu.Lock()
	dup, err := l.sequenceLocked(ctx, late, payload, nil)
	l.mu.Unlock()
	require.NoError(t, err)
	require.NotNil(t, dup, "the key was taken")
	require.Equal(t, first.Offset, dup.Offset)
}
