//go:build !(linux && (amd64 || arm64))

package osfs

import "errors"

// MapTail is not offered on this system.
func (f file) MapTail(int64, int64) (Window, error) { return Window{}, errors.ErrUnsupported }

// Touch does nothing: nothing is mapped.
func (w Window) Touch(int64, int64) {}

// Close does nothing: nothing is mapped.
func (w Window) Close() error { return nil }
