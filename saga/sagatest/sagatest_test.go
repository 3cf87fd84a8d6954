package sagatest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
	"github.com/stratalog/strata/saga/sagatest"
	"github.com/stratalog/strata/timer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type trip struct{ Name string }

// TestCrash crashes a definition at each of its commits, with retries an hour apart.
func TestCrash(t *testing.T) {
	var mu sync.Mutex
	var balance map[string]int
	world := func(*log.Log) ([]saga.Def, error) {
		pay := func(by int) saga.Action[trip] {
			return func(_ context.Context, _ *trip, t *saga.Task) error {
				mu.Lock()
				defer mu.Unlock()
				if by > 0 && t.Attempt == 1 {
					return errors.New("busy")
				}
				balance[t.Key] = by // the bank heeds the key
				return nil
			}
		}
		return []saga.Def{saga.Define[trip]("trip").
			Step("pay", pay(100), pay(-100), saga.RetryPolicy(timer.Retry{First: time.Hour, Even: true})).
			Step("fly", func(_ context.Context, s *trip, _ *saga.Task) error {
				if s.Name == "grounded" {
					return saga.Final(errors.New("no seats"))
				}
				return nil
			}, nil)}, nil
	}
	for name, want := range map[string]int{"good": 100, "grounded": 0} {
		crashes := sagatest.Crash(t, world, func(r *saga.Runner) error {
			mu.Lock()
			balance = map[string]int{}
			mu.Unlock()
			return r.Start(context.Background(), "1", trip{name})
		}, func(t testing.TB, _ *log.Log, r *saga.Runner) {
			in, err := r.Get(context.Background(), "trip", "1")
			require.NoError(t, err)
			require.True(t, in.Status.Final())
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, want, balance["trip/1/pay"]+balance["trip/1/pay/undo"])
		})
		require.Greater(t, crashes, 3)
	}
}

type sum struct{ N int }

func events(values ...string) (list []log.Record) {
	for _, v := range values {
		list = append(list, log.Record{Topic: "t", Key: []byte("1"), Value: []byte(v)})
	}
	return list
}

func on(event string) func(log.Record) (string, bool) {
	return func(r log.Record) (string, bool) { return string(r.Key), string(r.Value) == event }
}

// TestOrders passes transitions that commute or wait for each other, and finds those that do not.
func TestOrders(t *testing.T) {
	plus := func(s *sum, _ *saga.Turn) error { s.N++; return nil }
	double := func(s *sum, _ *saga.Turn) error { s.N *= 2; return nil }
	good := saga.Define[sum]("s").On("t", "a", on("a"), plus).On("t", "b", on("b"), plus).
		On("t", "c", on("c"), double, saga.After("a", "b")).On("t", "d", on("d"), plus, saga.After("c"))
	require.Equal(t, 24, sagatest.Orders(t, good, "1", events("a", "b", "c", "d")...))
	bad := saga.Define[sum]("s").On("t", "a", on("a"), plus).On("t", "b", on("b"), double)
	f := &failing{TB: t}
	sagatest.Orders(f, bad, "1", events("a", "b")...)
	require.Contains(t, f.text, "the order of events matters")
}

// failing takes the failure of a test.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Errorf(format string, args ...any) { f.text += fmt.Sprintf(format, args...) }
