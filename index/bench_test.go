package index

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func BenchmarkAdd(b *testing.B) {
	for _, partitions := range []uint32{1, 100, 10_000} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			b.ReportAllocs()
			m := NewMemory()
			p, round := uint32(0), int64(0)
			for i := 0; b.Loop(); i++ {
				if i&(1<<20-1) == 0 { // as many entries as a segment has
					m, p, round = NewMemory(), 0, 0
				}
				if m.Add(p, Entry{Offset: round, Byte: int64(i) & (1<<20 - 1) * 100, MaxTimestamp: round, Count: 1, Bytes: 90}) != nil {
					b.Fatal("entry refused")
				}
				if p++; p == partitions {
					p, round = 0, round+1
				}
			}
		})
	}
}

func BenchmarkFind(b *testing.B) {
	const entries = 200_000
	for _, partitions := range []uint32{1, 100, 10_000} {
		m := NewMemory()
		for i := range int64(entries) {
			o := i / int64(partitions)
			require.NoError(b, m.Add(uint32(i%int64(partitions)), Entry{Offset: o * 2, Byte: i * 500, MaxTimestamp: o, Count: 2, Bytes: 400}))
		}
		path := vfs.Default.PathJoin(b.TempDir(), "i.idx")
		require.NoError(b, Write(vfs.Default, path, testSegment, m))
		f, err := Open(vfs.Default, path, testSegment)
		require.NoError(b, err)
		for name, r := range map[string]Reader{"memory": m, "file": f} {
			b.Run(fmt.Sprintf("in=%s/partitions=%d", name, partitions), func(b *testing.B) {
				b.ReportAllocs()
				rng := rand.New(rand.NewPCG(1, 1))
				last := int64(entries/partitions) * 2
				for b.Loop() {
					o := rng.Int64N(last)
					e, ok, err := r.Find(rng.Uint32N(partitions), o)
					if err != nil || !ok || e.Offset != o&^1 {
						b.Fatal(o, e, ok, err)
					}
				}
			})
		}
		b.Logf("%d partitions: %.2f bytes an entry in the file", partitions, float64(f.Size())/entries)
		require.NoError(b, f.Close())
	}
}
