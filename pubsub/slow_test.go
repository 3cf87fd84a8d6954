package pubsub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/pubsub"
)

// TestSlowHoldsUpNoOther publishes while the first of three subscribers is full: the others have the
// message at once, also when the publisher gives up.
func TestSlowHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := pubsub.NewHub()
		slow := subscribe(t, h, "a", pubsub.SubscribeOptions{Buffer: 1})
		quick := subscribe(t, h, "a", pubsub.SubscribeOptions{})
		pattern := subscribe(t, h, "*", pubsub.SubscribeOptions{})
		require.Equal(t, 3, publish(t, h, "a", "0"))
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		n, err := h.Publish(short, pubsub.Message{Topic: "a", Value: []byte("1")})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 2, n)
		for _, s := range []*pubsub.Subscription{quick, pattern} {
			require.Equal(t, 2, s.Waiting())
		}
		require.Equal(t, 1, slow.Waiting())

		// A subscriber for whom somebody waits leaves.
		var published sync.WaitGroup
		published.Go(func() {
			n, err := h.Publish(ctx, pubsub.Message{Topic: "a", Value: []byte("2")})
			if n != 2 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
		synctest.Wait()
		require.NoError(t, slow.Close())
		published.Wait()
		require.Equal(t, "0", receive(t, slow))
		_, err = slow.Receive(ctx)
		require.ErrorIs(t, err, pubsub.ErrClosed)
		require.Equal(t, pubsub.HubMetrics{Subscriptions: 2, Published: 3, Delivered: 7}, h.Metrics())
		require.NoError(t, h.Close())
	})
}

// TestCloseEndsWaits closes the hub while a publisher and a requester wait for a subscriber that is full,
// and another requester for its reply.
func TestCloseEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := pubsub.NewHub()
		subscribe(t, h, "full", pubsub.SubscribeOptions{Buffer: 1})
		subscribe(t, h, "served", pubsub.SubscribeOptions{})
		publish(t, h, "full", "")
		var waiting sync.WaitGroup
		for _, wait := range []func() error{
			func() error { _, err := h.Publish(ctx, pubsub.Message{Topic: "full"}); return err },
			func() error { _, err := h.Request(ctx, pubsub.Message{Topic: "full"}); return err },
			func() error { _, err := h.Request(ctx, pubsub.Message{Topic: "served"}); return err },
		} {
			waiting.Go(func() {
				if err := wait(); !errors.Is(err, pubsub.ErrClosed) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		require.NoError(t, h.Close())
		waiting.Wait()
		require.Zero(t, h.Metrics().Requests)
		require.Zero(t, h.Metrics().Unheard)
	})
}

// TestDisconnectCountsOnce has many publishers find a subscriber full at the same time.
func TestDisconnectCountsOnce(t *testing.T) {
	h := pubsub.NewHub()
	for range 20 {
		subscribe(t, h, "a", pubsub.SubscribeOptions{Buffer: 1, Policy: pubsub.Disconnect})
	}
	publish(t, h, "a", "")
	var publishers sync.WaitGroup
	for range 50 {
		publishers.Go(func() {
			if _, err := h.Publish(ctx, pubsub.Message{Topic: "a"}); err != nil {
				t.Error(err)
			}
		})
	}
	publishers.Wait()
	require.Equal(t, uint64(20), h.Metrics().Slow)
	require.Zero(t, h.Metrics().Subscriptions)
	require.Equal(t, uint64(50), h.Metrics().Unheard)
	require.NoError(t, h.Close())
}

// TestReplyWhileOthersAreSlow has one subscriber reply while the request waits for another one that is
// full: the reply is returned then, not when the other one has room.
func TestReplyWhileOthersAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := pubsub.NewHub()
		full := subscribe(t, h, "a", pubsub.SubscribeOptions{Buffer: 1})
		publish(t, h, "a", "")
		server := subscribe(t, h, "#", pubsub.SubscribeOptions{})
		var served sync.WaitGroup
		served.Go(func() {
			m, err := server.Receive(ctx)
			if err == nil {
				err = m.Respond(pubsub.Message{Value: []byte("reply")})
			}
			if err != nil {
				t.Error(err)
			}
		})
		reply, err := h.Request(ctx, pubsub.Message{Topic: "a"})
		require.NoError(t, err)
		require.Equal(t, "reply", string(reply.Value))
		served.Wait()
		require.Equal(t, 1, full.Waiting())
		require.NoError(t, h.Close())
	})
}

// TestNoReplyIsLost has requesters give up while their replies come: a reply that Respond has accepted is
// returned, and one that was too late is counted.
func TestNoReplyIsLost(t *testing.T) {
	h := pubsub.NewHub()
	const n = 3000
	s := subscribe(t, h, "a", pubsub.SubscribeOptions{Buffer: 1})
	cancels := make(chan context.CancelFunc, n)
	accepted, returned, late := 0, 0, 0
	var server sync.WaitGroup
	server.Go(func() {
		for range n {
			m, err := s.Receive(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			go (<-cancels)()
			switch err := m.Respond(pubsub.Message{}); {
			case err == nil:
				accepted++
			case errors.Is(err, pubsub.ErrLate):
				late++
			default:
				t.Error(err)
			}
		}
	})
	for range n {
		once, cancel := context.WithCancel(ctx)
		cancels <- cancel
		_, err := h.Request(once, pubsub.Message{Topic: "a"})
		var no *pubsub.NoReplyError
		switch {
		case err == nil:
			returned++
		case !errors.As(err, &no) || !errors.Is(err, pubsub.ErrNoReply) || !errors.Is(err, context.Canceled) || no.Topic != "a":
			t.Fatal(err)
		}
	}
	server.Wait()
	require.Equal(t, accepted, returned)
	require.Equal(t, n, accepted+late)
	require.EqualValues(t, late, h.Metrics().Late)
	require.NoError(t, h.Close())
}
