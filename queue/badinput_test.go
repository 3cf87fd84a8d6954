package queue_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/timer"
)

func TestImpossibleOptions(t *testing.T) {
	b := newBench(t)
	for want, o := range map[string]queue.Options{
		"lease":                         {Lease: -1},
		"delay":                         {Delay: -1},
		"time to live":                  {TTL: -1},
		"above the longest":             {Retry: timer.Retry{First: 2, Longest: 1}},
		"factor":                        {Retry: timer.Retry{Factor: math.NaN()}},
		"Final":                         {Retry: timer.Retry{Final: func(error) bool { return true }}},
		"Discard with the dead letters": {Discard: true, DeadLetter: "x"},
		"its own dead letters":          {DeadLetter: "q"},
		"dead letters":                  {DeadLetter: "a/b"},
		"bounds":                        {MaxDepth: -1},
		"bytes":                         {MaxBytes: -1},
		"in flight":                     {MaxInFlight: -1},
		"WhenFull":                      {WhenFull: 7},
		"window":                        {Dedup: -2},
	} {
		_, err := queue.Declare(ctx, b.l, "q", o)
		require.ErrorIs(t, err, queue.ErrOptions, want)
		require.ErrorContains(t, err, want)
	}
	_, err := queue.Declare(ctx, b.l, "a/b", queue.Options{Lease: -1})
	require.ErrorIs(t, err, queue.ErrOptions) // all that is wrong at once
	var name *log.NameError
	require.ErrorAs(t, err, &name)
	names, err := queue.List(ctx, b.l)
	require.NoError(t, err)
	require.Empty(t, names)
}

// TestMismatch declares a queue anew with each option changed.
func TestMismatch(t *testing.T) {
	b := newBench(t)
	b.declare("q", queue.Options{})
	b.declare("q", queue.Options{Lease: 30 * time.Second, DeadLetter: "q.dead", Retry: timer.Retry{Attempts: 5}})
	for field, o := range map[string]queue.Options{
		"lease": {Lease: time.Hour}, "delay": {Delay: 1}, "retry": {Retry: timer.Retry{Attempts: 2}}, "dead letter": {DeadLetter: "x"},
		"discard": {Discard: true}, "max depth": {MaxDepth: 1}, "max bytes": {MaxBytes: 1}, "when full": {WhenFull: queue.WaitWhenFull},
		"ordered": {Ordered: true}, "dedup": {Dedup: queue.ForEver}, "ttl": {TTL: 1}, "max in flight": {MaxInFlight: 1},
		"auto-delete": {AutoDelete: true}, "exclusive": {Exclusive: true}, "compression": {Compression: record.Zstd},
	} {
		_, err := queue.Declare(ctx, b.l, "q", o)
		var m *log.MismatchError
		require.ErrorAs(t, err, &m, field)
		if field == "discard" { // the name of the dead letters comes first
			field = "dead letter"
		}
		require.Equal(t, field, m.Field)
		require.Equal(t, "q", m.Name)
	}
	_, err := b.l.CreateTopic(ctx, "topic", log.TopicOptions{})
	require.NoError(t, err)
	_, err = queue.Declare(ctx, b.l, "topic", queue.Options{})
	require.ErrorIs(t, err, log.ErrMismatch)
	_, err = queue.Open(ctx, b.l, "topic")
	require.ErrorIs(t, err, queue.ErrNoQueue)
}

