package main

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isBrokenPipe reports whether err says that nobody reads a pipe any more.
func isBrokenPipe(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA)
}
