package log_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestReadOnlyViews derives views beside a live writer and after it: each read is the fold of what is
// visible, nothing is written into the log's directory, and nothing is left elsewhere.
func TestReadOnlyViews(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"mem": vfs.NewMem(), "os": nil} {
		t.Run(name, func(t *testing.T) {
			dir := "data"
			if fs == nil {
				dir = filepath.Join(t.TempDir(), "data")
				t.Setenv("TMPDIR", t.TempDir())
			}
			o := log.Options{SegmentBytes: 64 << 10}
			l := open(t, fs, dir, o)
			tp, err := l.CreateTopic(ctx, "a", log.TopicOptions{Partitions: 2})
			require.NoError(t, err)
			_, err = l.CreateTopic(ctx, "other", log.TopicOptions{})
			require.NoError(t, err)
			put := func(from, to int) {
				for i := from; i < to; i++ {
					value := fmt.Append(nil, i, string(bytes.Repeat([]byte("v"), 2000)))
					_, err := tp.Append(ctx, log.Record{Key: fmt.Append(nil, "k", i%50), Value: value})
					require.NoError(t, err)
				}
			}
			put(0, 100)
			r := open(t, fs, dir, log.Options{SegmentBytes: 64 << 10, ReadOnly: true})
			h, err := r.Register(ctx, tally{"v", []string{"a"}})
			require.NoError(t, err)
			again, err := r.Register(ctx, tally{"v", []string{"a"}})
			require.NoError(t, err)
			require.Equal(t, h.Name(), again.Name())
			for round := range 3 {
				put(100*(round+1), 100*(round+2))
				require.NoError(t, h.Wait(ctx, l.Position()))
				require.GreaterOrEqual(t, h.Applied(), l.Position())
				require.Equal(t, fold(t, l, "a"), viewDump(t, h))
				value, ok, err := h.Get(ctx, []byte("k7"))
				require.NoError(t, err)
				require.True(t, ok)
				require.Contains(t, string(value), fmt.Sprint(100*(round+1)+57))
				_, ok, err = h.Get(ctx, []byte("none"))
				require.NoError(t, err)
				require.False(t, ok)
			}
			// The writer's own, and one that it has with other topics.
			w, err := l.Register(ctx, tally{"w", []string{"a"}})
			require.NoError(t, err)
			require.NoError(t, l.Close())
			_ = w
			require.NoError(t, r.Close())
			_, _, err = h.Get(ctx, []byte("k7"))
			require.ErrorIs(t, err, log.ErrClosed)

			r = open(t, fs, dir, log.Options{ReadOnly: true})
			before := map[string]string{}
			if fs == nil {
				before = tree(t, dir)
			}
			_, err = r.Register(ctx, tally{"w", []string{"a", "other"}})
			require.ErrorIs(t, err, log.ErrMismatch)
			h, err = r.Register(ctx, tally{"w", []string{"a"}})
			require.NoError(t, err)
			require.Equal(t, fold(t, r, "a"), viewDump(t, h))
			empty, err := r.Register(ctx, tally{"new", []string{"__strata.new"}})
			require.NoError(t, err)
			require.Empty(t, viewDump(t, empty))
			require.NoError(t, r.Close())
			if fs == nil {
				require.Equal(t, before, tree(t, dir))
				left, err := os.ReadDir(os.Getenv("TMPDIR"))
				require.NoError(t, err)
				require.Empty(t, left)
			}
		})
	}
}
