package pubsub_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratalog/strata/pubsub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func subscribe(t testing.TB, h *pubsub.Hub, pattern string, o pubsub.SubscribeOptions) *pubsub.Subscription {
	t.Helper()
	s, err := h.Subscribe(pattern, o)
	require.NoError(t, err)
	return s
}

func publish(t testing.TB, h *pubsub.Hub, topic, value string) int {
	t.Helper()
	n, err := h.Publish(ctx, pubsub.Message{Topic: topic, Value: []byte(value)})
	require.NoError(t, err)
	return n
}

func receive(t testing.TB, s *pubsub.Subscription) string {
	t.Helper()
	m, err := s.Receive(ctx)
	require.NoError(t, err)
	return string(m.Value)
}

// amqpRules are patterns, and the routing keys that they match and do not.
var amqpRules = []struct {
	pattern string
	yes, no []string
}{
	{"stock.nyse", []string{"stock.nyse"}, []string{"stock", "nyse", "stock.nyse.ibm", "stock.", "Stock.nyse", ""}},
	{"*", []string{"a", "stock"}, []string{"", "a.b", "a."}},
	{"#", []string{"", "a", "a.b", "a.b.c", "."}, nil},
	{"stock.#", []string{"stock", "stock.usd", "stock.usd.nyse", "stock."}, []string{"", "stocks", "a.stock"}},
	{"*.nyse", []string{"usd.nyse", ".nyse"}, []string{"nyse", "a.usd.nyse", "usd.nyse.a"}},
	{"#.nyse", []string{"nyse", "usd.nyse", "a.usd.nyse", "nyse.nyse"}, []string{"nyse.a", "", "usdnyse"}},
	{"*.stock.#", []string{"usd.stock", "eur.stock.db", "a.stock.b.c"}, []string{"stock.nasdaq", "stock", "a.b.stock"}},
	{"*.*", []string{"a.b", "."}, []string{"a", "a.b.c", ""}},
	{"*.*.*", []string{"a.b.c", "a..c"}, []string{"a.b", "a.b.c.d"}},
	{"#.*", []string{"a", "a.b", "a.b.c"}, []string{""}},
	{"*.#", []string{"a", "a.b", "a.b.c"}, []string{""}},
	{"#.#", []string{"", "a", "a.b"}, nil},
	{"a.#.b", []string{"a.b", "a.x.b", "a.x.y.b", "a.b.b"}, []string{"a", "b", "a.x", "x.a.b", "a.b.x"}},
	{"a.#.b.#.c", []string{"a.b.c", "a.x.b.y.z.c", "a.b.b.c.c"}, []string{"a.c", "a.b", "a.c.b"}},
	{"a.*.#.b", []string{"a.x.b", "a.x.y.b", "a.b.b"}, []string{"a.b"}},
	{"#.a.#", []string{"a", "x.a", "a.y", "x.y.a.z"}, []string{"", "b", "ab"}},
	{"a*", []string{"a*"}, []string{"ab", "a"}},
	{"a.#b", []string{"a.#b"}, []string{"a.b", "a.x.b"}},
	{"", []string{""}, []string{"a", "."}},
	{"lazy.#", []string{"lazy.orange.male.rabbit", "lazy.pink.rabbit"}, []string{"quick.lazy"}},
	{"*.orange.*", []string{"quick.orange.rabbit"}, []string{"quick.orange.male.rabbit", "orange"}},
}

// TestPatterns subscribes to each pattern of the AMQP rules alone, and to all of them at once.
func TestPatterns(t *testing.T) {
	all := pubsub.NewHub()
	defer all.Close()
	subs := map[string]*pubsub.Subscription{}
	for _, tc := range amqpRules {
		subs[tc.pattern] = subscribe(t, all, tc.pattern, pubsub.SubscribeOptions{})
	}
	for _, tc := range amqpRules {
		h := pubsub.NewHub()
		subscribe(t, h, tc.pattern, pubsub.SubscribeOptions{})
		for key, want := range expectations(tc.yes, tc.no) {
			require.Equal(t, want, publish(t, h, key, ""), "%q on %q", tc.pattern, key)
			before := subs[tc.pattern].Waiting()
			publish(t, all, key, "")
			require.Equal(t, want, subs[tc.pattern].Waiting()-before, "%q on %q among all", tc.pattern, key)
			require.Equal(t, want == 1, naiveMatch(strings.Split(tc.pattern, "."), strings.Split(key, "."), tc.pattern, key))
		}
		for _, s := range subs {
			for s.Waiting() > 0 {
				receive(t, s)
			}
		}
		require.NoError(t, h.Close())
	}
}

