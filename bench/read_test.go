package bench_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// loaded is how many records a log for reading has, of 1 KiB, in commits of 100.
const loaded = 500_000

// BenchmarkReplay is W6: every record once, every frame checked. An operation is a whole replay.
func BenchmarkReplay(b *testing.B) {
	const size = 1 << 10
	n := scaled(loaded)
	l, t := openTopic(b, b.TempDir(), unsynced(log.Written), 1)
	p := t.Partition(0)
	load(b, l, p, size, n)
	for _, tc := range []struct {
		name string
		read func() (records, total int, err error)
	}{
		{"of=partition", func() (int, int, error) { return replay(p.Read(log.Oldest)) }},
		{"of=topic", func() (int, int, error) { return replay(t.Read(log.Oldest)) }},
		{"of=log", func() (int, int, error) { return replay(l.Read(log.Oldest)) }},
	} {
		b.Run(tc.name+"/record=1KiB/batch=100", func(b *testing.B) {
			b.SetBytes(int64(n * size))
			b.ReportAllocs()
			rounds := 0
			for b.Loop() {
				records, total, err := tc.read()
				if err != nil || records != n || total != n*size {
					b.Fatalf("%d records of %d bytes: %v", records, total, err)
				}
				rounds++
			}
			rate(b, rounds*n)
		})
	}
}

// replay counts records and bytes.
func replay(records func(yield func(log.Record, error) bool)) (n, total int, err error) {
	for r, err := range records {
		if err != nil {
			return n, total, err
		}
		n++
		total += len(r.Value)
	}
	return n, total, nil
}

// BenchmarkPointRead is W7: records at random offsets, warm.
func BenchmarkPointRead(b *testing.B) {
	const size = 1 << 10
	for _, batch := range []int{1, 100} {
		b.Run(named("1KiB", batch), func(b *testing.B) {
			n := scaled(loaded)
			l, t := openTopic(b, b.TempDir(), unsynced(log.Written), 1)
			p := t.Partition(0)
			w := newWriter(l, p, size, batch)
			for w.next < n {
				require.NoError(b, w.commit())
			}
			require.NoError(b, l.Sync(ctx))
			rng := rand.New(rand.NewPCG(1, 2))
			b.SetBytes(size)
			b.ReportAllocs()
			done := 0
			for b.Loop() {
				i := rng.IntN(n)
				r, err := p.Get(int64(i))
				if err != nil || !bytes.Equal(r.Value, w.from[i%len(w.from)]) {
					b.Fatalf("record %d: %v", i, err)
				}
				done++
			}
			rate(b, done)
		})
	}
}

// BenchmarkPointReadInto is W7 as its harness reads: into the same memory again, after each record was read once.
func BenchmarkPointReadInto(b *testing.B) {
	const size = 1 << 10
	n := scaled(loaded)
	l, t := openTopic(b, b.TempDir(), unsynced(log.Written), 1)
	p := t.Partition(0)
	w := newWriter(l, p, size, 100)
	for w.next < n {
		require.NoError(b, w.commit())
	}
	require.NoError(b, l.Sync(ctx))
	var r log.Record
	var buf []byte
	var err error
	read := func(i int) {
		if buf, err = p.GetInto(int64(i), &r, buf); err != nil || !bytes.Equal(r.Value[:40], w.from[i%len(w.from)][:40]) {
			b.Fatalf("record %d: %v", i, err)
		}
	}
	for i := range n {
		read(i)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	b.Run(named("1KiB", 100), func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		done := 0
		for b.Loop() {
			read(rng.IntN(n))
			done++
		}
		rate(b, done)
	})
}

// BenchmarkFollow is W9: the time from before an append to the follower's having the record, at
// 10,000 records a second. An operation is one record.
func BenchmarkFollow(b *testing.B) {
	l, t := openTopic(b, b.TempDir(), log.Options{Durability: log.Written}, 1)
	p := t.Partition(0)
	following, stop := context.WithCancel(ctx)
	defer stop()
	started := time.Now()
	all := make([]time.Duration, 0, b.N)
	done := make(chan error, 1)
	go func() {
		for r, err := range p.Follow(following, log.Oldest, log.ReadOptions{Unsynced: true}) {
			if err != nil {
				done <- err
				return
			}
			all = append(all, time.Since(started)-time.Duration(binary.LittleEndian.Uint64(r.Value)))
			if len(all) == b.N {
				break
			}
		}
		done <- nil
	}()
	value := slices.Clone(payloads[128][0])
	w := l.NewCommit()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		for due := time.Duration(i) * 100 * time.Microsecond; b.Elapsed() < due; {
			pause(due - b.Elapsed())
		}
		binary.LittleEndian.PutUint64(value, uint64(time.Since(started)))
		w.Reset()
		w.AppendTo(p, log.Record{Value: value})
		if _, err := w.Commit(ctx); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, <-done)
	b.StopTimer()
	require.Len(b, all, b.N)
	latencies(b, all)
}

// pause sleeps as shortly as the runtime can: its timers are good to some tens of microseconds when
// there is other work, and to a millisecond when there is none.
func pause(d time.Duration) {
	if d > 2*time.Millisecond {
		time.Sleep(d - time.Millisecond)
	} else {
		shortSleep(d)
	}
}

// BenchmarkReplayOnePartition is the second half of W10: one of 32 interleaved partitions, alone.
func BenchmarkReplayOnePartition(b *testing.B) {
	const size = 1 << 10
	l, partitions := interleaved(b)
	w := newWriter(l, nil, size, 100)
	commits := scaled(loaded) / 100
	for i := range commits {
		w.p = partitions[i%len(partitions)]
		require.NoError(b, w.commit())
	}
	require.NoError(b, l.Sync(ctx))
	p := partitions[3]
	want := int(p.Next())
	b.SetBytes(int64(want * size))
	b.ReportAllocs()
	rounds := 0
	for b.Loop() {
		n, _, err := replay(p.Read(log.Oldest))
		if err != nil || n != want {
			b.Fatalf("%d records instead of %d: %v", n, want, err)
		}
		rounds++
	}
	rate(b, rounds*want)
}
