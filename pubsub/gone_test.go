package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/pubsub"
)

// TestDestinationGoes deletes what bindings lead to: the other destinations have what is published, the
// last one's absence makes it unroutable, and one of the same name gets it again.
func TestDestinationGoes(t *testing.T) {
	l, x := open(t, vfs.NewMem())
	topics(t, l, "a")
	queues(t, l, "jobs")
	declare(t, x, "x", pubsub.Fanout)
	bind(t, x, "x", "", topic("a"))
	bind(t, x, "x", "", toQueue("jobs"))
	p := pubsub.Publication{Exchange: "x", Record: log.Record{Value: []byte("v")}, Mandatory: true}
	publish := func(want ...string) {
		t.Helper()
		require.ElementsMatch(t, want, route(t, x, "x", ""))
		_, err := x.Publish(ctx, p)
		if len(want) == 0 {
			require.ErrorIs(t, err, pubsub.ErrUnroutable)
		} else {
			require.NoError(t, err)
		}
	}
	publish("a", "jobs")
	require.NoError(t, l.DeleteTopicAs(ctx, "queue", "jobs"))
	publish("a")
	_, err := x.Publish(ctx, pubsub.Publication{Key: "jobs", Mandatory: true})
	require.ErrorIs(t, err, pubsub.ErrUnroutable)
	topics(t, l, "jobs") // of another kind
	publish("a")
	require.NoError(t, l.DeleteTopic(ctx, "a"))
	publish()
	require.NoError(t, l.DeleteTopic(ctx, "jobs"))
	queues(t, l, "jobs")
	publish("jobs")
	require.Equal(t, pubsub.ExchangeMetrics{Routed: 4, Unroutable: 2}, x.Metrics())
	require.NoError(t, l.Close())
	_, err = x.Publish(ctx, p)
	require.ErrorIs(t, err, log.ErrClosed, "nothing is lost without a word")
}

