package log_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

func verify(t testing.TB, fs vfs.FS, dir string) *log.Report {
	t.Helper()
	r, err := log.Verify(ctx, dir, log.VerifyOptions{FS: fs})
	require.NoError(t, err)
	return r
}

// smallLog makes a log of several sealed segments, with a topic that is deleted, one that is altered,
// and reopenings, and returns the values in "a".
func smallLog(t testing.TB, fs vfs.FS, dir string) []string {
	t.Helper()
	var want []string
	for round := range 2 {
		l := open(t, fs, dir, log.Options{SegmentBytes: 64 << 10})
		want = append(want, fill(t, l, "a", 3, 60, 900)...)
		fill(t, l, fmt.Sprint("gone", round), 2, 3, 10)
		require.NoError(t, l.DeleteTopic(ctx, fmt.Sprint("gone", round)))
		want = append(want, fill(t, l, "a", 3, 60, 900)...)
		fill(t, l, fmt.Sprint("more", round), 1, 3, 10)
		require.NoError(t, l.AlterTopic(ctx, "more0", log.TopicOptions{Partitions: round + 2}))
		require.NoError(t, l.Close())
	}
	return want
}

func TestVerifyClean(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"mem": vfs.NewMem(), "os": nil} {
		t.Run(name, func(t *testing.T) {
			dir := "data"
			if fs == nil {
				dir = t.TempDir()
			}
			smallLog(t, fs, dir)
			var last, total int64
			r, err := log.Verify(ctx, dir, log.VerifyOptions{FS: fs, Progress: func(d, n int64) {
				require.GreaterOrEqual(t, d, last)
				last, total = d, n
			}})
			require.NoError(t, err)
			require.Empty(t, r.Findings)
			require.Empty(t, r.Notes)
			require.Equal(t, total, last)
			require.Positive(t, total)
			require.GreaterOrEqual(t, r.Segments, int64(3))
			// 240 in a, 6 in gone, 6 in more, 8 changes of topics (5 created, 2 deleted, 2 altered).
			require.Equal(t, int64(240+6+6+9), r.Records)
			require.Equal(t, r.Records, r.Batches)
			require.Equal(t, r.Records, r.Frames)
		})
	}
	_, err := log.Verify(ctx, t.TempDir(), log.VerifyOptions{})
	require.ErrorIs(t, err, log.ErrNoLog)
}

func TestVerifyBesideWriter(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"mem": vfs.NewMem(), "os": nil} {
		t.Run(name, func(t *testing.T) {
			dir := "data"
			if fs == nil {
				dir = t.TempDir()
			}
			l := open(t, fs, dir, log.Options{SegmentBytes: 64 << 10})
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() {
					tp, err := l.CreateTopic(ctx, fmt.Sprint("t", g), log.TopicOptions{Partitions: 2})
					if !assert.NoError(t, err) {
						return
					}
					for i := range 150 {
						c := l.NewCommit()
						c.Durability(log.Durability(i % 3))
						c.Append(tp, log.Record{Value: make([]byte, 100+i*3)})
						_, err := c.Commit(ctx)
						assert.NoError(t, err)
					}
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				r, err := log.Verify(ctx, dir, log.VerifyOptions{FS: fs})
				require.NoError(t, err)
				require.Empty(t, r.Findings)
			}
			require.NoError(t, l.Close())
			require.Equal(t, int64(604), verify(t, fs, dir).Records)
		})
	}
}

func TestVerifyTornTail(t *testing.T) {
	torn := 0
	for seed := range uint64(30) {
		fs := vfs.NewCrashableMem()
		l := open(t, fs, "data", log.Options{Durability: log.Written, SyncInterval: -1})
		fill(t, l, "a", 1, 8, 600)
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 1))})
		require.NoError(t, l.Close())
		r, err := log.Verify(ctx, "data", log.VerifyOptions{FS: crashed})
		if errors.Is(err, log.ErrNoLog) {
			continue
		}
		require.NoError(t, err)
		require.Empty(t, r.Findings, "seed %d", seed)
		torn += len(r.Notes)
		l = open(t, crashed, "data", log.Options{Logger: quiet})
		require.NoError(t, l.Close())
		require.Empty(t, verify(t, crashed, "data").Findings)
	}
	require.Positive(t, torn)
}

