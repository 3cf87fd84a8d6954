package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/pubsub"
)

func open(t testing.TB, fs vfs.FS) (*log.Log, *pubsub.Exchanges) {
	t.Helper()
	l, err := log.Open("data", log.Options{FS: fs, SyncInterval: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	x, err := pubsub.Open(ctx, l)
	require.NoError(t, err)
	x.SetTarget(pubsub.ToQueue, func(_ context.Context, c *log.Commit, name string, r log.Record) error {
		q, err := l.LookUpTopic(name)
		if err == nil {
			c.AppendAs("queue", q.Partition(0), r)
		}
		return err
	})
	return l, x
}

// queues makes topics that are like queues.
func queues(t testing.TB, l *log.Log, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := l.CreateTopic(ctx, name, log.TopicOptions{Kind: "queue"})
		require.NoError(t, err)
	}
}

func topics(t testing.TB, l *log.Log, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := l.CreateTopic(ctx, name, log.TopicOptions{})
		require.NoError(t, err)
	}
}

func topic(name string) pubsub.Destination {
	return pubsub.Destination{Kind: pubsub.ToTopic, Name: name}
}
func toQueue(name string) pubsub.Destination {
	return pubsub.Destination{Kind: pubsub.ToQueue, Name: name}
}
func toExchange(name string) pubsub.Destination {
	return pubsub.Destination{Kind: pubsub.ToExchange, Name: name}
}

func bind(t testing.TB, x *pubsub.Exchanges, exchange, key string, to pubsub.Destination) {
	t.Helper()
	require.NoError(t, x.Bind(ctx, pubsub.Binding{Exchange: exchange, Key: key, To: to}))
}

func declare(t testing.TB, x *pubsub.Exchanges, name string, kind pubsub.ExchangeKind) {
	t.Helper()
	require.NoError(t, x.Declare(ctx, name, pubsub.ExchangeOptions{Kind: kind}))
}

