// Package osfs is the operating system's file system as Strata uses it: pebble's, with files that
// only their owner may read.
package osfs

import (
	"errors"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Default is the operating system's file system. It creates files with mode 0600.
var Default vfs.FS = private{vfs.Default}

type private struct{ vfs.FS }

func (p private) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return restrict(p.FS.Create(name, category))(name)
}

func (p private) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if _, err := os.Lstat(name); err == nil {
		return p.FS.OpenReadWrite(name, category, opts...)
	}
	return restrict(p.FS.OpenReadWrite(name, category, opts...))(name)
}

// Unwrap returns the file system below.
func (p private) Unwrap() vfs.FS { return p.FS }

// restrict takes away from a new file what its owner's group and others may do.
func restrict(f vfs.File, err error) func(name string) (vfs.File, error) {
	return func(name string) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		if err := os.Chmod(name, 0o600); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
}
