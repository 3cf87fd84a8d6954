package log_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

// TestStarts begins reads at every kind of place, drawn, over several segments and reopenings, and
// compares with what a list of all records says.
func TestStarts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	fs := vfs.NewMem()
	o := log.Options{SegmentBytes: 64 << 10, Clock: clock.NewManual(time.UnixMilli(1_800_000_000_000))}
	l := open(t, fs, "data", o)
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 3})
	require.NoError(t, err)
	other, err := l.CreateTopic(ctx, "other", log.TopicOptions{})
	require.NoError(t, err)
	start := time.UnixMilli(1_700_000_000_000)
	for i := range 400 {
		c := l.NewCommit()
		for range 1 + rng.IntN(4) {
			// Times are the caller's: they rise, but not always.
			at := start.Add(time.Duration(i)*time.Minute - time.Duration(rng.IntN(10))*time.Minute)
			c.AppendTo(tp.Partition(int32(rng.IntN(3))), log.Record{Value: make([]byte, rng.IntN(700)), Timestamp: at})
		}
		if i%7 == 0 {
			c.Append(other, log.Record{Value: make([]byte, 100)})
		}
		_, err := c.Commit(ctx)
		require.NoError(t, err)
		if i == 200 {
			require.NoError(t, l.Close())
			l = open(t, fs, "data", o)
			tp, err = l.Topic("events")
			require.NoError(t, err)
			other, err = l.Topic("other")
			require.NoError(t, err)
		}
	}
	require.Greater(t, l.Metrics().Segments, int64(3))
	var all []log.Record
	for r, err := range l.Read(log.Oldest) {
		require.NoError(t, err)
		all = append(all, r.Clone())
	}
	check := func(l *log.Log) {
		for range 150 {
			of := int32(rng.IntN(4)) // a partition, or, for 3, all of the topic
			if of == 3 {
				checkTopicStart(t, l, all, rng, start)
			} else {
				checkPartitionStart(t, l, all, of, rng, start)
			}
		}
	}
	check(l)
	require.NoError(t, l.Close())
	l = open(t, fs, "data", o)
	check(l)
	require.NoError(t, l.Close())
	l = open(t, fs, "data", log.Options{ReadOnly: true})
	check(l)
	require.NoError(t, l.Close())
}

// draw returns a place, and whether a record lies at or behind it. first is asked of the records of one
// partition, in order, and is true from the first one that is wanted on.
func drawStart(all []log.Record, end int64, rng *rand.Rand, start time.Time) (s log.Start, what string, first func(log.Record) bool) {
	switch rng.IntN(4) {
	case 0:
		n := rng.Int64N(end + 5)
		return log.AtOffset(n), fmt.Sprint("offset ", n), func(r log.Record) bool { return r.Offset >= n }
	case 1:
		n := rng.Uint64N(all[len(all)-1].Position + 10)
		return log.AtPosition(n), fmt.Sprint("position ", n), func(r log.Record) bool { return r.Position >= n }
	case 2:
		at := start.Add(time.Duration(rng.IntN(430)-15) * time.Minute)
		return log.AtTime(at), fmt.Sprint("time ", at.UnixMilli()), func(r log.Record) bool { return !r.Timestamp.Before(at) }
	}
	return log.Oldest, "oldest", func(log.Record) bool { return true }
}

func checkPartitionStart(t *testing.T, l *log.Log, all []log.Record, partition int32, rng *rand.Rand, start time.Time) {
	t.Helper()
	tp, err := l.Topic("events")
	require.NoError(t, err)
	p := tp.Partition(partition)
	s, what, first := drawStart(all, p.Next(), rng, start)
	var want []int64
	for _, r := range all {
		if r.Topic == "events" && r.Partition == partition && (len(want) > 0 || first(r)) {
			want = append(want, r.Offset)
		}
	}
	var got []int64
	for r, err := range p.Read(s) {
		require.NoError(t, err, what)
		got = append(got, r.Offset)
	}
	require.Equal(t, want, got, "partition %d from %s", partition, what)
	var batches int64
	for b, err := range p.ReadBatches(s) {
		require.NoError(t, err, what)
		batches += int64(b.Head.Count)
	}
	require.GreaterOrEqual(t, batches, int64(len(want)), what)
	if len(want) > 0 {
		r, err := p.Get(want[0])
		require.NoError(t, err)
		require.Equal(t, want[0], r.Offset)
	}
}

