// Package handles is a file system for a Pebble that may have to be given up. Pebble cannot be closed behind a fatal
// error, and panics when a directory cannot be synced: its files would stay open, and the process would end.
package handles

import (
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS knows which files and locks are open, and closes them when Pebble does not. Its methods may be called
// concurrently.
type FS struct {
	vfs.FS
	// giveUp is told that a directory could not be synced; the goroutine stays behind for ever.
	giveUp func(error)

	mu    sync.Mutex
	open  map[io.Closer]struct{} // guarded by mu
	ended bool                   // CloseAll was called; guarded by mu
}

// New returns fs with an eye on what is open. giveUp is called when a directory cannot be synced, and must make the
// Pebble unusable: the goroutine that has met it never goes on. Were it ended, Pebble would clean up behind it what its
// others still use.
func New(fs vfs.FS, giveUp func(error)) *FS {
	return &FS{FS: fs, giveUp: giveUp, open: map[io.Closer]struct{}{}}
}

// CloseAll closes what is open, and what a call that is under way opens behind it. Pebble has told of what went wrong
// with it.
func (fs *FS) CloseAll() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.ended = true
	for c := range fs.open {
		_ = c.Close()
	}
	clear(fs.open)
}

// forget reports whether c was open, which it is not any more.
func (fs *FS) forget(c io.Closer) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	_, was := fs.open[c]
	delete(fs.open, c)
	return was
}

// has reports whether c is open.
func (fs *FS) has(c io.Closer) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	_, is := fs.open[c]
	return is
}

func (fs *FS) note(c io.Closer) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.ended {
		_ = c.Close()
		return
	}
	fs.open[c] = struct{}{}
}

// file is one that Pebble has open.
type file struct {
	vfs.File
	fs        *FS
	directory bool
}

func (f *file) Close() error {
	if !f.fs.forget(f.File) {
		return nil // it was closed for Pebble
	}
	return f.File.Close()
}

func (f *file) Sync() error {
	err := f.File.Sync()
	if err != nil && f.directory {
		f.fs.giveUp(fmt.Errorf("sync a directory: %w", err))
		select {}
	}
	return err
}

// ReadAt does not return when the file was closed for Pebble: who reads then is a compaction of a Pebble that was given
// up, which would try again at once, for as long as the process lives.
func (f *file) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	if err != nil && !f.fs.has(f.File) {
		select {}
	}
	return n, err
}

type lock struct {
	io.Closer
	fs *FS
}

func (l *lock) Close() error {
	if !l.fs.forget(l.Closer) {
		return nil
	}
	return l.Closer.Close()
}

func (fs *FS) keep(f vfs.File, err error, directory bool) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	fs.note(f)
	return &file{f, fs, directory}, nil
}

// Create implements vfs.FS, like all below.
func (fs *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return fs.keep(f, err, false)
}

// Open opens a file.
func (fs *FS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, o...)
	return fs.keep(f, err, false)
}

// OpenReadWrite opens a file for writing.
func (fs *FS) OpenReadWrite(name string, category vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, category, o...)
	return fs.keep(f, err, false)
}

// OpenDir opens a directory.
func (fs *FS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	return fs.keep(f, err, true)
}

// ReuseForWrite opens a file under another name.
func (fs *FS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldname, newname, category)
	return fs.keep(f, err, false)
}

// Lock locks a file.
func (fs *FS) Lock(name string) (io.Closer, error) {
	c, err := fs.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	fs.note(c)
	return &lock{c, fs}, nil
}

// Unwrap returns the file system below.
func (fs *FS) Unwrap() vfs.FS { return fs.FS }
