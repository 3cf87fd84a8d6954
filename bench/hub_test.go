package bench_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/bench"
	"github.com/stratalog/strata/pubsub"
)

// gateHub is how much longer than through a bare buffered channel a message may take to a subscriber that
// sleeps, at the median and at the 99th percentile.
const gateHub = 1.5

// TestGateHub is the gate of W14. In a round the two take turns, message by message, and each round gives two ratios:
// of the medians, and of the 99th percentiles. On a machine with nothing else to do their medians over the rounds are
// 1.0 to 1.4 and about 1.0, and the test ends when five rounds or more show medians within the gate.
//
// With three times as many threads at work as there are cores, the first of them was seen at 1.9: what the hub does
// beyond the channel then meets cold caches. So when the rounds have not shown it, what the test proves is less: the tail
// is within the gate in half of the rounds, and both are in one of them. A hub that can not be that fast fails; one that is
// not always, beside other work, does not.
func TestGateHub(t *testing.T) {
	pairs, rounds := 4000, 12
	if testing.Short() {
		pairs = 1500
	}
	var p50, p99 []float64
	once := false
	for len(p50) < rounds {
		p := newHubPair(t)
		for range pairs {
			p.turn(t)
		}
		p.close(t)
		half, tail := p.ratio(0.5), p.ratio(0.99)
		p50, p99 = append(p50, half), append(p99, tail)
		once = once || half <= gateHub && tail <= gateHub
		if len(p50) >= 5 && median(p50) <= gateHub && median(p99) <= gateHub {
			t.Logf("%.2f and %.2f of the channel's at p50 and p99: medians of %d rounds", median(p50), median(p99), len(p50))
			return
		}
	}
	if !once || median(p99) > gateHub {
		t.Fatalf("%.2f of the channel's at p50, %.2f at p99, round by round; at most %v is wanted", p50, p99, gateHub)
	}
	t.Logf("beside other work: %.2f of the channel's at p50, %.2f at p99, round by round", p50, p99)
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// BenchmarkHub measures from Publish until a sleeping subscriber has the message, and the same with a bare
// buffered channel, in turns.
func BenchmarkHub(b *testing.B) {
	p := newHubPair(b)
	for b.Loop() {
		p.turn(b)
	}
	p.close(b)
	for _, q := range []float64{0.5, 0.99} {
		b.ReportMetric(float64(bench.Quantile(p.hubTook, q)), fmt.Sprintf("hub-p%g-ns", q*100))
		b.ReportMetric(float64(bench.Quantile(p.bareTook, q)), fmt.Sprintf("channel-p%g-ns", q*100))
		b.ReportMetric(p.ratio(q), fmt.Sprintf("p%g-ratio", q*100))
	}
}

// hubPair is a hub with one subscriber, and a channel with one receiver.
type hubPair struct {
	hub               *pubsub.Hub
	channel           chan pubsub.Message
	arrived           chan time.Time // of either
	hubEnd            chan struct{}
	hubTook, bareTook []time.Duration
	m                 pubsub.Message
}

func newHubPair(tb testing.TB) *hubPair {
	p := &hubPair{
		hub: pubsub.NewHub(), channel: make(chan pubsub.Message, 256),
		arrived: make(chan time.Time), hubEnd: make(chan struct{}),
		m: pubsub.Message{Topic: "stock.usd.nyse", Value: payloads[128][0]},
	}
	s, err := p.hub.Subscribe("stock.*.nyse", pubsub.SubscribeOptions{Buffer: 256})
	require.NoError(tb, err)
	go func() {
		for m := range p.channel {
			_ = m
			p.arrived <- time.Now()
		}
		close(p.arrived)
	}()
	go func() {
		defer close(p.hubEnd)
		for m, err := range s.Messages(ctx) {
			if err != nil || len(m.Value) != 128 {
				tb.Errorf("%d bytes, %v", len(m.Value), err)
			}
			p.arrived <- time.Now()
		}
	}()
	return p
}

// turn sends a message by each of the two, when its receiver has gone to sleep.
func (p *hubPair) turn(tb testing.TB) {
	p.bareTook = append(p.bareTook, p.one(func() { p.channel <- p.m }))
	p.hubTook = append(p.hubTook, p.one(func() {
		if n, err := p.hub.Publish(ctx, p.m); n != 1 || err != nil {
			tb.Errorf("%d subscribers, %v", n, err)
		}
	}))
}

func (p *hubPair) one(send func()) time.Duration {
	for began := time.Now(); time.Since(began) < 20*time.Microsecond; { // nothing less exact is as short
	}
	began := time.Now()
	send()
	return (<-p.arrived).Sub(began)
}

func (p *hubPair) ratio(q float64) float64 {
	return float64(bench.Quantile(slices.Clone(p.hubTook), q)) / float64(bench.Quantile(slices.Clone(p.bareTook), q))
}

func (p *hubPair) close(tb testing.TB) {
	require.NoError(tb, p.hub.Close())
	<-p.hubEnd
	close(p.channel)
	<-p.arrived
}
