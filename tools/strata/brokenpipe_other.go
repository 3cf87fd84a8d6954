//go:build !windows

package main

// isBrokenPipe reports what only Windows has a name of its own for.
func isBrokenPipe(error) bool { return false }
