package log

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/osfs"
)

// writerHas reports whether somebody has the directory open for writing, without taking the lock and
// without writing anything. Where that cannot be told, the answer is yes: a reader that believes in a
// writer shows less, and later, but never what may still be taken back.
func writerHas(fs vfs.FS, dir string) (bool, error) {
	// The registry is held over the look at the file: closing any descriptor of the LOCK file would
	// give up a lock that this process took on it meanwhile.
	openDirs.Lock()
	defer openDirs.Unlock()
	if openUnder(fs, dir) {
		return true, nil
	}
	if !ofSystem(fs) {
		// A file system that is not the operating system's is memory of this process, so the registry
		// knows all its writers.
		return false, nil
	}
	return lockHeld(fs.PathJoin(dir, lockName))
}

// openUnder is openHere for a file system that may be wrapped otherwise than the writer's. The
// registry's mutex is held.
func openUnder(fs vfs.FS, dir string) bool {
	if openHere(openDir{fs, dir}) {
		return true
	}
	system, root := ofSystem(fs), rootFS(fs)
	var here os.FileInfo
	if system {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		here = info
	}
	for other := range openDirs.set {
		if system != ofSystem(other.fs) {
			continue
		}
		if !system {
			if rootFS(other.fs) == root && other.path == dir {
				return true
			}
			continue
		}
		if info, err := os.Stat(other.path); err == nil && os.SameFile(here, info) {
			return true
		}
	}
	return false
}

// rootFS returns the file system under all wrappers.
func rootFS(fs vfs.FS) vfs.FS {
	for {
		below := fs.Unwrap()
		if below == nil {
			return fs
		}
		fs = below
	}
}

// ofSystem reports whether fs shows the files of the operating system.
func ofSystem(fs vfs.FS) bool { return rootFS(fs) == vfs.Default }

// InUse reports whether a program has the log in a directory open for writing, without touching anything. Where
// that cannot be told, the answer is yes. fs nil is the operating system's file system.
func InUse(fs vfs.FS, dir string) (bool, error) {
	if fs == nil {
		fs = osfs.Default
	}
	dir, err := canonical(fs, dir)
	if err != nil {
		return false, err
	}
	return writerHas(fs, dir)
}