// TestDestinationGoesMeanwhile has a sender find that a destination has gone since the record was routed.
func TestDestinationGoesMeanwhile(t *testing.T) {
	l, x := open(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	topics(t, l, "a", "rest")
	queues(t, l, "ends")
	require.NoError(t, x.Declare(ctx, "x", pubsub.ExchangeOptions{Kind: pubsub.Direct, Alternate: "rest"}))
	declare(t, x, "rest", pubsub.Fanout)
	bind(t, x, "x", "both", topic("a"))
	bind(t, x, "x", "both", toQueue("ends"))
	bind(t, x, "x", "one", toQueue("ends"))
	bind(t, x, "rest", "", topic("rest"))
	asked := 0
	x.SetTarget(pubsub.ToQueue, func(context.Context, *log.Commit, string, log.Record) error {
		asked++
		return fmt.Errorf("ending: %w", log.ErrNoTopic)
	})
	for _, key := range []string{"both", "one"} {
		_, err := x.Publish(ctx, pubsub.Publication{Exchange: "x", Key: key, Record: log.Record{Value: []byte(key)}, Mandatory: true})
		require.NoError(t, err)
	}
	require.Equal(t, 2, asked)
	require.Equal(t, map[string][]string{"a": {"both"}, "rest": {"one"}}, contents(t, l))
	require.Equal(t, pubsub.ExchangeMetrics{Routed: 2}, x.Metrics())
	_, err := x.Add(ctx, l.NewCommit(), pubsub.Publication{Exchange: "x", Key: "one"})
	require.ErrorIs(t, err, log.ErrNoTopic)
}

// TestRoutingCreatesNoTopics routes on a log that creates topics when they are asked for.
func TestRoutingCreatesNoTopics(t *testing.T) {
	l, err := log.Open("data", log.Options{FS: vfs.NewMem(), AutoCreateTopics: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	x, err := pubsub.Open(ctx, l)
	require.NoError(t, err)
	declare(t, x, "x", pubsub.Fanout)
	require.ErrorIs(t, x.Bind(ctx, pubsub.Binding{Exchange: "x", To: toQueue("jobs")}), log.ErrNoTopic)
	require.Empty(t, route(t, x, "", "jobs"))
	require.Empty(t, l.Topics())
	bind(t, x, "x", "", topic("a")) // like every use of a topic's name on such a log
	require.NoError(t, l.DeleteTopic(ctx, "a"))
	require.Empty(t, route(t, x, "x", ""))
	require.Empty(t, l.Topics())
}

// TestPublishConcurrent publishes from a thousand goroutines on one handle, while bindings change and a
// topic that is bound comes and goes: what is always bound has everything, once.
func TestPublishConcurrent(t *testing.T) {
	l, x := open(t, vfs.NewMem())
	topics(t, l, "all", "some", "comes")
	declare(t, x, "x", pubsub.Topic)
	bind(t, x, "x", "k.#", topic("all"))
	bind(t, x, "x", "#", topic("comes"))
	const n = 1000
	var publishers, changes sync.WaitGroup
	stop := make(chan struct{})
	changes.Go(func() {
		b := pubsub.Binding{Exchange: "x", Key: "*.l", To: topic("some")}
		for {
			select {
			case <-stop:
				return
			default:
			}
			err := errors.Join(x.Bind(ctx, b), l.DeleteTopic(ctx, "comes"), x.Unbind(ctx, b))
			if _, again := l.CreateTopic(ctx, "comes", log.TopicOptions{}); err != nil || again != nil {
				t.Error(err, again)
				return
			}
		}
	})
	for i := range n {
		publishers.Go(func() {
			_, err := x.Publish(ctx, pubsub.Publication{
				Exchange: "x", Key: "k.l", Record: log.Record{Value: fmt.Append(nil, i)}, Mandatory: true,
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	publishers.Wait()
	close(stop)
	changes.Wait()
	got := contents(t, l)["all"]
	require.Len(t, got, n)
	seen := map[string]bool{}
	for _, v := range got {
		seen[v] = true
	}
	require.Len(t, seen, n)
	require.NoError(t, l.Close())
}

// TestContextEndsInAChange ends the context of a change at each operation on a file: what is in memory
// then is what the log has, whatever the call returned.
func TestContextEndsInAChange(t *testing.T) {
	for at := 0; ; at++ {
		fs := crashfs.New(crashfs.Options{})
		l, x := open(t, fs)
		topics(t, l, "a")
		declare(t, x, "x", pubsub.Fanout)
		short, cancel := context.WithCancel(ctx)
		operations := 0
		fs.SetHook(func(op crashfs.Op) {
			if operations == at {
				cancel()
			}
			operations++
		})
		err := x.Bind(short, pubsub.Binding{Exchange: "x", To: topic("a")})
		fs.SetHook(nil)
		require.NoError(t, err)
		before := state(x)
		cancel()
		require.ErrorIs(t, x.Delete(short, "x"), context.Canceled)
		require.NoError(t, l.Close())
		l, x = open(t, fs)
		require.Equal(t, before, state(x), "cancelled at operation %d", at)
		require.NoError(t, l.Close())
		if operations <= at {
			require.Positive(t, at)
			return
		}
	}
}

// TestChangesAreSynced cuts the power behind changes on a log whose records are durable later.
func TestChangesAreSynced(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	l, err := log.Open("data", log.Options{FS: fs, Durability: log.Buffered, SyncInterval: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	x, err := pubsub.Open(ctx, l)
	require.NoError(t, err)
	topics(t, l, "a")
	declare(t, x, "x", pubsub.Fanout)
	bind(t, x, "x", "", topic("a"))
	image := fs.Snapshot().Image(crashfs.Cut{})
	want := state(x)
	require.NoError(t, l.Close())
	l, x = open(t, image)
	require.Equal(t, want, state(x))
	require.NoError(t, l.Close())
}
