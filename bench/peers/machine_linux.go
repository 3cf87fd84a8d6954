package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// supplyPages touches and frees n bytes. On a virtual machine that hands free memory back to its
// host, pages that nobody has touched lately are slow to come, and whichever engine runs first after
// a pause would pay for it.
func supplyPages(n int) error {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("supply pages: %w", err)
	}
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return syscall.Munmap(b)
}

// nanosleep sleeps in the kernel, whose timers are finer than the runtime's.
func nanosleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil)
}

// machine describes what the figures were measured on.
func machine() string {
	model, release := "?", "?"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name\t: "); ok {
			model, _, _ = strings.Cut(rest, "\n")
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		release = strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%d CPUs %s, Linux %s, %s", runtime.NumCPU(), model, release, runtime.Version())
}
