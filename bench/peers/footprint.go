package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
)

// footprintWorkload is W11.
var footprintWorkload = workload{
	name: "W11", title: "what a log of 1 KiB records in commits of 100 takes", value: "disk", unit: "bytes on disk/record", lower: true,
	cases: []string{"1KiB"}, takes: notYardstick, trial: footprintTrial,
	more: []column{{"replay-allocs", "allocs/record on replay"}, {"heap-tenth", "heap MiB at a tenth"}, {"heap", "heap MiB at the end"}},
}

// footprintTrial is a trial of W11, of three tenths of the records that are read elsewhere: the live heap when a
// tenth of them is there, and when all are.
func footprintTrial(b *run, e engine, _ string) (v values, err error) {
	dir, clean, err := b.newDir()
	if err != nil {
		return nil, err
	}
	defer clean()
	records := b.records * 3 / 10
	base := liveHeap()
	s, err := e.open(dir, options{})
	if err != nil {
		return nil, err
	}
	w, payloads := s.writer(), b.payloads[readSize]
	v = values{}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for n := 0; n < records; n += 100 {
		if n == records/10/100*100 {
			v["heap-tenth"] = liveHeap() - base
		}
		at := n % b.cycle
		if err := w.append(payloads[at : at+100]); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	runtime.ReadMemStats(&after)
	v["allocs"] = float64(after.Mallocs-before.Mallocs) / float64(records)
	v["heap"] = liveHeap() - base
	if r, ok := s.(replayer); ok {
		n := 0
		runtime.ReadMemStats(&before)
		if err := r.replay(func([]byte) { n++ }); err != nil {
			return nil, errors.Join(err, s.close())
		}
		runtime.ReadMemStats(&after)
		v["replay-allocs"] = float64(after.Mallocs-before.Mallocs) / float64(max(n, 1))
	}
	if err := s.close(); err != nil {
		return nil, err
	}
	disk, err := diskBytes(dir)
	v["disk"] = float64(disk) / float64(records)
	return v, err
}

// liveHeap returns how many MiB of the heap are in use.
func liveHeap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools kept goes with the second
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// diskBytes returns what the files in dir occupy on disk.
func diskBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += occupied(info)
		}
		return err
	})
	return total, err
}
