package bench_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// fewAllocs is how many allocations a commit of 100 records may make, all told: a hundredth of them
// would be one a record.
const fewAllocs = 5

// allocated returns how many allocations f made, in all goroutines.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// TestAppendAllocates fails when appending 1 KiB records in commits of 100 without sync allocates
// anything per record.
func TestAppendAllocates(t *testing.T) {
	const commits = 1000
	for _, d := range []log.Durability{log.Written, log.Buffered} {
		t.Run(d.String(), func(t *testing.T) {
			l, tp := openTopic(t, t.TempDir(), unsynced(d), 1)
			p := tp.Partition(0)
			w := newWriter(l, p, 1<<10, 100)
			for range 100 { // so that all buffers have their size
				require.NoError(t, w.commit())
			}
			n := allocated(func() {
				for range commits {
					if err := w.commit(); err != nil {
						t.Fatal(err)
					}
				}
			})
			t.Logf("%.2f allocations a commit", float64(n)/commits)
			require.Less(t, float64(n)/commits, float64(fewAllocs))
			check(t, l, p, 1<<10, w.next)
		})
	}
}

// TestReplayAllocates fails when reading such commits back allocates anything per record.
func TestReplayAllocates(t *testing.T) {
	const records = 100_000
	l, tp := openTopic(t, t.TempDir(), unsynced(log.Written), 1)
	p := tp.Partition(0)
	load(t, l, p, 1<<10, records)
	for _, tc := range []struct {
		name string
		read func(func(log.Record, error) bool)
	}{{"partition", p.Read(log.Oldest)}, {"topic", tp.Read(log.Oldest)}, {"log", l.Read(log.Oldest)}} {
		t.Run(tc.name, func(t *testing.T) {
			n := allocated(func() {
				got, _, err := replay(tc.read)
				require.NoError(t, err)
				require.Equal(t, records, got)
			})
			t.Logf("%.4f allocations a record", float64(n)/records)
			require.Less(t, n, uint64(records/100), "less than one a commit")
		})
	}
}
