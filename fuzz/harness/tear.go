package harness

import (
	"math/rand/v2"
	"path"
	"testing"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
)

// Tears is the workload whose writes are cut at every byte: they are small, and most are not synced.
func Tears() Workload {
	return Workload{
		Name: "tears", Options: log.Options{SegmentBytes: 64 << 10, SyncInterval: -1},
		Steps: func(s *Session) {
			s.Open()
			s.CreateTopic("a", log.TopicOptions{Partitions: 2})
			s.Commit(log.Synced, Put{Topic: "a", Bytes: 200})
			s.Commit(log.Written, Put{Topic: "a", Bytes: 20})
			s.Commit(log.Written, Put{Topic: "a", Partition: 1, Bytes: 400}, Put{Topic: "a", Bytes: 5})
			s.Commit(log.Written, Put{Topic: "a", Count: 3, Bytes: 200})
			s.Sync()
			s.Commit(log.Synced, Put{Topic: "a", Partition: 1, Bytes: 30})
			s.Reopen()
			s.Commit(log.Written, Put{Topic: "a", Partition: 1, Bytes: 700})
			s.Commit(log.Synced, Put{Topic: "a", Count: 2, Bytes: 600})
			s.Commit(log.Written, Put{Topic: "a", Bytes: 50})
			s.Crash(crashfs.Cut{Policy: crashfs.Torn, Ops: 1 << 20, Bytes: 100, Missing: crashfs.Garbage})
			s.Commit(log.Written, Put{Topic: "a", Partition: 1, Bytes: 90})
		},
	}
}

// longestTear is the size up to which a write is cut at every byte; others are at every sector.
const longestTear = 1200

// Tear cuts power behind each write of w, so that of the last write every prefix arrived, or every
// subset of its sectors; and so that of all unsynced blocks and names any subset arrived. What did not
// arrive is missing, or zeros, or, by whole sectors, garbage or bytes of an older segment.
func Tear(t testing.TB, w Workload, o Options) Stats {
	t.Helper()
	o = o.withDefaults()
	var images []image
	list := moments(t, &w, o.Seed)
	for k := range list {
		m := &list[k]
		if !m.op.After || m.op.Kind != crashfs.OpWrite {
			continue
		}
		rng := rand.New(rand.NewPCG(o.Seed, uint64(k)))
		stale := older(m)
		add := func(c crashfs.Cut) {
			fills := []crashfs.Fill{crashfs.Old, crashfs.Zeros, crashfs.Garbage, crashfs.Stale}
			if end := m.op.Offset + c.Bytes; c.Policy == crashfs.Torn && end%512 != 0 && c.Bytes < m.op.Len {
				fills = fills[:2] // a sector is written whole or not: no strange bytes behind a part of one
			}
			for _, fill := range fills {
				c.Missing, c.Stale = fill, stale
				c.Seed = rng.Uint64()
				images = append(images, image{m: m, cut: c})
			}
		}
		step := int64(1)
		if m.op.Len > longestTear {
			step = 512
		}
		for c := range m.snap.Tears(step) {
			add(c)
		}
		for c := range m.snap.Masks(512, 8) {
			add(c)
		}
		for range o.Draws {
			add(crashfs.Cut{Policy: crashfs.Subset, Block: 512})
			add(crashfs.Cut{Policy: crashfs.Subset, Block: 4096, EarlyUnlinks: true})
			add(crashfs.Cut{Policy: crashfs.SubsetWrites, Block: 512, Keep: 0.9})
		}
	}
	return checkImages(t, "T3", &w, images, o)
}

// older returns the bytes of the first segment, as a disk may have them where another file was.
func older(m *moment) []byte {
	fs := m.snap.Clone()
	for _, f := range fs.Files() {
		if path.Ext(f) == ".seg" {
			b, _ := fs.ReadFile(f)
			return b
		}
	}
	return nil
}