func TestImpossibleMessages(t *testing.T) {
	b := newBench(t)
	plain, ordered := b.declare("plain", queue.Options{}), b.declare("ordered", queue.Options{Ordered: true, Dedup: time.Minute})
	for want, m := range map[string]queue.Message{
		"priority 10": {Priority: 10}, "priority -1": {Priority: -1}, "time to live": {TTL: -1}, "without deduplication": {DedupID: "x"},
		"UTF-8": {ContentType: "\xff"}, "is the engine's": {Headers: []record.Header{{Key: queue.HeaderDue}}},
	} {
		_, err := plain.Send(ctx, queue.Message{}, m)
		var facts *queue.InvalidError
		require.ErrorAs(t, err, &facts, want)
		require.Equal(t, 1, facts.Index)
		require.Equal(t, "plain", facts.Queue)
		require.Contains(t, facts.Reason, want)
		require.ErrorIs(t, plain.Stage(b.l.NewCommit(), m), queue.ErrInvalid)
	}
	for want, m := range map[string]queue.Message{
		"no priorities": {Priority: 1}, "no delays": {Delay: 1}, "a key of": {Key: make([]byte, queue.MaxKeyBytes+1)},
		"a DedupID of": {DedupID: strings.Repeat("x", queue.MaxDedupBytes+1)}, "no delays of": {At: time.Unix(1, 0)},
	} {
		_, err := ordered.Send(ctx, m)
		require.ErrorContains(t, err, want)
	}
	twice := queue.Message{DedupID: "x"}
	require.ErrorContains(t, ordered.Stage(b.l.NewCommit(), twice, queue.Message{}, twice), "the same DedupID")
	_, err := plain.Send(ctx)
	require.ErrorIs(t, err, log.ErrEmpty)
	require.Zero(t, b.stats(plain).Sent+b.stats(ordered).Sent)
	for _, o := range []queue.ReceiveOptions{{Max: -1}, {Lease: -1}, {Owner: strings.Repeat("x", 257)}} {
		_, err := plain.Receive(ctx, o)
		require.ErrorIs(t, err, queue.ErrOptions)
		require.ErrorContains(t, err, `queue "plain"`)
	}
	for _, o := range []queue.RunOptions{{Workers: -1}, {MaxInFlight: -1}, {Batch: -1}, {HandleTimeout: -1}} {
		require.ErrorIs(t, plain.RunBatch(ctx, nil, o), queue.ErrOptions)
	}
	for _, o := range []queue.RedriveOptions{{Max: -1}, {Rate: -1}, {Rate: math.NaN()}} {
		_, err := plain.Redrive(ctx, o)
		require.ErrorIs(t, err, queue.ErrOptions)
	}
	for _, id := range []int64{-1, 0, math.MaxInt64} {
		require.ErrorIs(t, plain.Cancel(ctx, id), queue.ErrNoMessage)
	}
}

func TestReceipts(t *testing.T) {
	b := newBench(t)
	q, other := b.declare("q", queue.Options{}), b.declare("other", queue.Options{})
	b.send(q, "a")
	m := b.one(q)
	for _, receipt := range []string{"", "x", "!!", base64.RawURLEncoding.EncodeToString(make([]byte, 24)), m.Receipt() + "AA"} {
		_, err := q.Redeem(ctx, receipt)
		require.ErrorIs(t, err, queue.ErrReceipt)
		require.ErrorContains(t, err, fmt.Sprintf("receipt %q is not one of \"q\"", receipt))
	}
	_, err := other.Redeem(ctx, m.Receipt())
	var facts *queue.ReceiptError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, queue.ReceiptError{Queue: "other", Receipt: m.Receipt(), Reason: "it is of another queue, or of an earlier one of this name"}, *facts)
	b.reopen()
	q = b.queue("q")
	again, err := q.Redeem(ctx, m.Receipt())
	require.NoError(t, err)
	require.Equal(t, "a", string(again.Value))
	require.Equal(t, m.Receipt(), again.Receipt())
	require.NoError(t, again.Ack(ctx))
	_, err = q.Redeem(ctx, m.Receipt())
	require.ErrorIs(t, err, queue.ErrLease)
}

func TestEndedAndClosed(t *testing.T) {
	b := newBench(t)
	q := b.declare("q", queue.Options{MaxDepth: 1, WhenFull: queue.WaitWhenFull})
	b.send(q, "a")
	m := b.one(q)
	_, err := q.Send(ctx, queue.Message{}, queue.Message{})
	require.ErrorIs(t, err, queue.ErrQueueFull, "more than ever fit")
	short, cancel := context.WithCancel(ctx)
	cancel()
	_, err = q.Send(short, queue.Message{})
	require.ErrorIs(t, err, context.Canceled)
	waits := make(chan error, 2)
	go func() { _, err := q.Send(ctx, queue.Message{}); waits <- err }()
	go func() { _, err := q.Receive(ctx, queue.ReceiveOptions{Wait: -1}); waits <- err }()
	require.NoError(t, queue.Delete(ctx, b.l, "q"))
	require.ErrorIs(t, <-waits, queue.ErrNoQueue)
	require.ErrorIs(t, <-waits, queue.ErrNoQueue)
	require.ErrorIs(t, m.Ack(ctx), queue.ErrLease)
	_, err = q.Purge(ctx)
	require.ErrorIs(t, err, queue.ErrNoQueue)
	require.ErrorIs(t, q.Cancel(ctx, 0), queue.ErrNoQueue)
	require.ErrorIs(t, q.Run(ctx, nil, queue.RunOptions{}), queue.ErrNoQueue)
	// Another of its name is another one.
	again := b.declare("q", queue.Options{MaxDepth: 1})
	b.send(again, "b")
	require.ErrorIs(t, m.Ack(ctx), queue.ErrLease)
	require.Equal(t, "b", string(b.one(again).Value))

	fs := b.fs
	require.NoError(t, b.l.Close())
	_, err = again.Receive(ctx, queue.ReceiveOptions{})
	require.ErrorIs(t, err, log.ErrClosed)
	_, err = again.Send(ctx, queue.Message{})
	require.ErrorIs(t, err, log.ErrClosed)
	r, err := log.Open("data", log.Options{FS: fs, Clock: b.clk, ReadOnly: true})
	require.NoError(t, err)
	looked, err := queue.Open(ctx, r, "q")
	require.NoError(t, err)
	s, err := looked.Stats(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, s.Leased)
	_, err = looked.Receive(ctx, queue.ReceiveOptions{})
	require.ErrorIs(t, err, log.ErrReadOnly)
	_, err = looked.Purge(ctx)
	require.ErrorIs(t, err, log.ErrReadOnly)
	require.ErrorIs(t, looked.Run(ctx, nil, queue.RunOptions{}), log.ErrReadOnly)
	_, err = queue.Declare(ctx, r, "new", queue.Options{})
	require.ErrorIs(t, err, log.ErrReadOnly)
	require.ErrorIs(t, queue.Delete(ctx, r, "q"), log.ErrReadOnly)
	require.NoError(t, r.Close())
	b.open()
}

