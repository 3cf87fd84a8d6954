//go:build !linux

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

func supplyPages(int) error { return nil }

func nanosleep(d time.Duration) { time.Sleep(d) }

func machine() string {
	return fmt.Sprintf("%d CPUs, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// diskRead is not known here.
func diskRead() int64 { return 0 }

// forget cannot be done here.
func forget(string) error { return errors.ErrUnsupported }

func occupied(info os.FileInfo) int64 { return info.Size() }

// syncDisks makes everything durable that was written, where the system has a call for that.
func syncDisks() {}
