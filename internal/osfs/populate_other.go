//go:build (darwin || freebsd) && (amd64 || arm64)

package osfs

func populate([]byte) {}
