package pubsub_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/pubsub"
	"github.com/stratalog/strata/queue"
)

// openQueues is open with real queues.
func openQueues(t testing.TB, fs vfs.FS) (*log.Log, *pubsub.Exchanges) {
	l, x := open(t, fs)
	x.SetTarget(pubsub.ToQueue, queue.Sender(l))
	return l, x
}

// received takes and acknowledges all messages of a queue.
func received(t testing.TB, l *log.Log, name string) []string {
	t.Helper()
	q, err := queue.Open(ctx, l, name)
	require.NoError(t, err)
	ms, err := q.Receive(ctx, queue.ReceiveOptions{Max: 100})
	require.NoError(t, err)
	values := []string{}
	for _, m := range ms {
		values = append(values, string(m.Value))
		require.NoError(t, m.Ack(ctx))
	}
	return values
}

// TestExchangeToQueue publishes to an exchange that is bound to two queues, a topic and another exchange: all
// of them have the record by one commit, also after reopening, or none has it.
func TestExchangeToQueue(t *testing.T) {
	fs := vfs.NewMem()
	l, x := openQueues(t, fs)
	topics(t, l, "audit", "copy")
	_, err := queue.Declare(ctx, l, "mails", queue.Options{MaxDepth: 3})
	require.NoError(t, err)
	_, err = queue.Declare(ctx, l, "stock", queue.Options{})
	require.NoError(t, err)
	declare(t, x, "orders", pubsub.Fanout)
	declare(t, x, "more", pubsub.Topic)
	for _, to := range []pubsub.Destination{toQueue("mails"), toQueue("stock"), topic("audit"), toExchange("more")} {
		bind(t, x, "orders", "", to)
	}
	bind(t, x, "more", "order.#", topic("copy"))
	bind(t, x, "more", "order.#", toQueue("stock"))
	publish := func(v string) (log.Result, error) {
		return x.Publish(ctx, pubsub.Publication{Exchange: "orders", Key: "order.eu", Record: log.Record{Value: []byte(v)}, Mandatory: true})
	}
	r, err := publish("one")
	require.NoError(t, err)
	require.Len(t, r.Batches(), 4, "in one commit, and once in each")
	require.NoError(t, l.Close())
	l, x = openQueues(t, fs)
	_, err = publish("two")
	require.NoError(t, err)
	_, err = x.Publish(ctx, pubsub.Publication{Key: "mails", Record: log.Record{Value: []byte("by name")}})
	require.NoError(t, err)
	_, err = publish("three")
	require.ErrorIs(t, err, queue.ErrQueueFull)
	require.Equal(t, []string{"one", "two", "by name"}, received(t, l, "mails"))
	require.Equal(t, []string{"one", "two"}, received(t, l, "stock"))
	got := contents(t, l)
	require.Equal(t, []string{"one", "two"}, got["audit"])
	require.Equal(t, got["audit"], got["copy"])

	// The queue that goes takes nobody along.
	require.NoError(t, queue.Delete(ctx, l, "mails"))
	_, err = publish("four")
	require.NoError(t, err)
	require.Equal(t, []string{"four"}, received(t, l, "stock"))
	require.NoError(t, l.Close())
}

// TestPublishDedup publishes to a queue that takes each DedupID once, and to a topic beside it: what the queue does
// not take goes nowhere.
func TestPublishDedup(t *testing.T) {
	l, x := openQueues(t, vfs.NewMem())
	topics(t, l, "audit")
	_, err := queue.Declare(ctx, l, "jobs", queue.Options{Dedup: queue.ForEver})
	require.NoError(t, err)
	declare(t, x, "x", pubsub.Fanout)
	bind(t, x, "x", "", topic("audit"))
	bind(t, x, "x", "", toQueue("jobs"))
	p := func(exchange, value string) pubsub.Publication {
		m := queue.Message{Value: []byte(value), DedupID: "7"}
		return pubsub.Publication{Exchange: exchange, Key: "jobs", Record: m.Record()}
	}
	_, err = x.Publish(ctx, p("x", "one"), p("", "two")) // the second by the queue's name
	var facts *queue.RepeatedError
	require.ErrorAs(t, err, &facts)
	require.Equal(t, queue.RepeatedError{Queue: "jobs", DedupID: "7"}, *facts)
	require.Empty(t, contents(t, l)["audit"])
	first, err := x.Publish(ctx, p("x", "three"))
	require.NoError(t, err)
	again, err := x.Publish(ctx, p("x", "four"))
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	require.Equal(t, first.Position, again.Position)
	require.Equal(t, []string{"three"}, contents(t, l)["audit"])
	require.Equal(t, []string{"three"}, received(t, l, "jobs"))
	require.NoError(t, l.Close())
}

// TestExchangeToQueueCrash crashes at every operation on a file while records are published to a queue and a
// topic: both have the same, and what was acknowledged is there.
func TestExchangeToQueueCrash(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	type moment struct {
		snap  *crashfs.Snapshot
		acked int
	}
	var moments []moment
	l, x := openQueues(t, fs)
	topics(t, l, "audit")
	_, err := queue.Declare(ctx, l, "jobs", queue.Options{})
	require.NoError(t, err)
	declare(t, x, "x", pubsub.Fanout)
	bind(t, x, "x", "", topic("audit"))
	bind(t, x, "x", "", toQueue("jobs"))
	acked := 0
	fs.SetHook(func(op crashfs.Op) {
		if op.After {
			moments = append(moments, moment{fs.Snapshot(), acked})
		}
	})
	for i := range 4 {
		_, err := x.Publish(ctx, pubsub.Publication{Exchange: "x", Record: log.Record{Value: fmt.Append(nil, i)}})
		require.NoError(t, err)
		acked++
	}
	fs.SetHook(nil)
	require.NoError(t, l.Close())
	require.GreaterOrEqual(t, len(moments), 8)
	for i, m := range moments {
		for _, policy := range []crashfs.Policy{crashfs.None, crashfs.All} {
			l, _ := openQueues(t, m.snap.Image(crashfs.Cut{Policy: policy}))
			audit := contents(t, l)["audit"]
			require.GreaterOrEqual(t, len(audit), m.acked, "image %d", i)
			require.LessOrEqual(t, len(audit), m.acked+1)
			require.ElementsMatch(t, audit, received(t, l, "jobs"))
			require.NoError(t, l.Close())
		}
	}
}
