package bench

import (
	"slices"
	"time"
)

// Quantile sorts all and returns its q-quantile, 0 <= q <= 1, and 0 of nothing.
func Quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}
