//go:build amd64 || arm64

package osfs

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

var pageBytes = uintptr(os.Getpagesize())

// populate maps the pages of b. A kernel before 5.14 refuses, which costs nothing but the faults.
func populate(b []byte) {
	if len(b) == 0 {
		return
	}
	from := uintptr(unsafe.Pointer(&b[0]))
	before := from % pageBytes
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, from-before, uintptr(len(b))+before, unix.MADV_POPULATE_READ)
}