func expectations(yes, no []string) map[string]int {
	m := map[string]int{}
	for _, k := range yes {
		m[k] = 1
	}
	for _, k := range no {
		m[k] = 0
	}
	return m
}

// naiveMatch is the rules, word by word.
func naiveMatch(pattern, key []string, wholePattern, wholeKey string) bool {
	if wholePattern == "" {
		pattern = nil
	}
	if wholeKey == "" {
		key = nil
	}
	var match func(p, k []string) bool
	match = func(p, k []string) bool {
		switch {
		case len(p) == 0:
			return len(k) == 0
		case p[0] == "#":
			return match(p[1:], k) || len(k) > 0 && match(p, k[1:])
		case len(k) == 0:
			return false
		}
		return (p[0] == "*" || p[0] == k[0]) && match(p[1:], k[1:])
	}
	return match(pattern, key)
}

// TestPatternsRandom compares many patterns at once with the naive rules, as subscribers come and go.
func TestPatternsRandom(t *testing.T) {
	seeds := uint64(10)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 5))
		name := func(alphabet ...string) string {
			var w []string
			for range rng.IntN(6) {
				w = append(w, alphabet[rng.IntN(len(alphabet))])
			}
			return strings.Join(w, ".")
		}
		h := pubsub.NewHub()
		var subs []*pubsub.Subscription
		for range 300 {
			if rng.IntN(3) > 0 || len(subs) == 0 {
				subs = append(subs, subscribe(t, h, name("a", "b", "*", "#"), pubsub.SubscribeOptions{Buffer: 1, Policy: pubsub.DropOldest}))
			} else {
				i := rng.IntN(len(subs))
				require.NoError(t, subs[i].Close())
				subs = append(subs[:i], subs[i+1:]...)
			}
			key := name("a", "b", "c")
			want := 0
			for _, s := range subs {
				if naiveMatch(strings.Split(s.Pattern(), "."), strings.Split(key, "."), s.Pattern(), key) {
					want++
				}
			}
			require.Equal(t, want, publish(t, h, key, ""), "seed %d: %q", seed, key)
		}
		require.NoError(t, h.Close())
		require.Zero(t, h.Metrics().Subscriptions)
		require.Empty(t, h.Patterns())
	}
}

