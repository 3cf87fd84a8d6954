package pubsub_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/pubsub"
)

// BenchmarkLatency measures from Publish until a sleeping subscriber has the message, and the same with
// a bare buffered channel, in turns. It reports both and their ratio.
func BenchmarkLatency(b *testing.B) {
	h := pubsub.NewHub()
	s := subscribe(b, h, "a.b", pubsub.SubscribeOptions{})
	bare := make(chan pubsub.Message, 256)
	arrived := make(chan time.Time)
	go func() {
		for m := range bare {
			_ = m
			arrived <- time.Now()
		}
	}()
	go func() {
		for _, err := range s.Messages(ctx) {
			if err == nil {
				arrived <- time.Now()
			}
		}
		close(arrived)
	}()
	m := pubsub.Message{Topic: "a.b", Value: make([]byte, 100)}
	var took [2][]time.Duration
	one := func(i int) {
		// The receiver goes to sleep meanwhile.
		for began := time.Now(); time.Since(began) < 20*time.Microsecond; {
		}
		began := time.Now()
		if i == 0 {
			bare <- m
		} else if _, err := h.Publish(ctx, m); err != nil {
			b.Fatal(err)
		}
		took[i] = append(took[i], (<-arrived).Sub(began))
	}
	for b.Loop() {
		one(0)
		one(1)
	}
	require.NoError(b, s.Close())
	close(bare)
	<-arrived
	var q [2][2]float64
	for i, name := range []string{"bare", "hub"} {
		slices.Sort(took[i])
		for j, p := range []float64{0.5, 0.99} {
			q[i][j] = float64(took[i][int(p*float64(len(took[i])-1))].Nanoseconds())
			b.ReportMetric(q[i][j], fmt.Sprintf("%s-p%g-ns", name, p*100))
		}
	}
	b.ReportMetric(q[1][0]/q[0][0], "p50-ratio")
	b.ReportMetric(q[1][1]/q[0][1], "p99-ratio")
}

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
		bind(b, x, "x", fmt.Sprintf("*.%d.#", i), queue(fmt.Sprint(i%10)))
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
