//go:build (linux || darwin || freebsd) && (amd64 || arm64)

package osfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Map maps the first n bytes of f for reading. The bytes follow what is written to the file. To touch one
// that the disk cannot deliver, or that lies behind the end of the file, is a memory fault: do it under
// debug.SetPanicOnFault. unmap ends the mapping; nobody may use the bytes any more.
func (f file) Map(n int64) (b []byte, unmap func() error, err error) {
	if n <= 0 || n != int64(int(n)) {
		return nil, nil, errors.ErrUnsupported
	}
	b, err = unix.Mmap(int(f.Fd()), 0, int(n), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	_ = unix.Madvise(b, unix.MADV_RANDOM) // or a cold page would bring a hundred KiB with it
	return b, func() error { return unix.Munmap(b) }, nil
}

// Populate makes the pages of b, which is part of what Map returned and in the page cache, present in memory
// at once, where the system can: a fault for every few of them costs more.
func (f file) Populate(b []byte) { populate(b) }