// route returns the names of the destinations.
func route(t testing.TB, x *pubsub.Exchanges, exchange, key string, headers ...log.Header) []string {
	t.Helper()
	to, err := x.Route(exchange, key, headers)
	require.NoError(t, err)
	names := []string{}
	for _, d := range to {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return names
}

// TestTopicExchange binds a queue to each pattern of the AMQP rules.
func TestTopicExchange(t *testing.T) {
	l, x := open(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	declare(t, x, "x", pubsub.Topic)
	queues(t, l, "q")
	for i, tc := range amqpRules {
		queues(t, l, fmt.Sprint("q", i))
		bind(t, x, "x", tc.pattern, toQueue(fmt.Sprint("q", i)))
	}
	for i, tc := range amqpRules {
		for key, want := range expectations(tc.yes, tc.no) {
			require.Equal(t, want == 1, slices.Contains(route(t, x, "x", key), fmt.Sprint("q", i)), "%q on %q", tc.pattern, key)
		}
	}
	// Two bindings that match are one copy. What is unbound gets none.
	bind(t, x, "x", "two.*", toQueue("q"))
	bind(t, x, "x", "*.two", toQueue("q"))
	count := func() int {
		n := 0
		for _, name := range route(t, x, "x", "two.two") {
			if name == "q" {
				n++
			}
		}
		return n
	}
	require.Equal(t, 1, count())
	for i, pattern := range []string{"two.*", "*.two"} {
		require.NoError(t, x.Unbind(ctx, pubsub.Binding{Exchange: "x", Key: pattern, To: toQueue("q")}))
		require.Equal(t, 1-i, count())
	}
}

// TestKindsOfExchanges routes by each kind.
func TestKindsOfExchanges(t *testing.T) {
	l, x := open(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	queues(t, l, "a", "b", "c", "all", "any", "none", "none-any", "jobs")
	for _, kind := range []pubsub.ExchangeKind{pubsub.Fanout, pubsub.Direct, pubsub.Headers} {
		declare(t, x, string(kind), kind)
	}
	bind(t, x, "fanout", "", toQueue("a"))
	bind(t, x, "fanout", "", toQueue("b"))
	require.Equal(t, []string{"a", "b"}, route(t, x, "fanout", "whatever"))

	bind(t, x, "direct", "k", toQueue("a"))
	bind(t, x, "direct", "k", toQueue("b"))
	bind(t, x, "direct", "l", toQueue("b"))
	bind(t, x, "direct", "*", toQueue("c"))
	require.Equal(t, []string{"a", "b"}, route(t, x, "direct", "k"))
	require.Equal(t, []string{"b"}, route(t, x, "direct", "l"))
	require.Equal(t, []string{"c"}, route(t, x, "direct", "*"))
	require.Empty(t, route(t, x, "direct", "m"))

	for name, b := range map[string]pubsub.Binding{
		"all":      {Headers: map[string]string{"format": "pdf", "type": "report"}},
		"any":      {Headers: map[string]string{"format": "pdf", "type": "report"}, Any: true},
		"none":     {},
		"none-any": {Any: true},
	} {
		b.Exchange, b.To = "headers", toQueue(name)
		require.NoError(t, x.Bind(ctx, b))
	}
	h := func(key, value string) log.Header { return log.Header{Key: key, Value: []byte(value)} }
	require.Equal(t, []string{"all", "any", "none"}, route(t, x, "headers", "", h("format", "pdf"), h("more", ""), h("type", "report")))
	require.Equal(t, []string{"any", "none"}, route(t, x, "headers", "", h("format", "pdf"), h("type", "log")))
	require.Equal(t, []string{"none"}, route(t, x, "headers", "", h("format", "zip")))
	require.Equal(t, []string{"none"}, route(t, x, "headers", ""))

	require.Equal(t, []string{"jobs"}, route(t, x, "", "jobs"), "a queue by its name")
	require.Empty(t, route(t, x, "", "nobody"))
	require.Empty(t, route(t, x, "", ""))
	_, err := x.Route("nowhere", "k", nil)
	var e *pubsub.ExchangeError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, pubsub.ErrNoExchange)
	require.Equal(t, "nowhere", e.Exchange)
}

// TestExchangesOfExchanges routes through exchanges, in a circle too, and to alternates.
func TestExchangesOfExchanges(t *testing.T) {
	l, x := open(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	queues(t, l, "q", "r", "lost", "found")
	require.NoError(t, x.Declare(ctx, "in", pubsub.ExchangeOptions{Kind: pubsub.Direct, Alternate: "rest"}))
	declare(t, x, "middle", pubsub.Topic)
	bind(t, x, "in", "a.b", toExchange("middle"))
	bind(t, x, "in", "a.b", toQueue("q"))
	bind(t, x, "middle", "a.#", toQueue("q"))
	bind(t, x, "middle", "#.b", toQueue("r"))
	bind(t, x, "middle", "#", toExchange("in"))
	require.Equal(t, []string{"q", "r"}, route(t, x, "in", "a.b"))
	require.Empty(t, route(t, x, "in", "other"), "the alternate is not there yet")
	require.NoError(t, x.Declare(ctx, "rest", pubsub.ExchangeOptions{Alternate: "last"}))
	require.NoError(t, x.Declare(ctx, "last", pubsub.ExchangeOptions{Alternate: "in"}))
	require.Empty(t, route(t, x, "in", "other"), "alternates in a circle")
	bind(t, x, "last", "", toQueue("lost"))
	require.Equal(t, []string{"lost"}, route(t, x, "in", "other"))
	bind(t, x, "rest", "", toQueue("found"))
	require.Equal(t, []string{"found"}, route(t, x, "in", "other"))

	// Whatever leads to an exchange goes with it.
	require.NoError(t, x.Delete(ctx, "middle"))
	require.ErrorIs(t, x.Delete(ctx, "middle"), pubsub.ErrNoExchange)
	require.Equal(t, []string{"q"}, route(t, x, "in", "a.b"))
	require.Len(t, x.Bindings(""), 3)
	declare(t, x, "middle", pubsub.Topic)
	require.Empty(t, x.Bindings("middle"))
}

// TestChanges declares and binds twice, and what cannot be.
func TestChanges(t *testing.T) {
	l, x := open(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	again, err := pubsub.Open(ctx, l)
	require.NoError(t, err)
	require.Same(t, x, again)
	topics(t, l, "t")
	_, err = l.CreateTopic(ctx, "jobs", log.TopicOptions{Kind: "queue"})
	require.NoError(t, err)
	declare(t, x, "x", "")
	declare(t, x, "x", pubsub.Fanout)
	bind(t, x, "x", "", topic("t"))
	bind(t, x, "x", "", topic("t"))
	require.Equal(t, []pubsub.ExchangeInfo{{Name: "x", ExchangeOptions: pubsub.ExchangeOptions{Kind: pubsub.Fanout}, Bindings: 1}}, x.List())
	require.Equal(t, []string{"t"}, route(t, x, "x", ""))

	mismatch := func(o pubsub.ExchangeOptions, field, have, want string) {
		t.Helper()
		var e *log.MismatchError
		require.ErrorAs(t, x.Declare(ctx, "x", o), &e)
		require.Equal(t, log.MismatchError{Name: "x", Field: field, Have: have, Want: want}, *e)
	}
	mismatch(pubsub.ExchangeOptions{Kind: pubsub.Topic}, "kind", "fanout", "topic")
	mismatch(pubsub.ExchangeOptions{Alternate: "y"}, "alternate", "", "y")
	for name, o := range map[string]pubsub.ExchangeOptions{"": {}, "a\x00": {}, "a\xff": {}, "y": {Alternate: "y"}, "z": {Kind: "best"}} {
		require.ErrorIs(t, x.Declare(ctx, name, o), pubsub.ErrInvalid, "%q", name)
	}
	declare(t, x, "headers", pubsub.Headers)
	for _, tc := range []struct {
		b    pubsub.Binding
		want error
	}{
		{pubsub.Binding{Exchange: "none", To: topic("t")}, pubsub.ErrNoExchange},
		{pubsub.Binding{Exchange: "x", To: toExchange("none")}, pubsub.ErrNoExchange},
		{pubsub.Binding{Exchange: "x", To: topic("none")}, log.ErrNoTopic},
		{pubsub.Binding{Exchange: "x", To: topic("jobs")}, log.ErrKind},
		{pubsub.Binding{Exchange: "x", To: toQueue("none")}, log.ErrNoTopic},
		{pubsub.Binding{Exchange: "x", To: toQueue("t")}, log.ErrKind},
		{pubsub.Binding{Exchange: "x", Key: "k", To: topic("t")}, pubsub.ErrInvalid},
		{pubsub.Binding{Exchange: "x", Any: true, To: topic("t")}, pubsub.ErrInvalid},
		{pubsub.Binding{Exchange: "x"}, pubsub.ErrInvalid},
		{pubsub.Binding{Exchange: "x", To: toExchange("x")}, pubsub.ErrInvalid},
		{pubsub.Binding{Exchange: "headers", Headers: map[string]string{"a": "\xff"}, To: topic("t")}, pubsub.ErrInvalid},
	} {
		require.ErrorIs(t, x.Bind(ctx, tc.b), tc.want, "%+v", tc.b)
	}
	require.ErrorIs(t, x.Unbind(ctx, pubsub.Binding{Exchange: "x", To: topic("other")}), pubsub.ErrNotBound)
	require.Len(t, x.Bindings(""), 1)
}

// TestPublish appends to all destinations and what else is in the commit, or to none.
func TestPublish(t *testing.T) {
	l, x := open(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	topics(t, l, "a", "b", "gone", "mine")
	queues(t, l, "jobs")
	declare(t, x, "x", pubsub.Fanout)
	for _, name := range []string{"a", "b", "gone"} {
		bind(t, x, "x", "", topic(name))
	}
	bind(t, x, "x", "", toQueue("jobs"))
	require.NoError(t, l.DeleteTopic(ctx, "gone"))
	r, err := x.Publish(ctx, pubsub.Publication{Exchange: "x", Record: log.Record{Value: []byte("one")}},
		pubsub.Publication{Key: "jobs", Record: log.Record{Value: []byte("two")}})
	require.NoError(t, err)
	require.Len(t, r.Batches(), 3)

	mine, err := l.Topic("mine")
	require.NoError(t, err)
	add := func() error {
		c := l.NewCommit()
		c.Append(mine, log.Record{Value: []byte("three")})
		to, err := x.Add(ctx, c, pubsub.Publication{Exchange: "x", Record: log.Record{Value: []byte("three")}})
		require.NoError(t, err)
		require.Len(t, to, 3)
		c.Require(log.ExpectOffset(mine.Partition(0), 0))
		_, err = c.Commit(ctx)
		return err
	}
	require.NoError(t, add())
	var offset *log.OffsetError
	require.ErrorAs(t, add(), &offset)
	require.Equal(t, map[string][]string{
		"a": {"one", "three"}, "b": {"one", "three"}, "jobs": {"one", "two", "three"}, "mine": {"three"},
	}, contents(t, l))
	require.Equal(t, pubsub.ExchangeMetrics{Routed: 4}, x.Metrics())

	_, err = l.CreateTopic(ctx, "p", log.TopicOptions{Kind: "pigeon"})
	require.NoError(t, err)
	bind(t, x, "x", "", pubsub.Destination{Kind: "pigeon", Name: "p"})
	_, err = x.Publish(ctx, pubsub.Publication{Exchange: "x"})
	var target *pubsub.TargetError
	require.ErrorAs(t, err, &target)
	require.ErrorIs(t, err, pubsub.ErrNoTarget)
	require.Equal(t, pubsub.TargetError{Kind: "pigeon", Name: "p"}, *target)
	broken := errors.New("broken")
	x.SetTarget("pigeon", func(context.Context, *log.Commit, string, log.Record) error { return broken })
	_, err = x.Publish(ctx, pubsub.Publication{Exchange: "x"})
	require.ErrorIs(t, err, broken)
	require.Len(t, contents(t, l)["a"], 2)
}

// contents returns the values in each topic.
func contents(t testing.TB, l *log.Log) map[string][]string {
	t.Helper()
	got := map[string][]string{}
	for r, err := range l.Read(log.Oldest) {
		require.NoError(t, err)
		got[r.Topic] = append(got[r.Topic], string(r.Value))
	}
	return got
}

// TestExchangesCrash crashes at every operation on a file, while exchanges and bindings change and
// records are published: each change is there whole or not at all, in the order in which they were
// made, those that were acknowledged are there, and all topics have the same records.
func TestExchangesCrash(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	type moment struct {
		snap *crashfs.Snapshot
		done int
	}
	var moments []moment
	acked := 0 // changes; only this goroutine's operations are at it
	l, x := open(t, fs)
	topics(t, l, "a", "b")
	states := []string{state(x)}
	fs.SetHook(func(op crashfs.Op) {
		if op.After {
			moments = append(moments, moment{fs.Snapshot(), acked})
		}
	})
	step := func(err error) {
		t.Helper()
		require.NoError(t, err)
		states = append(states, state(x))
		acked++
	}
	published := 0
	publish := func() {
		_, err := x.Publish(ctx, pubsub.Publication{Exchange: "x", Key: "k.l", Record: log.Record{Value: fmt.Append(nil, published)}})
		require.NoError(t, err)
		published++
	}
	step(x.Declare(ctx, "x", pubsub.ExchangeOptions{Kind: pubsub.Topic}))
	step(x.Declare(ctx, "y", pubsub.ExchangeOptions{Alternate: "x"}))
	step(x.Bind(ctx, pubsub.Binding{Exchange: "x", Key: "k.*", To: toExchange("y")}))
	step(x.Bind(ctx, pubsub.Binding{Exchange: "y", To: topic("a")}))
	// From here on both topics get everything.
	step(x.Bind(ctx, pubsub.Binding{Exchange: "y", To: topic("b")}))
	publish()
	step(x.Bind(ctx, pubsub.Binding{Exchange: "x", Key: "#", To: topic("a")}))
	publish()
	step(x.Bind(ctx, pubsub.Binding{Exchange: "x", Key: "#.l", To: topic("b")}))
	step(x.Unbind(ctx, pubsub.Binding{Exchange: "x", Key: "k.*", To: toExchange("y")}))
	publish()
	step(x.Delete(ctx, "y"))
	publish()
	require.NoError(t, l.Close())
	fs.SetHook(nil)
	require.Greater(t, len(moments), 20)

	for i, m := range moments {
		for _, policy := range []crashfs.Policy{crashfs.None, crashfs.All} {
			l, x := open(t, m.snap.Image(crashfs.Cut{Policy: policy}))
			at := slices.Index(states, state(x))
			require.GreaterOrEqual(t, at, m.done, "image %d, %v: %s", i, policy, state(x))
			require.LessOrEqual(t, at, m.done+1)
			got := contents(t, l)
			require.Equal(t, got["a"], got["b"])
			require.NoError(t, l.Close())
		}
	}
}

// state is all that there is, as text.
func state(x *pubsub.Exchanges) string { return fmt.Sprintf("%+v %+v", x.List(), x.Bindings("")) }
