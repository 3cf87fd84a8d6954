package log

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/osfs"
)

// lockName is the file whose lock keeps other processes out. It is always empty, and never opened for
// anything else: closing any descriptor of it would give up the lock.
const lockName = "LOCK"

// openDirs are the directories that this process has open for writing. The lock of the file system
// does not exclude within a process, where it is keyed by how the path is spelled.
var openDirs struct {
	sync.Mutex
	set map[openDir]os.FileInfo // of the lock's file, nil on other file systems; guarded by the mutex
}

type openDir struct {
	fs   vfs.FS
	path string
}

// directoryLock is the right to write to a directory.
type directoryLock struct {
	dir  openDir
	file io.Closer
}

// lockDirectory locks the canonical path dir or returns ErrLocked.
func lockDirectory(fs vfs.FS, dir string) (*directoryLock, error) {
	key := openDir{fs, dir}
	openDirs.Lock()
	defer openDirs.Unlock()
	if openHere(key) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
	}
	file, err := fs.Lock(fs.PathJoin(dir, lockName))
	if err != nil {
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, errLockViolation) {
			return nil, fmt.Errorf("%w: %s: %w", ErrLocked, dir, err)
		}
		return nil, fmt.Errorf("log: lock %s: %w", dir, err)
	}
	if openDirs.set == nil {
		openDirs.set = map[openDir]os.FileInfo{}
	}
	openDirs.set[key] = key.lockInfo()
	return &directoryLock{dir: key, file: file}, nil
}

// openHere reports whether this process has the directory open for writing, under whatever path, also
// when it was renamed since.
func openHere(key openDir) bool {
	if _, ok := openDirs.set[key]; ok {
		return true
	}
	info := key.lockInfo()
	if info == nil {
		return false
	}
	for _, other := range openDirs.set {
		if other != nil && os.SameFile(info, other) {
			return true
		}
	}
	return false
}

// lockInfo identifies the lock's file. While that is open no other file is taken for it.
func (d openDir) lockInfo() os.FileInfo {
	if d.fs != osfs.Default {
		return nil
	}
	info, err := os.Stat(filepath.Join(d.path, lockName))
	if err != nil {
		return nil
	}
	return info
}

// release gives the directory up.
func (d *directoryLock) release() error {
	openDirs.Lock()
	defer openDirs.Unlock()
	delete(openDirs.set, d.dir)
	if err := d.file.Close(); err != nil {
		return fmt.Errorf("log: unlock: %w", err)
	}
	return nil
}

// canonical returns the one spelling of dir that is used: absolute and without symlinks on the file
// system of the operating system. What does not exist yet is kept as it is.
func canonical(fs vfs.FS, dir string) (string, error) {
	if dir == "" {
		return "", &NameError{Name: dir, Reason: "no directory given"}
	}
	if fs != osfs.Default {
		return filepath.Clean(dir), nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("log: %w", err)
	}
	rest := ""
	for at := abs; ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			return "", fmt.Errorf("log: %w", err)
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}
