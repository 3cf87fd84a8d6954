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

// file is a file that can be mapped into memory.
type file struct{ vfs.File }

func mappable(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (p private) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return mappable(p.FS.Open(name, opts...))
}

func (p private) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return restrict(name, f)
}

func (p private) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	_, missing := os.Lstat(name)
	f, err := p.FS.OpenReadWrite(name, category, opts...)
	if err != nil || missing == nil {
		return mappable(f, err)
	}
	return mappable(restrict(name, f))
}

// Unwrap returns the file system below.
func (p private) Unwrap() vfs.FS { return p.FS }

// restrict takes away from a new file what its owner's group and others may do.
func restrict(name string, f vfs.File) (vfs.File, error) {
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
