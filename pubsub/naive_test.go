package pubsub_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/pubsub"
)

// naiveBroker is the broker of textbooks.
type naiveBroker struct{ subscribers map[string][]chan string }

func (b *naiveBroker) subscribe(topic string) <-chan string {
	c := make(chan string, 2)
	b.subscribers[topic] = append(b.subscribers[topic], c)
	return c
}

func (b *naiveBroker) publish(topic, value string) error {
	for _, c := range b.subscribers[topic] {
		select {
		case c <- value:
		default: // too slow: skipped
		}
	}
	return nil
}

// TestNaive_S05_PublishToNobodyAndToTheSlow: the naive broker loses what nobody subscribes to and what a
// subscriber is too slow for, and says nothing; who comes late sees nothing. Here both are counted, and
// an error when asked, and what is routed to a topic is there for who comes late.
func TestNaive_S05_PublishToNobodyAndToTheSlow(t *testing.T) {
	naive := &naiveBroker{subscribers: map[string][]chan string{}}
	require.NoError(t, naive.publish("orders", "lost"))
	c := naive.subscribe("orders")
	for i := range 5 {
		require.NoError(t, naive.publish("orders", fmt.Sprint(i)))
	}
	require.Len(t, c, 2, "three are gone, and nobody knows")

	h := pubsub.NewHub()
	_, err := h.Publish(ctx, pubsub.Message{Topic: "orders", Mandatory: true})
	require.ErrorIs(t, err, pubsub.ErrNoSubscriber)
	require.Zero(t, publish(t, h, "orders", "unheard"))
	require.Equal(t, uint64(2), h.Metrics().Unheard)
	s := subscribe(t, h, "orders", pubsub.SubscribeOptions{Buffer: 2, Policy: pubsub.DropOldest})
	for i := range 5 {
		require.Equal(t, 1, publish(t, h, "orders", fmt.Sprint(i)))
	}
	require.Equal(t, uint64(3), s.Dropped())
	require.Equal(t, []string{"3", "4"}, []string{receive(t, s), receive(t, s)}, "the latest are there")
	require.NoError(t, s.Close())
	require.Zero(t, h.Metrics().Subscriptions, "no leak")
	require.NoError(t, h.Close())

	l, x := open(t, vfs.NewMem())
	defer func() { require.NoError(t, l.Close()) }()
	topics(t, l, "orders")
	declare(t, x, "orders", pubsub.Fanout)
	bind(t, x, "orders", "", topic("orders"))
	for i := range 5 {
		_, err := x.Publish(ctx, pubsub.Publication{Exchange: "orders", Record: log.Record{Value: fmt.Append(nil, i)}})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"0", "1", "2", "3", "4"}, contents(t, l)["orders"], "for who comes late")
}

// TestNaive_S07_PublishIsAcknowledgedWhenItIsDurable: a naive publisher hands a message over and goes
// on; what is in memory alone a power cut takes. Here Publish returns when the record is durable: the
// power is cut at every moment, with nothing left but what was synced, and each record whose Publish
// had returned is there.
func TestNaive_S07_PublishIsAcknowledgedWhenItIsDurable(t *testing.T) {
	const n = 4
	run := func(naive bool) (images []*crashfs.FS, acked []int) {
		fs := crashfs.New(crashfs.Options{})
		l, x := open(t, fs)
		queues(t, l, "jobs")
		declare(t, x, "orders", pubsub.Fanout)
		bind(t, x, "orders", "", toQueue("jobs"))
		for i := range n {
			p := pubsub.Publication{Exchange: "orders", Record: log.Record{Value: fmt.Append(nil, i)}}
			if naive {
				c := l.NewCommit()
				c.Durability(log.Buffered)
				_, err := x.Add(ctx, c, p)
				require.NoError(t, err)
				_, err = c.Commit(ctx)
				require.NoError(t, err)
			} else {
				_, err := x.Publish(ctx, p)
				require.NoError(t, err)
			}
			images, acked = append(images, fs.Snapshot().Image(crashfs.Cut{})), append(acked, i+1)
		}
		require.NoError(t, l.Close())
		return images, acked
	}
	for _, naive := range []bool{true, false} {
		images, acked := run(naive)
		lost := 0
		for i, image := range images {
			l, _ := open(t, image)
			lost += max(0, acked[i]-len(contents(t, l)["jobs"]))
			require.NoError(t, l.Close())
		}
		if naive {
			require.Positive(t, lost)
		} else {
			require.Zero(t, lost)
		}
	}
}

// TestNaive_S08_FanoutWithoutBindings: published to a fanout exchange without bindings, a message
// vanishes. Here that is counted, an error when asked, or kept by an alternate exchange.
func TestNaive_S08_FanoutWithoutBindings(t *testing.T) {
	fs := vfs.NewMem()
	l, x := open(t, fs)
	topics(t, l, "unrouted")
	require.NoError(t, x.Declare(ctx, "events", pubsub.ExchangeOptions{Alternate: "rest"}))
	p := pubsub.Publication{Exchange: "events", Key: "k", Record: log.Record{Value: []byte("e")}, Mandatory: true}
	_, err := x.Publish(ctx, p)
	var unroutable *pubsub.UnroutableError
	require.ErrorAs(t, err, &unroutable)
	require.ErrorIs(t, err, pubsub.ErrUnroutable)
	require.Equal(t, pubsub.UnroutableError{Exchange: "events", Key: "k"}, *unroutable)
	p.Mandatory = false
	r, err := x.Publish(ctx, p)
	require.NoError(t, err)
	require.Zero(t, r.Count)
	require.Equal(t, pubsub.ExchangeMetrics{Unroutable: 2}, x.Metrics())

	declare(t, x, "rest", pubsub.Fanout)
	bind(t, x, "rest", "", topic("unrouted"))
	require.NoError(t, l.Close())
	l, x = open(t, fs) // bindings are durable
	p.Mandatory = true
	_, err = x.Publish(ctx, p)
	require.NoError(t, err)
	require.Equal(t, []string{"e"}, contents(t, l)["unrouted"])
	require.NoError(t, l.Close())
}
