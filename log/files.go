package log

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/segment"
)

// files is the file system as the log's segments and indexes use it: it bounds how many of them are
// open at once, closing what was not used for longest and opening it again when it is, and closes
// all of them when the log is closed, under whoever still reads.
type files struct {
	vfs.FS
	// limit bounds how many are open, mappable how many are mapped. Immutable.
	limit, mappable int
	// clock counts uses, to find what was not used for longest.
	clock atomic.Uint64

	mu     sync.Mutex
	all    map[*sharedFile]struct{} // guarded by mu
	opened int                      // of all, how many have an open file; guarded by mu
	// mappings is how many of all are mapped. Guarded by mu.
	mappings int
	closed   bool // guarded by mu
}

func newFiles(fs vfs.FS, limit int) *files {
	return &files{FS: fs, limit: limit, mappable: mappedFiles, all: map[*sharedFile]struct{}{}}
}

// sharedFile is a file of which the descriptor may be closed and opened again between two calls.
// Reads may run concurrently. While it is pinned, as a file that is written must be, it stays open.
type sharedFile struct {
	vfs.File // nil while closed; guarded by mu
	owner    *files
	used     atomic.Uint64
	pinned   atomic.Bool
	mapped   mapState

	mu   sync.RWMutex
	path string // guarded by mu; changes with Rename
	gone bool   // Close was called; guarded by mu
}

// Open opens a file for reading.
func (f *files) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, opts...)
	return f.share(name, file, err, false)
}

// OpenReadWrite opens a file for reading and writing. It stays open until Unpin.
func (f *files) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, opts...)
	return f.share(name, file, err, true)
}

func (f *files) share(path string, file vfs.File, err error, pinned bool) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	s := &sharedFile{File: file, owner: f, path: path}
	s.pinned.Store(pinned)
	s.used.Store(f.clock.Add(1))
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		_ = file.Close()
		return nil, ErrClosed
	}
	f.all[s] = struct{}{}
	f.opened++
	f.mu.Unlock()
	f.evict(s)
	return s, nil
}

// Rename renames a file, also under its handles.
func (f *files) Rename(oldname, newname string) error {
	if err := f.FS.Rename(oldname, newname); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.all {
		// Others are not kept from reading: path changes only here, under f.mu.
		s.mu.RLock()
		renamed := s.path == oldname
		s.mu.RUnlock()
		if renamed {
			s.mu.Lock()
			s.path = newname
			s.mu.Unlock()
		}
	}
	return nil
}

// unpin allows the files called path to be closed while nobody reads them.
func (f *files) unpin(path string) {
	f.mu.Lock()
	for s := range f.all {
		s.mu.RLock()
		if s.path == path {
			s.pinned.Store(false)
		}
		s.mu.RUnlock()
	}
	f.mu.Unlock()
	f.evict(nil)
}

// evict closes files that were not used for longest, but not keep, until the limit holds.
func (f *files) evict(keep *sharedFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.opened > f.limit {
		var oldest *sharedFile
		for s := range f.all {
			if s != keep && !s.pinned.Load() && (oldest == nil || s.used.Load() < oldest.used.Load()) && s.isOpen() {
				oldest = s
			}
		}
		if oldest == nil || !oldest.mu.TryLock() {
			return // all are in use: the next one to come tries again
		}
		_ = oldest.File.Close()
		oldest.File = nil
		f.opened--
		oldest.mu.Unlock()
	}
}

// isOpen reports whether s has an open file and nobody is about to change that.
func (s *sharedFile) isOpen() bool {
	if !s.mu.TryRLock() {
		return false
	}
	defer s.mu.RUnlock()
	return s.File != nil
}

// closeAll closes every file and makes their use fail with ErrClosed.
func (f *files) closeAll() error {
	f.mu.Lock()
	f.closed = true
	all := f.all
	f.all = map[*sharedFile]struct{}{}
	f.mu.Unlock()
	var first error
	for s := range all {
		if err := s.drop(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// drop closes s for good.
func (s *sharedFile) drop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.unmapLocked()
	if s.File == nil {
		return nil
	}
	err := s.File.Close()
	s.File = nil
	return err
}

// acquire read-locks s with an open file.
func (s *sharedFile) acquire() error {
	for {
		s.mu.RLock()
		switch {
		case s.gone:
			s.mu.RUnlock()
			return ErrClosed
		case s.File != nil:
			s.used.Store(s.owner.clock.Add(1))
			return nil
		}
		s.mu.RUnlock()
		if err := s.reopen(); err != nil {
			return err
		}
	}
}

func (s *sharedFile) reopen() error {
	s.mu.Lock()
	if s.gone || s.File != nil {
		s.mu.Unlock()
		return nil
	}
	file, err := s.owner.FS.Open(s.path)
	if err != nil {
		s.mu.Unlock()
		return fmt.Errorf("log: open again: %w", err)
	}
	s.File = file
	s.mu.Unlock()
	s.owner.mu.Lock()
	s.owner.opened++
	s.owner.mu.Unlock()
	s.owner.evict(s)
	return nil
}

// WriteAt writes as io.WriterAt says. The file must be pinned.
func (s *sharedFile) WriteAt(b []byte, at int64) (int, error) {
	if err := s.acquire(); err != nil {
		return 0, err
	}
	defer s.mu.RUnlock()
	return s.File.WriteAt(b, at)
}

// Stat describes the file.
func (s *sharedFile) Stat() (vfs.FileInfo, error) {
	if err := s.acquire(); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	return s.File.Stat()
}

// Sync makes data and metadata durable.
func (s *sharedFile) Sync() error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	return s.File.Sync()
}

// SyncData makes data durable.
func (s *sharedFile) SyncData() error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	return s.File.SyncData()
}

// Preallocate claims room on disk.
func (s *sharedFile) Preallocate(at, n int64) error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	return s.File.Preallocate(at, n)
}

// MapTail maps a part of the file for writing, where its file system offers that.
func (s *sharedFile) MapTail(from, n int64) (segment.Window, error) {
	if err := s.acquire(); err != nil {
		return segment.Window{}, err
	}
	defer s.mu.RUnlock()
	return segment.MapTail(s.File, from, n)
}

// Close closes s for good.
func (s *sharedFile) Close() error {
	f := s.owner
	f.mu.Lock()
	if _, mine := f.all[s]; mine {
		delete(f.all, s)
		if s.isOpen() {
			f.opened--
		}
		if s.isMapped() {
			f.mappings--
		}
	}
	f.mu.Unlock()
	return s.drop()
}
