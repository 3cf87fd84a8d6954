package crashfs_test

import (
	"fmt"
	"testing"

	"github.com/stratalog/strata/fuzz/crashfs"
)

// BenchmarkCrash measures what one crash point costs on a directory of files of 1 MiB: a write
// of 200 bytes with a snapshot behind it, and an image of such a snapshot. The cost
// must not depend on the bytes in the files.
func BenchmarkCrash(b *testing.B) {
	for _, n := range []int{10, 100} {
		fs := crashfs.New(crashfs.Options{})
		for i := range n {
			fs.WriteFile(fmt.Sprintf("d/%03d", i), []byte(fill('x', 1<<20)))
		}
		f, err := fs.OpenReadWrite("d/000", "")
		if err != nil {
			b.Fatal(err)
		}
		data := []byte(fill('y', 200))
		b.Run(fmt.Sprintf("write+sync+snapshot/files=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if _, err := f.WriteAt(data, int64(i%5000)*200); err != nil {
					b.Fatal(err)
				}
				if err := f.SyncData(); err != nil {
					b.Fatal(err)
				}
				if fs.Snapshot() == nil {
					b.Fatal("no snapshot")
				}
			}
		})
		for i := range 10 {
			writeAt(b, fs, "d/000", int64(i)*5000, string(data))
		}
		create(b, fs, "d/new", "")
		snap := fs.Snapshot()
		for _, cut := range []crashfs.Cut{{}, {Policy: crashfs.All}, {Policy: crashfs.Subset, Block: 512}} {
			b.Run(fmt.Sprintf("image=%s/files=%d", cut.Policy, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					cut.Seed = uint64(i)
					if img := snap.Image(cut); img.Ops() != 0 {
						b.Fatal("an image begins anew")
					}
				}
			})
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
