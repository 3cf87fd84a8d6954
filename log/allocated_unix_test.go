//go:build unix

package log_test

import (
	"os"
	"syscall"
)

// allocated returns what a file takes on disk, claimed room included.
func allocated(info os.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(s.Blocks) * 512
	}
	return info.Size()
}
