package crashfs

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// OpenHandle is a file, a directory or a lock that is open.
type OpenHandle struct {
	// Path is the path that it was opened by.
	Path string
	// Kind is OpOpen, OpOpenDir, OpCreate or OpLock.
	Kind OpKind
	// Stack is who opened it, innermost call first, one line a call.
	Stack string
}

// OpenHandles returns what is open, by path. After everything was closed it is empty.
func (fs *FS) OpenHandles() []OpenHandle {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	var open []OpenHandle
	for d := range fs.handles {
		open = append(open, OpenHandle{Path: d.path, Kind: d.kind, Stack: stack(d.stack[:d.depth])})
	}
	slices.SortFunc(open, func(a, b OpenHandle) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Stack, b.Stack))
	})
	return open
}

// stack prints program counters, without the calls inside this package.
func stack(pcs []uintptr) string {
	var s strings.Builder
	frames := runtime.CallersFrames(pcs)
	for {
		frame, more := frames.Next()
		if !strings.Contains(frame.Function, "crashfs.(*FS)") {
			fmt.Fprintf(&s, "%s %s:%d\n", frame.Function, frame.File, frame.Line)
		}
		if !more {
			return s.String()
		}
	}
}

// Removal is a name that an operation took away from a file or a directory.
type Removal struct {
	// N is the number of the operation.
	N int64
	// Path is the name that went.
	Path string
	// Dir is true for a directory.
	Dir bool
	// By is OpRemove, or OpRename when another file took the name.
	By OpKind
}

// Removed returns every name that was removed or replaced since the file system was
// made, in order. A rename removes no file by its old name, so that is not among
// them.
func (fs *FS) Removed() []Removal {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return slices.Clone(fs.removed)
}

// Ops returns the number of the last mutating operation.
func (fs *FS) Ops() int64 { return fs.n.Load() }

// Counts returns how many operations of each kind were tried, failed ones included.
func (fs *FS) Counts() map[OpKind]int64 {
	counts := map[OpKind]int64{}
	for k := range fs.counts {
		if n := fs.counts[k].Load(); n > 0 {
			counts[OpKind(k)] = n
		}
	}
	return counts
}
