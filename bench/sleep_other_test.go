//go:build !linux

package bench_test

import "time"

func shortSleep(d time.Duration) { time.Sleep(d) }
