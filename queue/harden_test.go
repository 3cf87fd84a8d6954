package queue_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
)

// onDisk is a bench whose log makes nothing durable by itself.
func onDisk(t *testing.T) (*bench, *crashfs.FS) {
	fs := crashfs.New(crashfs.Options{})
	b := &bench{t: t, fs: fs, clk: clock.NewManual(time.Unix(1e9, 0))}
	b.openWritten()
	t.Cleanup(func() { require.NoError(t, b.l.Close()) })
	return b, fs
}

func (b *bench) openWritten() {
	l, err := log.Open("data", log.Options{
		FS: b.fs, Clock: b.clk, SyncInterval: -1, Durability: log.Written, SegmentBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(b.t, err)
	b.l = l
}

func ofSegment(op crashfs.Op) bool { return op.Kind.IsSync() && strings.Contains(op.Path, "data/log/") }

// hang has the next sync of the log wait until the disk is let go.
func hang(fs *crashfs.FS) (hung <-chan struct{}, release func()) {
	reached, let := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs.SetGate(func(op crashfs.Op) {
		if ofSegment(op) {
			once.Do(func() { close(reached); <-let })
		}
	})
	return reached, func() { close(let) }
}

// received is what a call of Receive in another goroutine has returned.
func received(q *queue.Queue, o queue.ReceiveOptions) <-chan []*queue.Delivery {
	out := make(chan []*queue.Delivery, 1)
	go func() {
		ms, err := q.Receive(ctx, o)
		if err != nil {
			ms = nil
		}
		out <- ms
	}()
	return out
}

// TestReceiveSyncsAlone has a receiver wait for a disk that hangs: the others of the queue go on meanwhile, and
// none of them gets what that one has.
func TestReceiveSyncsAlone(t *testing.T) {
	b, fs := onDisk(t)
	q := b.declare("work", queue.Options{})
	ids := b.send(q, "a", "b", "c", "d")
	hung, release := hang(fs)
	waits := received(q, queue.ReceiveOptions{Owner: "slow"})
	<-hung

	ms, err := q.Receive(ctx, queue.ReceiveOptions{Unsynced: true, Max: 2, Owner: "quick"})
	require.NoError(t, err)
	require.Equal(t, []string{"b", "c"}, values(ms))
	require.NoError(t, q.AckUpTo(ctx, ms[0]))
	n, err := q.ReleaseOwner(ctx, "quick")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, q.Cancel(ctx, ids[3]))
	require.ErrorIs(t, q.Cancel(ctx, ids[0]), queue.ErrLeased)
	s := b.stats(q)
	require.EqualValues(t, []int64{1, 1, 1, 1}, []int64{s.Leased, s.Ready, s.Done, s.Dropped})

	release()
	ms = <-waits
	require.Equal(t, []string{"a"}, values(ms))
	require.Equal(t, 1, ms[0].Attempt)
	require.NoError(t, ms[0].Ack(ctx))
	require.Equal(t, []string{"c"}, values(b.receive(q, 10)))
}

// TestAckUpToLeavesWhatIsNotHandedOut: a lease whose call of Receive still waits for the disk has the same owner, and
// a lower place, and is not acknowledged with what that owner was given since.
func TestAckUpToLeavesWhatIsNotHandedOut(t *testing.T) {
	b, fs := onDisk(t)
	q := b.declare("work", queue.Options{})
	b.send(q, "a", "b", "c")
	hung, release := hang(fs)
	waits := received(q, queue.ReceiveOptions{Owner: "x"})
	<-hung
	ms, err := q.Receive(ctx, queue.ReceiveOptions{Unsynced: true, Owner: "x"})
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, values(ms))
	require.NoError(t, q.AckUpTo(ctx, ms[0]))
	s := b.stats(q)
	require.EqualValues(t, []int64{1, 1, 1}, []int64{s.Leased, s.Ready, s.Done})
	release()
	first := <-waits
	require.Equal(t, []string{"a"}, values(first))
	ms, err = q.Receive(ctx, queue.ReceiveOptions{Owner: "x"})
	require.NoError(t, err)
	require.Equal(t, []string{"c"}, values(ms))
	require.NoError(t, q.AckUpTo(ctx, ms[0]))
	require.EqualValues(t, 3, b.stats(q).Done)
}

// TestSyncedLeaseHoldsUpNobody is the same for a lease that is itself synced: who looks for messages meanwhile
// is told that there are none.
func TestSyncedLeaseHoldsUpNobody(t *testing.T) {
	b, fs := onDisk(t)
	q := b.declare("work", queue.Options{})
	b.send(q, "a")
	hung, release := hang(fs)
	waits := received(q, queue.ReceiveOptions{Synced: true})
	<-hung
	ms, err := q.Receive(ctx, queue.ReceiveOptions{Unsynced: true})
	require.NoError(t, err)
	require.Empty(t, ms)
	require.EqualValues(t, 1, b.stats(q).Leased)
	release()
	require.Equal(t, []string{"a"}, values(<-waits))
}

// TestReceiveWhenSyncFails: what could not be made durable is not handed out. Its attempt is on record, as the
// failed log takes no other word, and the message comes again: when its lease ends, and when it was held, with
// the next opening.
func TestReceiveWhenSyncFails(t *testing.T) {
	for _, held := range []bool{false, true} {
		b, fs := onDisk(t)
		q := b.declare("work", queue.Options{})
		b.send(q, "a", "b")
		broken := fs.Inject(crashfs.Fault{Match: ofSegment})
		ms, err := q.Receive(ctx, queue.ReceiveOptions{Held: held})
		require.ErrorIs(t, err, log.ErrFailed)
		require.Empty(t, ms)
		require.Equal(t, 1, broken.Fired())
		_, err = q.Receive(ctx, queue.ReceiveOptions{Unsynced: true})
		require.ErrorIs(t, err, log.ErrFailed, "the log has failed")
		require.ErrorIs(t, b.l.Close(), log.ErrFailed)

		broken.Remove()
		b.openWritten()
		q = b.queue("work")
		if !held {
			require.Equal(t, []string{"b"}, values(b.receive(q, 10)))
			b.clk.Advance(31 * time.Second)
		}
		again := b.gather(q, 1)
		if held && again[0].Offset != 0 { // the end of the lease is a commit of the queue's own
			again = b.gather(q, 1)
		}
		require.Equal(t, []string{"a"}, values(again))
		require.Equal(t, 2, again[0].Attempt)
	}
}
