//go:build !((linux || darwin || freebsd) && (amd64 || arm64))

package osfs

import "errors"

// Map is not offered on this system: files are read by read(2).
func (f file) Map(int64) (b []byte, unmap func() error, err error) {
	return nil, nil, errors.ErrUnsupported
}

// Populate does nothing: nothing is mapped.
func (f file) Populate([]byte) {}