func checkTopicStart(t *testing.T, l *log.Log, all []log.Record, rng *rand.Rand, start time.Time) {
	t.Helper()
	tp, err := l.Topic("events")
	require.NoError(t, err)
	s, what, first := drawStart(all, 400, rng, start)
	begun := map[int32]bool{}
	var want []uint64
	for _, r := range all {
		if r.Topic != "events" {
			continue
		}
		if begun[r.Partition] = begun[r.Partition] || first(r); begun[r.Partition] {
			want = append(want, r.Position)
		}
	}
	var got []uint64
	for r, err := range tp.Read(s) {
		require.NoError(t, err, what)
		got = append(got, r.Position)
	}
	require.Equal(t, want, got, "topic from %s", what)
}

func TestGetOutOfRange(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	_, err = tp.Append(ctx, log.Record{Value: []byte("x")})
	require.NoError(t, err)
	for _, offset := range []int64{-1, 1, 100} {
		_, err := tp.Partition(0).Get(offset)
		var r *log.RangeError
		require.ErrorAs(t, err, &r)
		require.ErrorIs(t, err, log.ErrRange)
		require.Equal(t, log.RangeError{Topic: "events", Partition: 0, Offset: offset, Next: 1}, *r)
	}
	for r, err := range tp.Partition(0).Read(log.AtOffset(-1)) {
		require.ErrorIs(t, err, log.ErrOptions)
		require.Zero(t, r.Offset)
	}
	// Newest is what comes from now on.
	for range tp.Read(log.Newest) {
		t.Fatal("there is nothing yet")
	}
}

// TestManySegments has more segments than the log keeps open, and reads in all of them, in and out of
// order.
func TestManySegments(t *testing.T) {
	fs := vfs.NewMem()
	o := log.Options{SegmentBytes: 64 << 10, SyncInterval: -1, Durability: log.Written}
	l := open(t, fs, "data", o)
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	const n = 600
	for i := range n {
		_, err := tp.Append(ctx, log.Record{Key: fmt.Append(nil, i), Value: make([]byte, 20<<10)})
		require.NoError(t, err)
	}
	require.Greater(t, l.Metrics().Segments, int64(150))
	check := func() {
		rng := rand.New(rand.NewPCG(1, 1))
		for range 400 {
			i := rng.IntN(n)
			r, err := tp.Partition(0).Get(int64(i))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), string(r.Key))
		}
		next := 0
		for r, err := range tp.Read(log.Oldest) {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(next), string(r.Key))
			next++
		}
		require.Equal(t, n, next)
	}
	require.NoError(t, l.Sync(ctx))
	check()
	require.NoError(t, l.Close())
	l = open(t, fs, "data", o)
	tp, err = l.Topic("events")
	require.NoError(t, err)
	check()
	require.NoError(t, l.Close())
}

