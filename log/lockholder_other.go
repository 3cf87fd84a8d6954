//go:build !unix

package log

import "os"

// lockHeld reports whether a process may have the file at path locked: without asking for the lock,
// which would take it, only a missing file says that nobody has.
func lockHeld(path string) (held bool, err error) {
	_, err = os.Stat(path)
	return !isNotExist(err), nil
}
