package timer_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/timer"
)

func TestRetry(t *testing.T) {
	fatal := errors.New("fatal")
	for _, tc := range []struct {
		name  string
		r     timer.Retry
		err   error
		waits []time.Duration // with the largest jitter; the attempt behind the last one is not made
	}{
		{"default", timer.Retry{}, nil, []time.Duration{200e6, 400e6, 800e6, 1600e6}},
		{"three attempts, bounded", timer.Retry{Attempts: 3, First: time.Second, Longest: 1500 * time.Millisecond}, nil, []time.Duration{1e9, 1500e6}},
		{"one attempt", timer.Retry{Attempts: 1}, nil, nil},
		{"factor", timer.Retry{Attempts: 4, First: time.Second, Factor: 3}, nil, []time.Duration{1e9, 3e9, 9e9}},
		{"long first", timer.Retry{Attempts: 3, First: time.Hour}, nil, []time.Duration{time.Hour, time.Hour}},
		{"a final error", timer.Retry{Final: func(err error) bool { return errors.Is(err, fatal) }}, fmt.Errorf("x: %w", fatal), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.NoError(t, tc.r.Validate())
			for i, want := range tc.waits {
				even := tc.r
				even.Even = true
				wait, again := even.Next(i+1, tc.err, 0)
				require.True(t, again)
				require.Equal(t, want, wait)
				for _, random := range []float64{0, 0.25, 0.75} {
					wait, again := tc.r.Next(i+1, tc.err, random)
					require.True(t, again)
					require.Equal(t, time.Duration(float64(want)*random), wait)
				}
			}
			_, again := tc.r.Next(len(tc.waits)+1, tc.err, 0.5)
			require.False(t, again)
		})
	}
	// For ever, and never beyond the bound.
	r := timer.Retry{Attempts: -1}
	for _, failed := range []int{10, 1000, math.MaxInt32} {
		wait, again := r.Next(failed, nil, 0.999)
		require.True(t, again)
		require.LessOrEqual(t, wait, time.Minute)
		require.Equal(t, time.Minute, r.Bound(failed))
	}
}

func TestRetryValidate(t *testing.T) {
	for _, r := range []timer.Retry{
		{First: -1}, {Longest: -1}, {First: 2, Longest: 1}, {Factor: 0.5}, {Factor: math.NaN()}, {Factor: math.Inf(1)},
	} {
		require.ErrorIs(t, r.Validate(), timer.ErrRetry, "%+v", r)
	}
}
