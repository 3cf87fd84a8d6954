//go:build unix

package log

import "syscall"

const (
	// errQuota is what a full disk quota says in place of ENOSPC.
	errQuota = syscall.EDQUOT
	// errLockViolation is what a file system may say of a lock that another process holds.
	errLockViolation = syscall.EWOULDBLOCK
)
