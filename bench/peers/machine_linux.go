package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
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
	// In huge pages where they can be had, which takes half the time.
	_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE)
	var wg sync.WaitGroup
	for part := range slices.Chunk(b, n/runtime.NumCPU()+1) {
		wg.Go(func() {
			for i := 0; i < len(part); i += 4096 {
				part[i] = 1
			}
		})
	}
	wg.Wait()
	return syscall.Munmap(b)
}

// nanosleep sleeps in the kernel, whose timers are finer than the runtime's.
func nanosleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil)
}

// diskRead returns how many bytes this process has had read from disks.
func diskRead() int64 {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "\nread_bytes: ")
	n := int64(0)
	_, _ = fmt.Sscan(rest, &n)
	return n
}

// forget takes the files in dir out of the page cache.
func forget(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		const dontNeed = 4
		_, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0)
		if err := f.Close(); err != nil {
			return err
		}
		if errno != 0 {
			return fmt.Errorf("fadvise: %w", errno)
		}
	}
	return nil
}

// syncDisks makes everything durable that was written.
func syncDisks() { syscall.Sync() }

// occupied returns what a file occupies on disk.
func occupied(info os.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return info.Size()
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
