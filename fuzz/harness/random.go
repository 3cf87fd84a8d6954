package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// background is for calls that nothing ends.
var background = context.Background()

// Draw returns a number of [0, n). The label says what for.
type Draw func(label string, n int) int

// draw draws from the session's own source.
func (s *Session) draw(_ string, n int) int { return s.Rand.IntN(n) }

// Random is a workload of drawn calls, crashes and kills among them.
func Random(seed uint64, steps int) Workload {
	return Workload{
		Name:    fmt.Sprintf("random-%d", seed),
		Options: log.Options{SegmentBytes: 64 << 10, SyncInterval: time.Duration([]int{0, -1}[seed%2])},
		Steps: func(s *Session) {
			s.Open()
			s.CreateTopic("a", log.TopicOptions{Partitions: 2})
			for range steps {
				s.step(s.draw)
			}
			s.Read()
		},
	}
}

// topicNames are those that drawn calls use.
var topicNames = []string{"a", "b", "c"}

// step makes one drawn call.
func (s *Session) step(draw Draw) {
	switch k := draw("call", 24); {
	case k < 11:
		s.Commit(log.Durability(draw("durability", 3)), s.drawPuts(draw)...)
	case k < 14:
		s.Async(log.Durability(draw("durability", 3)), s.drawPuts(draw)...)
	case k == 14:
		s.Wait()
	case k == 15:
		s.CommitCanceled(log.Durability(draw("durability", 3)), s.drawPuts(draw)...)
	case k == 16:
		s.Sync()
	case k == 17:
		s.Read()
	case k == 18:
		s.CreateTopic(topicNames[draw("topic", len(topicNames))], log.TopicOptions{
			Partitions: 1 + draw("partitions", 3), Compression: record.Codec(draw("codec", 2)),
		})
	case k == 19 && draw("delete", 3) == 0:
		if name := topicNames[draw("topic", len(topicNames))]; s.HasTopic(name) {
			s.Wait()
			s.DeleteTopic(name)
		}
	case k == 20:
		s.Reopen()
	case k == 21:
		s.Kill()
	case k == 22 && s.crash != nil:
		s.Crash(s.drawCut(draw))
	default:
		s.Advance(time.Duration(draw("milliseconds", 150)) * time.Millisecond)
	}
}

// drawPuts draws what a commit appends. Without a topic it is nothing.
func (s *Session) drawPuts(draw Draw) []Put {
	var puts []Put
	v := s.View()
	topics := v.fold(len(v.attempts)).topics
	for range 1 + draw("puts", 3) {
		name := topicNames[draw("topic", len(topicNames))]
		if t := topics[name]; t != nil {
			puts = append(puts, Put{
				Topic: name, Partition: int32(draw("partition", len(t.parts))), Count: 1 + draw("count", 3),
				Bytes: []int{0, 30, 400, 1500, 3200}[draw("bytes", 5)],
			})
		}
	}
	return puts
}

// drawCut draws what a power cut leaves.
func (s *Session) drawCut(draw Draw) crashfs.Cut {
	fills := []crashfs.Fill{crashfs.Old, crashfs.Zeros, crashfs.Garbage, crashfs.Mixed}
	c := crashfs.Cut{Seed: uint64(draw("cut", 1<<30)), Missing: fills[draw("missing", 4)], EarlyUnlinks: draw("early", 4) == 0}
	n := len(s.crash.Snapshot().Unsynced())
	switch draw("policy", 6) {
	case 0:
		c.Policy = crashfs.All
	case 1:
		c.Policy, c.Ops, c.Bytes = crashfs.Torn, draw("ops", n+1), int64(draw("tear", 1000))
	case 2:
		c.Policy, c.Block = crashfs.Subset, 512
	case 3:
		c.Policy = crashfs.Subset
	case 4:
		c.Policy = crashfs.SubsetEntries
	}
	return c
}

