package harness

import (
	"strings"
	"time"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// derived reports whether a file is of the state or of projections, which may come and go.
func derived(path string) bool {
	return strings.Contains(path, "/state") || strings.Contains(path, "/projections")
}

func hasNewExt(path string) bool { return strings.HasSuffix(path, ".new") }

// Workloads returns those by which the log itself is tested. Each has about forty calls.
func Workloads() []Workload {
	small := log.Options{SegmentBytes: 64 << 10, SyncInterval: -1}
	// Rare enough for the log to come to rest before it is due, and often enough to be due at times.
	timed := log.Options{SegmentBytes: 64 << 10, SyncInterval: 70 * time.Millisecond}
	return []Workload{
		{Name: "mixed", Options: small, Steps: mixed},
		{Name: "rolls", Options: small, Steps: rolls},
		{Name: "timed", Options: timed, Steps: timedSteps},
		{Name: "topics", Options: small, Steps: topics},
		{Name: "crashes", Options: small, Steps: crashes},
		{Name: "ahead", Options: log.Options{SegmentBytes: 256 << 10, SyncInterval: -1}, Steps: ahead},
	}
}

// ahead syncs enough for the log to write zeros behind commit groups, and then commits over them.
func ahead(s *Session) {
	s.Open()
	s.CreateTopic("a", log.TopicOptions{Partitions: 2})
	for range 3 {
		s.Commit(log.Synced, Put{Topic: "a", Bytes: 24 << 10})
	}
	for i := range 5 {
		s.Commit(log.Synced, Put{Topic: "a", Partition: int32(i % 2), Bytes: 100 + 3000*i})
	}
	s.Commit(log.Written, Put{Topic: "a", Bytes: 300})
	s.Commit(log.Synced, Put{Topic: "a", Partition: 1, Bytes: 7000})
	s.Read()
	s.Reopen()
	s.Commit(log.Written, Put{Topic: "a", Bytes: 2000})
	s.Commit(log.Synced, Put{Topic: "a", Bytes: 20 << 10})
}

// Prepared is a workload that appends enough for segments to be prepared ahead.
func Prepared() Workload {
	return Workload{
		Name: "prepared", Options: log.Options{SegmentBytes: 1 << 20, SyncInterval: -1},
		Steps: func(s *Session) {
			s.Open()
			s.CreateTopic("a", log.TopicOptions{Partitions: 2})
			for i := range 60 {
				s.Commit(log.Written, Put{Topic: "a", Partition: int32(i % 2), Bytes: 40 << 10})
				if i%20 == 19 {
					s.Sync()
				}
				if i == 40 {
					s.Read()
				}
			}
			s.Commit(log.Synced, Put{Topic: "a", Bytes: 100})
			s.Reopen()
			s.Commit(log.Synced, Put{Topic: "a", Partition: 1, Bytes: 100})
		},
	}
}

// mixed mixes durabilities, sizes and topics, with a clean end in between.
func mixed(s *Session) {
	s.Open()
	s.CreateTopic("a", log.TopicOptions{Partitions: 2})
	s.CreateTopic("b", log.TopicOptions{Compression: record.Zstd})
	for i := range 12 {
		d := log.Durability(i % 3)
		s.Commit(d, Put{Topic: "a", Partition: int32(i % 2), Bytes: 50 * i}, Put{Topic: "b", Count: 1 + i%3, Bytes: 90})
	}
	s.Read()
	s.Async(log.Synced, Put{Topic: "a", Bytes: 300})
	s.Async(log.Written, Put{Topic: "a", Partition: 1, Bytes: 600})
	s.Async(log.Synced, Put{Topic: "b", Bytes: 900}, Put{Topic: "a", Bytes: 10})
	s.Wait()
	s.Reopen()
	for i := range 10 {
		d := log.Durability((i + 1) % 3)
		s.Commit(d, Put{Topic: "b", Bytes: 700}, Put{Topic: "a", Partition: int32(i % 2), Bytes: 100})
	}
	s.CommitCanceled(log.Synced, Put{Topic: "a", Bytes: 10})
	s.Sync()
	s.Commit(log.Buffered, Put{Topic: "a", Bytes: 10})
	s.Commit(log.Written, Put{Topic: "a", Partition: 1, Bytes: 1000})
	s.Read()
}

// rolls goes through several segments.
func rolls(s *Session) {
	s.Open()
	s.CreateTopic("a", log.TopicOptions{Partitions: 2})
	s.CreateTopic("b", log.TopicOptions{})
	for i := range 24 {
		d := log.Durability(i % 3)
		if i%6 == 5 {
			d = log.Synced
		}
		s.Commit(d, Put{Topic: "a", Partition: int32(i % 2), Bytes: 9 << 10}, Put{Topic: "b", Bytes: 50})
		if i == 12 {
			s.Reopen()
		}
	}
	s.DeleteTopic("b")
	s.Commit(log.Written, Put{Topic: "a", Bytes: 20 << 10})
	s.Commit(log.Written, Put{Topic: "a", Bytes: 20 << 10})
	s.CreateTopic("b", log.TopicOptions{Partitions: 3})
	s.Commit(log.Synced, Put{Topic: "b", Partition: 2, Bytes: 20 << 10})
	s.Commit(log.Buffered, Put{Topic: "b", Partition: 1, Bytes: 20 << 10})
	s.Read()
	// Segments end here with commits that nobody has synced.
	for range 7 {
		s.Commit(log.Written, Put{Topic: "b", Bytes: 14 << 10})
	}
}

// timedSteps lets the clock run, so that the log syncs and marks by itself.
func timedSteps(s *Session) {
	s.Open()
	s.CreateTopic("a", log.TopicOptions{Partitions: 2})
	for i := range 10 {
		s.Commit(log.Durability(1+i%2), Put{Topic: "a", Partition: int32(i % 2), Bytes: 100 * i})
		s.Advance(time.Duration(i) * 13 * time.Millisecond)
		if i%3 == 2 {
			s.Read()
		}
	}
	s.Advance(time.Second)
	s.Read()
	s.Commit(log.Synced, Put{Topic: "a", Bytes: 10})
	s.Advance(time.Second)
	s.Reopen()
	s.Commit(log.Written, Put{Topic: "a", Bytes: 10})
	s.Commit(log.Buffered, Put{Topic: "a", Bytes: 10})
	s.Advance(time.Millisecond)
	s.Advance(time.Second)
	s.Commit(log.Written, Put{Topic: "a", Bytes: 3000})
	s.Advance(70 * time.Millisecond)
	s.Read()
	s.Commit(log.Buffered, Put{Topic: "a", Bytes: 10})
}

// topics makes and deletes topics among commits.
func topics(s *Session) {
	s.Open()
	for i := range 5 {
		name := string(rune('a' + i))
		s.CreateTopic(name, log.TopicOptions{Partitions: 1 + i, Compression: record.Codec(i % 2)})
		s.Commit(log.Durability(i%3), Put{Topic: name, Partition: int32(i), Bytes: 200}, Put{Topic: "a", Bytes: 200})
	}
	s.DeleteTopic("c")
	s.Commit(log.Written, Put{Topic: "d", Bytes: 200})
	s.CreateTopic("c", log.TopicOptions{Partitions: 2})
	s.Commit(log.Synced, Put{Topic: "c", Partition: 1, Bytes: 200})
	s.Reopen()
	s.DeleteTopic("d")
	s.Commit(log.Buffered, Put{Topic: "c", Bytes: 200})
	s.DeleteTopic("a")
	s.CreateTopic("a", log.TopicOptions{})
	s.Commit(log.Written, Put{Topic: "a", Bytes: 100})
	s.Read()
}

// crashes loses power and is killed in between, so that there are torn tails and short segments.
func crashes(s *Session) {
	s.Open()
	s.CreateTopic("a", log.TopicOptions{Partitions: 2})
	for round := range 4 {
		s.Commit(log.Synced, Put{Topic: "a", Bytes: 500})
		s.Commit(log.Written, Put{Topic: "a", Partition: 1, Bytes: 700}, Put{Topic: "a", Bytes: 3000})
		s.Commit(log.Written, Put{Topic: "a", Partition: 1, Bytes: 1500})
		switch round {
		case 0:
			s.Crash(crashfs.Cut{Policy: crashfs.Subset, Block: 512, Seed: s.Rand.Uint64(), Missing: crashfs.Zeros})
		case 1:
			s.Kill()
		case 2:
			s.Crash(crashfs.Cut{Policy: crashfs.Subset, Block: 512, Seed: s.Rand.Uint64(), Missing: crashfs.Garbage})
		case 3:
			s.Crash(crashfs.Cut{})
		}
		s.Commit(log.Buffered, Put{Topic: "a", Bytes: 400})
		s.Read()
	}
	s.Commit(log.Synced, Put{Topic: "a", Partition: 1, Bytes: 100})
}
