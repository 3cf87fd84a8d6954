package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/pubsub"
)

// TestRequests has a thousand requests under way at once, replied to in another order by several.
func TestRequests(t *testing.T) {
	h := pubsub.NewHub()
	const n = 1000
	s := subscribe(t, h, "double", pubsub.SubscribeOptions{})
	var server, clients sync.WaitGroup
	server.Go(func() {
		var held []pubsub.Message
		for range n {
			m, err := s.Receive(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			held = append(held, m)
		}
		if got := h.Metrics().Requests; got != n {
			t.Errorf("%d requests are under way", got)
		}
		for i := range held {
			m := &held[len(held)-1-i]
			if err := m.Respond(pubsub.Message{Value: append(m.Value, m.Value...)}); err != nil {
				t.Error(err)
			}
			if err := m.Respond(pubsub.Message{}); !errors.Is(err, pubsub.ErrLate) {
				t.Errorf("a second reply: %v", err)
			}
		}
	})
	for i := range n {
		clients.Go(func() {
			v := fmt.Sprint(i, ";")
			reply, err := h.Request(ctx, pubsub.Message{Topic: "double", Value: []byte(v)})
			if err != nil || string(reply.Value) != v+v {
				t.Errorf("%q: %q, %v", v, reply.Value, err)
			}
		})
	}
	clients.Wait()
	server.Wait()
	require.Equal(t, uint64(n), h.Metrics().Late, "the second replies")
	require.Zero(t, h.Metrics().Requests)
	require.NoError(t, h.Close())
}

// TestRequestEnds ends requests by their deadline, by Close, and for want of a subscriber.
func TestRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := pubsub.NewHub()
		_, err := h.Request(ctx, pubsub.Message{Topic: "none"})
		var none *pubsub.NoSubscriberError
		require.ErrorAs(t, err, &none)
		require.Equal(t, "none", none.Topic)

		s := subscribe(t, h, "slow", pubsub.SubscribeOptions{})
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = h.Request(short, pubsub.Message{Topic: "slow"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		m, err := s.Receive(ctx)
		require.NoError(t, err)
		require.True(t, m.IsRequest())
		require.ErrorIs(t, m.Respond(pubsub.Message{}), pubsub.ErrLate)
		require.Equal(t, uint64(1), h.Metrics().Late)

		publish(t, h, "slow", "no request")
		m, err = s.Receive(ctx)
		require.NoError(t, err)
		require.False(t, m.IsRequest())
		require.ErrorIs(t, m.Respond(pubsub.Message{}), pubsub.ErrNoRequest)

		go func() {
			synctest.Wait()
			_ = h.Close()
		}()
		_, err = h.Request(ctx, pubsub.Message{Topic: "slow"})
		require.ErrorIs(t, err, pubsub.ErrClosed)
		require.Zero(t, h.Metrics().Requests)
	})
}
