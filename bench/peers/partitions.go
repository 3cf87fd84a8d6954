package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/stratalog/strata/log"
)

// partitionWorkload is W10. No peer has partitions, so that its rates are compared with each other:
// "whole" is the replay of everything, "one" that of a single partition.
var partitionWorkload = workload{
	name: "W10", title: "4 topics of 8 partitions, commits of 100 records of 1 KiB to one each in turn, not synced",
	cases: []string{"append", "whole", "one", "one-cold"}, takes: func(e engine) bool { return e.name == "strata" }, trial: partitionTrial,
	more: []column{{"share", "of the rate of the whole"}, {"amplification", "bytes read / bytes wanted"}},
}

const (
	manyTopics     = 4
	manyPartitions = 8 // of each topic
)

// partitionTrial is a trial of W10. All cases but "append" read one log.
func partitionTrial(b *run, _ engine, name string) (values, error) {
	if name == "append" {
		dir, clean, err := b.newDir()
		if err != nil {
			return nil, err
		}
		defer clean()
		if err := supplyPages(b.pages); err != nil {
			return nil, err
		}
		began := time.Now()
		l, n, err := b.interleave(dir, int(b.unsyncedBytes)/readSize)
		if err != nil {
			return nil, err
		}
		took := time.Since(began)
		return values{"rate": float64(n) / took.Seconds()}, l.Close()
	}
	const key = "partitions"
	if b.loads[key] == nil {
		dir := filepath.Join(b.scratch, key)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		l, _, err := b.interleave(dir, b.records)
		if err != nil {
			return nil, err
		}
		if err := l.Sync(background); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		b.loads[key] = &loadedLog{s: &strataStore{l: l}, dir: dir}
	}
	l := b.loads[key].s.(*strataStore).l
	whole, _, err := b.readPartitions(l, -1)
	if err != nil {
		return nil, err
	}
	if name == "whole" {
		return values{"rate": whole, "share": 1}, nil
	}
	if name == "one-cold" {
		// The kernel forgets nothing that is mapped, as the log maps what it was read from.
		if err := l.Close(); err != nil {
			return nil, err
		}
		if err := forget(filepath.Join(b.loads[key].dir, "log")); err != nil {
			return nil, err
		}
		if l, err = log.Open(b.loads[key].dir, log.Options{Logger: quietLogger}); err != nil {
			return nil, err
		}
		b.loads[key].s = &strataStore{l: l}
	}
	times := manyTopics * manyPartitions // as many records as the whole has
	if name == "one-cold" {
		times = 1
	}
	var rate, read, seconds float64
	for range times {
		if rate, read, err = b.readPartitions(l, 13); err != nil {
			return nil, err
		}
		seconds += 1 / rate
	}
	rate = float64(times) / seconds
	v := values{"rate": rate, "share": rate / whole}
	if name == "one-cold" && read > 0 {
		v["amplification"] = read
	}
	return v, nil
}

// interleave opens a log in dir and appends n records or a little more.
func (b *run) interleave(dir string, n int) (*log.Log, int, error) {
	l, err := log.Open(dir, log.Options{Durability: log.Written, SyncInterval: -1, Logger: quietLogger})
	if err != nil {
		return nil, 0, err
	}
	var all []*log.Partition
	for i := range manyTopics {
		t, err := l.CreateTopic(background, fmt.Sprint("events-", i), log.TopicOptions{Partitions: manyPartitions})
		if err != nil {
			return nil, 0, errors.Join(err, l.Close())
		}
		for j := range int32(manyPartitions) {
			all = append(all, t.Partition(j))
		}
	}
	payloads := b.payloads[readSize]
	c := l.NewCommit()
	done := 0
	for i := 0; done < n; i++ {
		c.Reset()
		for _, r := range payloads[done%b.cycle : done%b.cycle+100] {
			c.AppendTo(all[i%len(all)], log.Record{Value: r})
		}
		if _, err := c.Commit(background); err != nil {
			return nil, 0, errors.Join(err, l.Close())
		}
		done += 100
	}
	return l, done, nil
}

// readPartitions replays one partition, or with -1 the whole log, and returns records a second, and how
// many bytes came from the disk for each byte of a record.
func (b *run) readPartitions(l *log.Log, one int) (rate, amplification float64, err error) {
	records := l.Read(log.Oldest)
	want := -1
	if one >= 0 {
		t, err := l.Topic(fmt.Sprint("events-", one/manyPartitions))
		if err != nil {
			return 0, 0, err
		}
		p := t.Partition(int32(one % manyPartitions))
		records, want = p.Read(log.Oldest), int(p.Next())
	}
	runtime.GC()
	before := diskRead()
	n, wrong := 0, 0
	began := time.Now()
	for r, err := range records {
		if err != nil {
			return 0, 0, err
		}
		if n%128 == 0 && one < 0 && !bytes.Equal(r.Value, b.payloads[readSize][n%b.cycle]) || len(r.Value) != readSize {
			wrong++
		}
		n++
	}
	took := time.Since(began)
	if wrong > 0 || n == 0 || want >= 0 && n != want {
		return 0, 0, fmt.Errorf("replayed %d records of %d, %d wrong", n, want, wrong)
	}
	return float64(n) / took.Seconds(), float64(diskRead()-before) / float64(n*readSize), nil
}
