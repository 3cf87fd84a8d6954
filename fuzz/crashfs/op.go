package crashfs

import (
	"fmt"
	"path"
	"slices"
)

// OpKind says what an operation does.
type OpKind uint8

// The kinds of operations. Those up to OpSyncDir are mutating: they are numbered
// and shown to the hook.
const (
	// OpCreate makes a new file under a free name.
	OpCreate OpKind = iota
	// OpMkdir makes one directory; MkdirAll is one of these for each that is missing.
	OpMkdir
	// OpLink gives a file a second name.
	OpLink
	// OpRemove takes a name away. RemoveAll is one for each name, children
	// first; Create over an existing name begins with one.
	OpRemove
	// OpRename moves a name, over another if need be.
	OpRename
	// OpWrite is Write or WriteAt.
	OpWrite
	// OpPreallocate reserves space.
	OpPreallocate
	// OpSync is Sync of a file.
	OpSync
	// OpSyncData is SyncData of a file.
	OpSyncData
	// OpSyncTo is SyncTo of a file, whether it does anything or not.
	OpSyncTo
	// OpSyncDir is any sync of a directory.
	OpSyncDir

	// OpOpen is Open, or OpenReadWrite of a file that exists.
	OpOpen
	// OpOpenDir is OpenDir.
	OpOpenDir
	// OpRead is Read or ReadAt.
	OpRead
	// OpList is List.
	OpList
	// OpStat is Stat, of a path or of a handle.
	OpStat
	// OpDiskUsage is GetDiskUsage.
	OpDiskUsage
	// OpLock is Lock; when it makes the file, an OpCreate comes first.
	OpLock
	// OpUnlock is Close of a lock.
	OpUnlock
	// OpClose is Close of a file.
	OpClose

	opKinds
)

var opNames = [opKinds]string{
	"create", "mkdir", "link", "remove", "rename", "write", "preallocate", "sync", "syncdata", "syncto", "syncdir",
	"open", "opendir", "read", "list", "stat", "diskusage", "lock", "unlock", "close",
}

// String returns the kind's name in lower case, which is also the Op of errors.
func (k OpKind) String() string {
	if k >= opKinds {
		return fmt.Sprintf("op(%d)", uint8(k))
	}
	return opNames[k]
}

// Mutates reports whether operations of this kind are numbered and shown to the
// hook: all that change files, names or what is durable.
func (k OpKind) Mutates() bool { return k <= OpSyncDir }

// IsSync reports whether the kind is one of the syncs, of a file or a directory.
func (k OpKind) IsSync() bool { return k >= OpSync && k <= OpSyncDir }

// Op is one operation, as hooks and predicates of faults see it.
type Op struct {
	// N numbers the mutating operations of one FS from 1. It is 0 for others.
	N int64
	// Kind says what the operation does.
	Kind OpKind
	// Path is absolute and clean. For handles it is the path they were opened by.
	Path string
	// To is the new path of a link or a rename, otherwise empty.
	To string
	// Offset is the first byte of a read, a write or a preallocation.
	Offset int64
	// Len is the number of bytes of a read, a write, a preallocation, or the
	// length given to SyncTo.
	Len int64
	// After is true in the hook's second call, when the effect, if there was any,
	// can be seen.
	After bool
	// Err is what the caller is about to get. It is set only where After is.
	Err error
}

// String is one line for logs and failures, such as "17 write /log/1.seg [512, 640)".
func (op Op) String() string {
	s := fmt.Sprintf("%d %s %s", op.N, op.Kind, op.Path)
	switch {
	case op.To != "":
		s += " -> " + op.To
	case op.Kind == OpWrite || op.Kind == OpRead || op.Kind == OpPreallocate:
		s += fmt.Sprintf(" [%d, %d)", op.Offset, op.Offset+op.Len)
	}
	if op.Err != nil {
		s += ": " + op.Err.Error()
	}
	return s
}

// Mutating is a predicate for faults: every operation that is numbered.
func Mutating(op Op) bool { return op.Kind.Mutates() }

// On returns a predicate for faults: operations of the given kinds.
func On(kinds ...OpKind) func(Op) bool {
	return func(op Op) bool { return slices.Contains(kinds, op.Kind) }
}

// OnPath returns a predicate for faults: operations of the given kinds, or of any
// when there are none, where the last element of Path or To matches the
// pattern of path.Match. A malformed pattern matches nothing.
func OnPath(pattern string, kinds ...OpKind) func(Op) bool {
	matches := func(p string) bool {
		ok, err := path.Match(pattern, path.Base(p))
		return err == nil && ok
	}
	return func(op Op) bool {
		if len(kinds) > 0 && !slices.Contains(kinds, op.Kind) {
			return false
		}
		return matches(op.Path) || op.To != "" && matches(op.To)
	}
}