// TestPolicies fills buffers under each policy.
func TestPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := pubsub.NewHub()
		wait := subscribe(t, h, "wait", pubsub.SubscribeOptions{Buffer: 2})
		drop := subscribe(t, h, "drop", pubsub.SubscribeOptions{Buffer: 2, Policy: pubsub.DropOldest})
		cut := subscribe(t, h, "cut", pubsub.SubscribeOptions{Buffer: 2, Policy: pubsub.Disconnect})
		for i := range 5 {
			publish(t, h, "drop", fmt.Sprint(i))
		}
		require.Equal(t, uint64(3), drop.Dropped())
		require.Equal(t, "3", receive(t, drop))
		require.Equal(t, "4", receive(t, drop))

		for i := range 4 {
			require.Equal(t, []int{1, 1, 0, 0}[i], publish(t, h, "cut", fmt.Sprint(i)))
		}
		require.Equal(t, "0", receive(t, cut))
		require.Equal(t, "1", receive(t, cut))
		_, err := cut.Receive(ctx)
		var slow *pubsub.SlowError
		require.ErrorAs(t, err, &slow)
		require.ErrorIs(t, err, pubsub.ErrSlow)
		require.Equal(t, pubsub.SlowError{Pattern: "cut", Buffer: 2}, *slow)

		publish(t, h, "wait", "0")
		publish(t, h, "wait", "1")
		done := make(chan struct{})
		go func() {
			defer close(done)
			publish(t, h, "wait", "2")
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("did not wait")
		default:
		}
		require.Equal(t, "0", receive(t, wait))
		<-done
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		n, err := h.Publish(short, pubsub.Message{Topic: "wait"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, n)
		_, err = drop.Receive(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		// Close of a subscriber frees those who wait for it.
		go func() {
			synctest.Wait()
			_ = wait.Close()
		}()
		require.Zero(t, publish(t, h, "wait", "never"))
		require.Equal(t, "1", receive(t, wait))
		require.Equal(t, "2", receive(t, wait))
		_, err = wait.Receive(ctx)
		require.ErrorIs(t, err, pubsub.ErrClosed)
		require.Equal(t, []string{"drop"}, h.Patterns())
		require.Equal(t, pubsub.HubMetrics{Subscriptions: 1, Published: 14, Delivered: 10, Unheard: 3, Dropped: 3, Slow: 1}, h.Metrics())

		require.NoError(t, h.Close())
		require.NoError(t, h.Close())
		_, err = h.Publish(ctx, pubsub.Message{Topic: "drop"})
		require.ErrorIs(t, err, pubsub.ErrClosed)
		_, err = h.Subscribe("drop", pubsub.SubscribeOptions{})
		require.ErrorIs(t, err, pubsub.ErrClosed)
		_, err = h.Request(ctx, pubsub.Message{Topic: "drop"})
		require.ErrorIs(t, err, pubsub.ErrClosed)
	})
}

func TestSubscribeInvalid(t *testing.T) {
	h := pubsub.NewHub()
	for _, o := range []pubsub.SubscribeOptions{{Policy: 3}, {Buffer: -1}, {Buffer: 1_000_001}} {
		_, err := h.Subscribe("a", o)
		require.ErrorIs(t, err, pubsub.ErrInvalid)
	}
	_, err := h.Subscribe(strings.Repeat("a", pubsub.MaxNameBytes+1), pubsub.SubscribeOptions{})
	require.ErrorIs(t, err, pubsub.ErrInvalid)
	_, err = h.Publish(ctx, pubsub.Message{Topic: "\xff"})
	require.ErrorIs(t, err, pubsub.ErrInvalid)
}

// TestHubConcurrent has publishers, and subscribers that stay and that come and go: those that stay
// get everything, each publisher's in order.
func TestHubConcurrent(t *testing.T) {
	h := pubsub.NewHub()
	const publishers, each, stay = 4, 2000, 3
	var readers, churn, writers sync.WaitGroup
	for i := range stay {
		s := subscribe(t, h, []string{"a.#", "a.*", "#"}[i], pubsub.SubscribeOptions{Buffer: 16})
		readers.Go(func() {
			next := [publishers]uint32{}
			for range publishers * each {
				m, err := s.Receive(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				p, n := m.Value[0], binary.BigEndian.Uint32(m.Value[1:])
				if next[p] != n {
					t.Errorf("publisher %d: got %d, want %d", p, n, next[p])
					return
				}
				next[p]++
			}
		})
	}
	come, stop := context.WithCancel(ctx)
	for i := range 2 {
		churn.Go(func() {
			for come.Err() == nil {
				s, err := h.Subscribe("a.b", pubsub.SubscribeOptions{Buffer: 1, Policy: pubsub.Policy(i + 1)})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Receive(come); err != nil && come.Err() == nil {
					t.Error(err)
				}
				_ = s.Close()
			}
		})
	}
	for p := range publishers {
		writers.Go(func() {
			for n := range uint32(each) {
				m := pubsub.Message{Topic: "a.b", Value: binary.BigEndian.AppendUint32([]byte{byte(p)}, n)}
				if _, err := h.Publish(ctx, m); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	readers.Wait()
	stop()
	churn.Wait()
	require.Equal(t, stay, h.Metrics().Subscriptions)
	require.NoError(t, h.Close())
}