// Model makes steps drawn calls on a new log, and compares it with the oracle after each crash and at
// the end: a test that is given its draws by something that can shrink them finds a short way to fail.
func Model(draw Draw, steps int) error {
	w := Random(uint64(draw("configuration", 2)), 0)
	s := newSession(&w, crashfs.New(crashfs.Options{}), 1, View{})
	s.Open()
	s.CreateTopic("a", log.TopicOptions{Partitions: 2})
	for range steps {
		s.step(draw)
		if err := s.violated(); err != nil {
			s.abandon()
			return err
		}
	}
	s.Read()
	if kill := draw("end", 2) == 0; kill {
		s.die(s.crash.Snapshot().Clone())
	} else {
		s.Close()
	}
	fs, v := s.crash, s.View()
	fs.SetHook(nil)
	if err := s.violated(); err != nil {
		return err
	}
	return check(&w, fs, v, 1, true)
}

// Configuration is one way to run what Same runs.
type Configuration struct {
	Name    string
	Options log.Options
	// Levels are the durabilities of the commits, in turn.
	Levels []log.Durability
	Codec  record.Codec
	// Single gives each record a commit of its own. Reopen closes and opens the log after so many
	// commits, 0 never.
	Single bool
	Reopen int
}

// Configurations are those of T8: each alone differs from the first.
func Configurations() []Configuration {
	small := log.Options{SegmentBytes: 64 << 10}
	synced := []log.Durability{log.Synced}
	return []Configuration{
		{Name: "plain", Options: small, Levels: synced},
		{Name: "large segments", Options: log.Options{SegmentBytes: 1 << 20}, Levels: synced},
		{Name: "default options", Levels: synced},
		{Name: "written", Options: small, Levels: []log.Durability{log.Written}},
		{Name: "buffered", Options: small, Levels: []log.Durability{log.Buffered}},
		{Name: "mixed levels", Options: small, Levels: []log.Durability{log.Buffered, log.Synced, log.Written}},
		{Name: "no background sync", Options: log.Options{SegmentBytes: 64 << 10, SyncInterval: -1}, Levels: []log.Durability{log.Written}},
		{Name: "zstd", Options: small, Levels: synced, Codec: record.Zstd},
		{Name: "gzip", Options: small, Levels: synced, Codec: record.Gzip},
		{Name: "snappy", Options: small, Levels: synced, Codec: record.Snappy},
		{Name: "single records", Options: small, Levels: synced, Single: true},
		{Name: "reopened after each", Options: small, Levels: synced, Reopen: 1},
		{Name: "reopened, mixed", Options: small, Levels: []log.Durability{log.Written, log.Buffered}, Reopen: 7},
	}
}

// Same runs the same calls under every configuration: the histories must be equal, record for record,
// read by scan, by index, from every position and by followers. It returns how many records they have.
func Same(t testing.TB, seed uint64, commits int) int {
	t.Helper()
	var first []string
	for _, c := range Configurations() {
		h, err := c.history(seed, commits)
		if err != nil {
			t.Fatalf("T8 seed=%d %s: %v", seed, c.Name, err)
		}
		if first == nil {
			first = h
		}
		if len(h) != len(first) {
			t.Fatalf("T8 seed=%d %s: %d records, not %d", seed, c.Name, len(h), len(first))
		}
		for i := range h {
			if h[i] != first[i] {
				t.Fatalf("T8 seed=%d %s: record %d is %s, not %s", seed, c.Name, i, h[i], first[i])
			}
		}
	}
	return len(first)
}

// history appends by the drawn calls of seed and returns what is read.
func (c *Configuration) history(seed uint64, commits int) ([]string, error) {
	w := Workload{Name: c.Name, Options: c.Options, Opaque: true}
	fs := crashfs.New(crashfs.Options{})
	s := newSession(&w, fs, seed, View{})
	calls := rand.New(rand.NewPCG(seed, 11))
	s.Open()
	for i, name := range topicNames {
		s.CreateTopic(name, log.TopicOptions{Partitions: 1 + i, Compression: c.Codec})
	}
	for i := range commits {
		var puts []Put
		for range 1 + calls.IntN(3) {
			at := calls.IntN(len(topicNames))
			puts = append(puts, Put{Topic: topicNames[at], Partition: int32(calls.IntN(1 + at)), Bytes: calls.IntN(2500)})
		}
		s.commitIn(c, i, puts)
		if c.Reopen > 0 && i%c.Reopen == c.Reopen-1 {
			s.Reopen()
		}
	}
	s.Sync()
	h, err := readAllWays(s.l)
	s.Close()
	return h, errors.Join(err, s.violated(), leaks(fs))
}