func TestExclusiveAndAutoDelete(t *testing.T) {
	b := newBench(t)
	b.declare("mine", queue.Options{Exclusive: true})
	auto := b.declare("auto", queue.Options{AutoDelete: true})
	first, err := auto.Consume()
	require.NoError(t, err)
	second, err := auto.Consume()
	require.NoError(t, err)
	require.NoError(t, first.Close(ctx))
	require.NoError(t, first.Close(ctx))
	b.send(auto, "still there")
	require.NoError(t, second.Close(ctx))
	_, err = queue.Open(ctx, b.l, "auto")
	require.ErrorIs(t, err, queue.ErrNoQueue)
	_, err = auto.Consume()
	require.ErrorIs(t, err, queue.ErrNoQueue)
	b.reopen()
	names, err := queue.List(ctx, b.l)
	require.NoError(t, err)
	require.Equal(t, []string{"auto.dead", "mine.dead"}, names)
}

// TestMutualDeadLetters opens two queues that are each other's dead letters.
func TestMutualDeadLetters(t *testing.T) {
	b := newBench(t)
	b.declare("a", queue.Options{DeadLetter: "b"})
	require.NoError(t, queue.Delete(ctx, b.l, "b"))
	b.declare("b", queue.Options{DeadLetter: "a"})
	b.reopen()
	q := b.queue("a")
	b.send(q, "x")
	require.NoError(t, b.one(q).Reject(ctx, errTest))
	require.NoError(t, b.one(b.queue("b")).Reject(ctx, errTest))
	require.Equal(t, "x", string(b.one(q).Value))
}

// TestLostUnderAQueue damages a message and has repair give it up: the others are handed out, and the
// counts forget it.
func TestLostUnderAQueue(t *testing.T) {
	b := newBench(t)
	q := b.declare("q", queue.Options{Ordered: true})
	for _, v := range []string{"first-one", "second-one", "third-one"} {
		_, err := q.Send(ctx, queue.Message{Key: []byte("k"), Value: []byte(v + strings.Repeat(".", 100))})
		require.NoError(t, err)
	}
	require.NoError(t, b.l.Close())
	flip(t, b.fs, "second-one")
	_, err := log.Repair(ctx, "data", log.RepairOptions{FS: b.fs})
	require.NoError(t, err)
	b.open()
	q = b.queue("q")
	for _, want := range []string{"first-one", "third-one"} {
		m := b.one(q)
		require.True(t, bytes.HasPrefix(m.Value, []byte(want)), string(m.Value))
		require.NoError(t, m.Ack(ctx))
	}
	require.Empty(t, b.receive(q, 1))
	require.EqualValues(t, 0, b.stats(q).Depth())
}

// flip changes a byte of a segment, where marker is.
func flip(t testing.TB, fs vfs.FS, marker string) {
	t.Helper()
	names, err := fs.List("data/log")
	require.NoError(t, err)
	for _, name := range names {
		f, err := fs.OpenReadWrite(fs.PathJoin("data/log", name), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		info, err := f.Stat()
		require.NoError(t, err)
		text := make([]byte, info.Size())
		_, err = f.ReadAt(text, 0)
		require.NoError(t, err)
		if at := bytes.Index(text, []byte(marker)); at >= 0 {
			_, err = f.WriteAt([]byte{text[at] ^ 1}, int64(at))
			require.NoError(t, err)
			require.NoError(t, f.Close())
			return
		}
		require.NoError(t, f.Close())
	}
	t.Fatal("no such text")
}
