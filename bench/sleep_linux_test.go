package bench_test

import (
	"syscall"
	"time"
)

// shortSleep sleeps in the kernel, whose timers are finer than the runtime's.
func shortSleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil)
}
