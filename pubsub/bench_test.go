package pubsub_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/pubsub"
)

// BenchmarkPublish publishes to so many subscribers, who keep up or drop, among a thousand patterns.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			h := pubsub.NewHub()
			for i := range 1000 {
				subscribe(b, h, fmt.Sprintf("other.%d.#", i), pubsub.SubscribeOptions{Buffer: 1})
			}
			for range n {
				subscribe(b, h, "stock.*.nyse", pubsub.SubscribeOptions{Policy: pubsub.DropOldest})
			}
			m := pubsub.Message{Topic: "stock.usd.nyse", Value: make([]byte, 100)}
			b.ReportAllocs()
			for b.Loop() {
				got, err := h.Publish(ctx, m)
				if err != nil || got != n {
					b.Fatal(got, err)
				}
			}
			require.NoError(b, h.Close())
		})
	}
}

// BenchmarkRoute finds the way of a key through a topic exchange with a thousand bindings.
func BenchmarkRoute(b *testing.B) {
	l, x := open(b, vfs.NewMem())
	declare(b, x, "x", pubsub.Topic)
	for i := range 10 {
		queues(b, l, fmt.Sprint(i))
	}
	for i := range 1000 {
		bind(b, x, "x", fmt.Sprintf("*.%d.#", i), toQueue(fmt.Sprint(i%10)))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		to, err := x.Route("x", fmt.Sprintf("a.%d.b", i%1000), []log.Header(nil))
		if err != nil || len(to) != 1 {
			b.Fatal(to, err)
		}
		i++
	}
	require.NoError(b, l.Close())
}
