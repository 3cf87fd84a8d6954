package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/bench"
	"github.com/stratalog/strata/log"
)

var ctx = context.Background()

// sizes are the record sizes that appends are measured with.
var sizes = []struct {
	name  string
	bytes int
}{{"128B", 128}, {"1KiB", 1 << 10}}

// payloads are shared by all benchmarks: 4096 different records of a size.
var payloads = map[int][][]byte{}

func init() {
	for _, s := range sizes {
		payloads[s.bytes] = bench.Payloads(4096, s.bytes)
	}
}

// unsynced leaves syncing to Close, as engines without it are measured.
func unsynced(d log.Durability) log.Options {
	return log.Options{Durability: d, SyncInterval: -1}
}

// open opens a log in dir that is closed at the end.
func open(tb testing.TB, dir string, o log.Options) *log.Log {
	tb.Helper()
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	l, err := log.Open(dir, o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, l.Close()) })
	return l
}

// openTopic is open with a topic in the log.
func openTopic(tb testing.TB, dir string, o log.Options, partitions int) (*log.Log, *log.Topic) {
	tb.Helper()
	l := open(tb, dir, o)
	t, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: partitions})
	require.NoError(tb, err)
	return l, t
}

// writer makes commits of batch records to p, the payloads in turn.
type writer struct {
	c     *log.Commit
	p     *log.Partition
	from  [][]byte
	batch int
	next  int
}

func newWriter(l *log.Log, p *log.Partition, size, batch int) *writer {
	return &writer{c: l.NewCommit(), p: p, from: payloads[size], batch: batch}
}

// fill makes w.c the next commit.
func (w *writer) fill() *log.Commit {
	w.c.Reset()
	for range w.batch {
		w.c.AppendTo(w.p, log.Record{Value: w.from[w.next%len(w.from)]})
		w.next++
	}
	return w.c
}

func (w *writer) commit() error {
	_, err := w.fill().Commit(ctx)
	return err
}

// load appends n records in commits of 100.
func load(tb testing.TB, l *log.Log, p *log.Partition, size, n int) {
	tb.Helper()
	w := newWriter(l, p, size, 100)
	for w.next < n {
		require.NoError(tb, w.commit())
	}
	require.NoError(tb, l.Sync(ctx))
}

// check fails unless p has exactly n records, of which the last is what was appended last.
func check(tb testing.TB, l *log.Log, p *log.Partition, size, n int) {
	tb.Helper()
	require.NoError(tb, l.Sync(ctx))
	require.EqualValues(tb, n, p.Next())
	r, err := p.Get(int64(n - 1))
	require.NoError(tb, err)
	require.Equal(tb, payloads[size][(n-1)%len(payloads[size])], r.Value)
}

// rate reports records a second.
func rate(b *testing.B, records int) {
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

// scaled is n, or less with -short, where it is to be quick.
func scaled(n int) int {
	if testing.Short() {
		return n / 50
	}
	return n
}

// latencies reports quantiles.
func latencies(b *testing.B, all []time.Duration) {
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50-us", 0.5}, {"p99-us", 0.99}} {
		b.ReportMetric(float64(bench.Quantile(all, q.at))/1e3, q.name)
	}
}

func named(record string, batch int) string { return fmt.Sprintf("record=%s/batch=%d", record, batch) }
