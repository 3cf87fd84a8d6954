package log

import (
	"runtime/debug"
	"sync/atomic"
)

// A file that many small reads are made of is mapped, where its file system offers that: a read is then a
// copy out of the mapping, without a call of the system. Nothing but that copy ever touches a mapping. A
// byte that the disk cannot deliver, or that is no longer there because somebody has cut the file short,
// is a memory fault of the one who copies; it is caught, and the read is made by ReadAt of the file, which
// says what is wrong.

// mapper is a file that can be mapped, as those of package osfs can.
type mapper interface {
	Map(n int64) (b []byte, unmap func() error, err error)
	Populate(b []byte)
}

const (
	// mappedRead is the longest read that is served from a mapping; longer ones gain nothing by it.
	mappedRead = 64 << 10
	// mapAfter is after how many such reads a file is mapped.
	mapAfter = 16
	// mappedFiles bounds how many files of a log are mapped at once. What a mapping costs is the page
	// tables of what was touched, a five-hundredth of it.
	mappedFiles = 512
)

// mapping is a mapped file. It belongs to its sharedFile, whose lock keeps it in place.
type mapping struct {
	bytes []byte
	file  mapper // which may have been closed
	unmap func() error
}

// mapState is what a sharedFile knows about being mapped.
type mapState struct {
	now   *mapping     // nil while there is none; guarded by sharedFile.mu
	small atomic.Int32 // small reads that no mapping served since the last attempt to make one
	never atomic.Bool  // it cannot be mapped
}

// readMapped reads len(b) bytes at a byte position from the mapping of s, and reports whether it could.
func (s *sharedFile) readMapped(b []byte, at int64) bool {
	if len(b) > mappedRead {
		return false
	}
	s.mu.RLock()
	if m := s.mapped.now; m != nil && !s.gone && at >= 0 && at <= int64(len(m.bytes))-int64(len(b)) {
		s.used.Store(s.owner.clock.Add(1))
		ok := copyMapped(b, m.bytes[at:])
		s.mu.RUnlock()
		return ok
	}
	s.mu.RUnlock()
	if !s.mapped.never.Load() && s.mapped.small.Add(1)%mapAfter == 0 {
		s.remap(at + int64(len(b)))
	}
	return false
}

// copyMapped copies from a mapping, and reports whether that met no fault.
func copyMapped(to, from []byte) (ok bool) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if !ok {
			_ = recover() // of a fault: nothing else can happen in a copy between slices
		}
	}()
	copy(to, from)
	return true
}

// Warm makes small reads between two byte positions, which were read just now, cost less. It is a hint.
func (s *sharedFile) Warm(from, to int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if m := s.mapped.now; m != nil && !s.gone && from >= 0 && from < to && to <= int64(len(m.bytes)) {
		m.file.Populate(m.bytes[from:to])
	}
}

// remap maps s as far as the file goes now, if that is worth it for a read that ends at end.
func (s *sharedFile) remap(end int64) {
	if s.acquire() != nil {
		return
	}
	file, can := s.File.(mapper)
	info, err := s.File.Stat()
	mapped := int64(0)
	if s.mapped.now != nil {
		mapped = int64(len(s.mapped.now.bytes))
	}
	if !can {
		s.mapped.never.Store(true)
	}
	// A file that grows is mapped anew when it is a quarter longer.
	if !can || err != nil || info.Size() < end || info.Size() < mapped+mapped/4 {
		s.mu.RUnlock()
		return
	}
	m := &mapping{file: file}
	m.bytes, m.unmap, err = file.Map(info.Size())
	s.mu.RUnlock()
	if err != nil {
		s.mapped.never.Store(true)
		return
	}
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		_ = m.unmap()
		return
	}
	old := s.mapped.now
	s.mapped.now = m
	s.mu.Unlock()
	if old != nil {
		_ = old.unmap()
	} else {
		s.owner.countMapped(s)
	}
}

// unmapLocked ends the mapping of s, if there is one. s.mu is held.
func (s *sharedFile) unmapLocked() {
	if m := s.mapped.now; m != nil {
		s.mapped.now = nil
		_ = m.unmap()
	}
}

// countMapped notes that one more file is mapped, and unmaps those that were not used for longest, but not
// keep, until the limit holds.
func (f *files) countMapped(keep *sharedFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.mappings++; f.mappings > f.mappable; f.mappings-- {
		var oldest *sharedFile
		for s := range f.all {
			if s != keep && (oldest == nil || s.used.Load() < oldest.used.Load()) && s.isMapped() {
				oldest = s
			}
		}
		if oldest == nil || !oldest.mu.TryLock() {
			return // the next one to come tries again
		}
		oldest.unmapLocked()
		oldest.mu.Unlock()
	}
}

// isMapped reports whether s is mapped and nobody is about to change that.
func (s *sharedFile) isMapped() bool {
	if !s.mu.TryRLock() {
		return false
	}
	defer s.mu.RUnlock()
	return s.mapped.now != nil
}

// ReadAt reads as io.ReaderAt says.
func (s *sharedFile) ReadAt(b []byte, at int64) (int, error) {
	if s.readMapped(b, at) {
		return len(b), nil
	}
	if err := s.acquire(); err != nil {
		return 0, err
	}
	defer s.mu.RUnlock()
	return s.File.ReadAt(b, at)
}