// commitIn commits puts, whose records are numbered by call and place, so that they are the same however
// they are spread over commits.
func (s *Session) commitIn(c *Configuration, call int, puts []Put) {
	// A commit stores a partition after the other, in order of their first records.
	var order []Put
	for i, p := range puts {
		for k := i; k < len(puts); k++ {
			if q := puts[k]; q.Topic == p.Topic && q.Partition == p.Partition && q.Bytes >= 0 {
				order = append(order, q)
				puts[k].Bytes = -1
			}
		}
	}
	level := c.Levels[call%len(c.Levels)]
	commit := s.l.NewCommit()
	for i, p := range order {
		t := s.topic(p.Topic)
		if t == nil {
			return
		}
		if c.Single && i > 0 {
			s.mustCommit(commit, level)
			commit.Reset()
		}
		commit.Durability(level)
		value := fmt.Appendf(nil, "%d/%d ", call, i)
		for len(value) < p.Bytes {
			value = append(value, byte(len(value)*(call+1)))
		}
		commit.AppendTo(t.Partition(p.Partition), log.Record{Key: fmt.Append(nil, call%5), Value: value, Timestamp: time.UnixMilli(1e12 + int64(call))})
	}
	s.mustCommit(commit, level)
}

func (s *Session) mustCommit(c *log.Commit, level log.Durability) {
	c.Durability(level)
	if _, err := c.Commit(background); err != nil {
		s.Violation("commit: %w", err)
	}
}

// readAllWays returns the history of the users' records, and an error when ways to read it differ.
// Positions are counted among them alone: how many records the log has of its own is its own affair.
func readAllWays(l *log.Log) ([]string, error) {
	var all []string
	var positions []uint64
	byPartition := map[string][]string{}
	describe := func(r *log.Record) string {
		return fmt.Sprintf("%s/%d@%d key=%s time=%d %x", r.Topic, r.Partition, r.Offset, r.Key, r.Timestamp.UnixMilli(), r.Value)
	}
	for r, err := range l.Read(log.Oldest) {
		if err != nil {
			return nil, err
		}
		text := describe(&r)
		all = append(all, text)
		positions = append(positions, r.Position)
		key := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
		byPartition[key] = append(byPartition[key], text)
	}
	for key, want := range byPartition {
		var name string
		var at int32
		if _, err := fmt.Sscanf(key, "%1s/%d", &name, &at); err != nil {
			return nil, err
		}
		t, err := l.Topic(name)
		if err != nil {
			return nil, err
		}
		p := t.Partition(at)
		for from := 0; from < len(want); from += 1 + len(want)/9 {
			k := from
			for r, err := range p.Follow(background, log.AtOffset(int64(from))) {
				if err != nil {
					return nil, err
				}
				if describe(&r) != want[k] {
					return nil, fmt.Errorf("%s followed from %d: %s, not %s", key, from, describe(&r), want[k])
				}
				if k++; k == len(want) {
					break
				}
			}
			r, err := p.Get(int64(from))
			if err != nil || describe(&r) != want[from] {
				return nil, fmt.Errorf("%s get %d: %s (%v), not %s", key, from, describe(&r), err, want[from])
			}
		}
	}
	for i := 0; i < len(all); i += 1 + len(all)/20 {
		for r, err := range l.Read(log.AtPosition(positions[i])) {
			if err != nil || describe(&r) != all[i] {
				return nil, fmt.Errorf("read from position %d: %s (%v), not %s", positions[i], describe(&r), err, all[i])
			}
			break
		}
	}
	return all, nil
}
