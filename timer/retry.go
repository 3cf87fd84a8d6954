package timer

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Retry says how often something that failed is tried again, and how long to wait before: exponential
// backoff with full jitter. The zero value is the default: five attempts in all, the second after at
// most 200 ms, each wait at most twice the one before and at most a minute.
type Retry struct {
	// Attempts is how often it is tried in all, the first time included. Zero is 5; negative is for ever.
	Attempts int
	// First is the longest wait before the second attempt. Zero is 200 ms.
	First time.Duration
	// Longest bounds each wait. Zero is a minute, or First when that is longer.
	Longest time.Duration
	// Factor is by how much the longest wait grows from attempt to attempt, at least 1. Zero is 2.
	Factor float64
	// Even waits the longest time each time, in place of a random part of it: without the jitter those
	// who failed together try again together.
	Even bool
	// Final reports errors that no further attempt can mend. Nil is none.
	Final func(error) bool
}

// ErrRetry is matched by what Validate returns.
var ErrRetry = errors.New("timer: invalid retry policy")

// Validate returns all that is wrong with r.
func (r Retry) Validate() error {
	var errs []error
	if r.First < 0 || r.Longest < 0 {
		errs = append(errs, fmt.Errorf("%w: waits of %v and %v", ErrRetry, r.First, r.Longest))
	}
	if r.Longest > 0 && r.Longest < r.First {
		errs = append(errs, fmt.Errorf("%w: the first wait of %v is above the longest of %v", ErrRetry, r.First, r.Longest))
	}
	if r.Factor != 0 && !(r.Factor >= 1) || math.IsInf(r.Factor, 0) {
		errs = append(errs, fmt.Errorf("%w: factor %v", ErrRetry, r.Factor))
	}
	return errors.Join(errs...)
}

const (
	defaultAttempts = 5
	defaultFirst    = 200 * time.Millisecond
	defaultLongest  = time.Minute
	defaultFactor   = 2
)

// Next returns how long to wait before the next attempt, after so many attempts have failed, the last
// one with err. random is of [0, 1), and is where the jitter comes from. False says that there is to be
// no further attempt. failed is at least 1.
func (r Retry) Next(failed int, err error, random float64) (wait time.Duration, again bool) {
	attempts := r.Attempts
	if attempts == 0 {
		attempts = defaultAttempts
	}
	if attempts > 0 && failed >= attempts || r.Final != nil && r.Final(err) {
		return 0, false
	}
	longest := r.Bound(failed)
	if r.Even {
		return longest, true
	}
	return time.Duration(float64(longest) * random), true
}

// Bound returns the longest wait after so many attempts have failed.
func (r Retry) Bound(failed int) time.Duration {
	first, longest, factor := r.First, r.Longest, r.Factor
	if first == 0 {
		first = defaultFirst
	}
	if longest == 0 {
		longest = max(defaultLongest, first)
	}
	if factor == 0 {
		factor = defaultFactor
	}
	wait := float64(first) * math.Pow(factor, float64(failed-1))
	if !(wait < float64(longest)) {
		return longest
	}
	return time.Duration(wait)
}