// TestEvents counts what a log tells, and holds its metrics against that.
func TestEvents(t *testing.T) {
	fs := vfs.NewMem()
	var created, sealed []log.SegmentInfo
	var recovered []log.RecoveredInfo
	o := log.Options{
		SegmentBytes: 64 << 10, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Events: log.Events{
			Recovered:      func(i log.RecoveredInfo) { recovered = append(recovered, i) },
			SegmentCreated: func(i log.SegmentInfo) { created = append(created, i) },
			SegmentSealed:  func(i log.SegmentInfo) { sealed = append(sealed, i) },
		},
	}
	l := open(t, fs, "data", o)
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	for range 40 {
		_, err := tp.Append(ctx, log.Record{Value: make([]byte, 5000)})
		require.NoError(t, err)
	}
	for range tp.Read(log.Oldest) {
	}
	m := l.Metrics()
	require.Equal(t, int64(41), m.Commits)
	require.Equal(t, m.Commits, m.GroupCommits.Sum)
	require.Equal(t, m.CommitGroups, m.Write.Count)
	require.Equal(t, m.Syncs, m.Sync.Count)
	require.GreaterOrEqual(t, m.BytesWritten, int64(40*5000))
	require.GreaterOrEqual(t, m.BytesRead, int64(40*5000))
	require.GreaterOrEqual(t, m.FramesRead, int64(40))
	require.Equal(t, uint64(41), m.Written)
	require.Equal(t, uint64(41), m.Synced)
	require.Equal(t, m.Segments, int64(len(created)))
	require.Len(t, sealed, len(created)-1)
	require.Equal(t, created[0].File, sealed[0].File)
	require.Greater(t, sealed[0].Bytes, created[0].Bytes)
	require.Empty(t, recovered)
	require.LessOrEqual(t, m.Write.Quantile(0.5), m.Write.Quantile(0.99))

	// What a process leaves that dies.
	image := vfs.NewMem()
	_, err = vfs.Clone(fs, image, "data", "data")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	o.FS = image
	l, err = log.Open("data", o)
	require.NoError(t, err)
	require.Len(t, recovered, 1)
	require.Equal(t, uint64(41), recovered[0].Position)
	require.NoError(t, l.Close())
}

func TestAutoCreateTopics(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{AutoCreateTopics: true})
	defer func() { require.NoError(t, l.Close()) }()
	_, err := l.LookUpTopic("fresh")
	require.ErrorIs(t, err, log.ErrNoTopic)
	tp, err := l.Topic("fresh")
	require.NoError(t, err)
	require.Equal(t, 1, tp.Partitions())
	again, err := l.LookUpTopic("fresh")
	require.NoError(t, err)
	require.Same(t, tp, again)
	_, err = l.Topic("not valid")
	require.True(t, errors.Is(err, log.ErrName))
	_, err = l.Topic("__strata.mine")
	require.ErrorIs(t, err, log.ErrName)
}

// TestErrorsSayWhere reads each error as a user does.
func TestErrorsSayWhere(t *testing.T) {
	for _, tc := range []struct {
		err  error
		is   error
		text string
	}{
		{&log.LimitError{What: "record", Limit: 10, Got: 11}, log.ErrLimit, "log: record of 11 bytes is over the limit of 10"},
		{&log.TopicError{Topic: "t"}, log.ErrNoTopic, `log: no such topic: "t"`},
		{&log.NameError{Name: "n", Reason: "why"}, log.ErrName, `log: invalid name "n": why`},
		{&log.KindError{Topic: "t", Kind: "queue"}, log.ErrKind, `log: topic "t" belongs to the layer "queue"`},
		{&log.KindError{Topic: "t"}, log.ErrKind, `log: topic "t" belongs to no layer`},
		{&log.UnknownError{Cause: io.EOF}, log.ErrUnknown, "log: outcome unknown: EOF"},
		{&log.FailedError{Cause: io.EOF}, log.ErrFailed, "log: failed, open it again: EOF"},
		{&log.StateAheadError{What: "position", Position: 9, End: 4}, log.ErrStateAhead, "log: state was derived up to position 9, and the log ends at 4"},
		{&log.StateAheadError{What: "log"}, log.ErrStateAhead, "log: state was derived from another log"},
		{&log.ViewError{View: "v", Cause: io.EOF}, log.ErrState, `log: view "v": EOF`},
		{&log.ViewedError{Topic: "t", View: "v"}, log.ErrViewed, `log: view "v" is derived from topic "t"`},
	} {
		require.ErrorIs(t, tc.err, tc.is)
		require.Equal(t, tc.text, tc.err.Error())
		if inner := errors.Unwrap(tc.err); inner != nil {
			require.ErrorIs(t, inner, io.EOF)
		}
	}
}
