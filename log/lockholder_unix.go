//go:build unix

package log

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockHeld asks the operating system whether a process has the file at path locked. Without that file
// nobody has. What cannot be asked, because the file may not be read or the file system has no locks,
// is taken for held.
func lockHeld(path string) (held bool, err error) {
	file, err := os.Open(path)
	if isNotExist(err) {
		return false, nil
	}
	if errors.Is(err, os.ErrPermission) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("log: look at the lock: %w", err)
	}
	defer func() { _ = file.Close() }()
	// Asking for a lock that only readers would share is what a descriptor for reading may do; the
	// writer's exclusive one conflicts with it all the same.
	spec := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &spec); err != nil {
		return true, nil
	}
	return spec.Type != unix.F_UNLCK, nil
}