// TestVerifyState verifies and repairs logs whose state is damaged, or ahead of them.
func TestVerifyState(t *testing.T) {
	mem := vfs.NewMem()
	fill := func(dir string, n int, value string) {
		l := open(t, mem, dir, log.Options{})
		for i := range n {
			_, err := once(l, fmt.Sprint(value, i), value, log.Synced)
			require.NoError(t, err)
		}
		require.NoError(t, l.Close())
	}
	fill("older", 10, "x")
	copyTree(t, mem, "older", "data")
	copyTree(t, mem, "older", "branch")
	fill("data", 20, "y")
	fill("branch", 40, "v")
	fill("other", 30, "z")
	require.Empty(t, verify(t, mem, "data").Findings)

	for _, tc := range []struct {
		log, check, detail string
		lost               bool // whether it is told how many records are
		aside              string
	}{
		{"data", "checksum", "does not check", false, "state/CHECKPOINT"},
		{"other", "state", "another log", false, "state"},
		{"older", "state", "the log ends at", true, "state"},
		{"branch", "state", "other records", false, "state"},
	} {
		t.Run(tc.log, func(t *testing.T) {
			dir := "case-" + tc.log
			copyTree(t, mem, tc.log, dir)
			require.NoError(t, mem.RemoveAll(dir+"/state"))
			copyTree(t, mem, "data/state", dir+"/state")
			if tc.log == "data" {
				flip(t, mem, dir+"/state/CHECKPOINT", 30)
			} else {
				_, err := log.Open(dir, log.Options{FS: mem})
				require.ErrorIs(t, err, log.ErrStateAhead)
			}
			found := verify(t, mem, dir).Findings
			require.Len(t, found, 1)
			require.Equal(t, "CHECKPOINT", found[0].File)
			require.Equal(t, tc.check, found[0].Check)
			require.Contains(t, found[0].Detail, tc.detail)
			require.Equal(t, tc.lost, found[0].ToPosition > found[0].FromPosition)

			for _, dry := range []bool{true, false} {
				r, err := log.Repair(ctx, dir, log.RepairOptions{FS: mem, DryRun: dry})
				require.NoError(t, err)
				require.Equal(t, []string{tc.aside}, r.MovedAside)
				require.Empty(t, r.Written)
			}
			require.Empty(t, verify(t, mem, dir).Findings)
			l := open(t, mem, dir, log.Options{Logger: quiet})
			_, err := once(l, "new", "new", log.Synced)
			require.NoError(t, err)
			require.NoError(t, l.Close())
			require.Empty(t, verify(t, mem, dir).Findings)
		})
	}
}

// TestVerifyCutAtEveryByte cuts the file at every byte of a commit that was never synced: that is clean,
// with a note, before it is opened and after, and what was synced is there.
func TestVerifyCutAtEveryByte(t *testing.T) {
	mem := vfs.NewMem()
	l := open(t, mem, "data", log.Options{Durability: log.Written, SyncInterval: -1})
	kept := fill(t, l, "a", 1, 3, 100)
	require.NoError(t, l.Sync(ctx))
	path := "data/log/00000000000000000000-000000.seg"
	from := len(get(t, mem, path))
	tp, err := l.Topic("a")
	require.NoError(t, err)
	_, err = tp.Append(ctx, log.Record{Value: []byte("not synced")}, log.Record{Value: make([]byte, 100)})
	require.NoError(t, err)
	killed := vfs.NewMem()
	_, err = vfs.Clone(mem, killed, "data", "data")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	whole := get(t, killed, path)
	require.Greater(t, len(whole), from+200)
	for cut := from; cut < len(whole); cut++ {
		fs := vfs.NewMem()
		_, err := vfs.Clone(killed, fs, "data", "data")
		require.NoError(t, err)
		put(t, fs, path, whole[:cut])
		r := verify(t, fs, "data")
		require.Empty(t, r.Findings, "cut at %d", cut)
		if cut > from {
			require.Len(t, r.Notes, 1, "cut at %d", cut)
			require.Contains(t, r.Notes[0], "torn tail")
		}
		l := open(t, fs, "data", log.Options{Logger: quiet})
		require.Equal(t, kept, values(t, l, "a"), "cut at %d", cut)
		require.NoError(t, l.Close())
		require.Empty(t, verify(t, fs, "data").Findings, "cut at %d", cut)
	}
}
