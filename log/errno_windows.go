package log

import "syscall"

const (
	// errQuota is ERROR_DISK_FULL, which Windows says in place of ENOSPC.
	errQuota = syscall.Errno(112)
	// errLockViolation is ERROR_SHARING_VIOLATION: another process has the lock file open.
	errLockViolation = syscall.Errno(32)
)
