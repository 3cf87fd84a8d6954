package log_test

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// counted is a tally that counts how often it is asked to apply a commit.
type counted struct {
	tally
	applied *atomic.Int64
}

func (v counted) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	v.applied.Add(1)
	return v.tally.Apply(tx, c)
}

// TestViewResumesFromItsCheckpoint opens a log again and counts what is derived anew: nothing after a
// clean end, everything without state, and of other topics' commits never any.
func TestViewResumesFromItsCheckpoint(t *testing.T) {
	fs := vfs.NewMem()
	v := counted{tally{"v", []string{"a"}}, &atomic.Int64{}}
	const commits = 50
	for _, tc := range []struct {
		name          string
		lose          bool
		appends, want int64
	}{{"new", false, commits, commits}, {"clean", false, 0, 0}, {"lost", true, 0, commits}, {"clean again", false, 3, 3}} {
		if tc.lose {
			require.NoError(t, fs.RemoveAll("data/state"))
		}
		v.applied.Store(0)
		l := open(t, fs, "data", log.Options{})
		h, err := l.Register(ctx, v)
		require.NoError(t, err)
		for _, name := range []string{"a", "other"} {
			tp, err := l.CreateTopic(ctx, name, log.TopicOptions{})
			require.NoError(t, err)
			for range tc.appends {
				_, err := tp.Append(ctx, log.Record{Key: []byte("k"), Value: []byte("v")})
				require.NoError(t, err)
			}
		}
		require.Equal(t, fold(t, l, "a"), viewDump(t, h), tc.name)
		require.Equal(t, tc.want, v.applied.Load(), tc.name)
		require.NoError(t, l.Close())
	}
}
