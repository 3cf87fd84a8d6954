//go:build !linux

package main

import (
	"fmt"
	"runtime"
	"time"
)

func supplyPages(int) error { return nil }

func nanosleep(d time.Duration) { time.Sleep(d) }

func machine() string {
	return fmt.Sprintf("%d CPUs, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
