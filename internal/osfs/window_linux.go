//go:build amd64 || arm64

package osfs

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// coherent are the file systems of which it is known that a mapping, read(2), write(2) and fsync(2) all speak of
// the same pages, and that blocks which were written once are written in place, so that a store needs no new room.
// Those of networks and of virtual machines' hosts are not among them.
var coherent = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true,
	unix.OVERLAYFS_SUPER_MAGIC: true, // maps the file below, which is taken to lie on one of these
}

// MapTail maps n bytes of f from byte position from on, a multiple of 64 KiB, for writing. The file need not
// reach so far yet. It is errors.ErrUnsupported on file systems where that could not be trusted, and on other
// systems than Linux.
func (f file) MapTail(from, n int64) (Window, error) {
	var on unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &on); err != nil {
		return Window{}, os.NewSyscallError("fstatfs", err)
	}
	if !coherent[on.Type] {
		return Window{}, errors.ErrUnsupported
	}
	b, err := unix.Mmap(int(f.Fd()), from, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return Window{}, os.NewSyscallError("mmap", err)
	}
	_ = unix.Madvise(b, unix.MADV_RANDOM) // zeros were written just now: there is nothing to read ahead
	return Window{b}, nil
}

// Touch asks for the pages of [from, to) of w to be made present, so that stores meet no fault. It is a hint: a
// kernel before 5.14 refuses, which costs the faults.
func (w Window) Touch(from, to int64) {
	if from >= to {
		return
	}
	at := uintptr(unsafe.Pointer(&w.Bytes[from]))
	before := at % pageBytes
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, at-before, uintptr(to-from)+before, unix.MADV_POPULATE_WRITE)
}

// Close ends the mapping. Nobody may use its bytes any more.
func (w Window) Close() error { return os.NewSyscallError("munmap", unix.Munmap(w.Bytes)) }
