package projection

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guard is the file system under Pebble. It keeps Pebble from trying again without a pause after an error,
// and from panicking where it cannot go on. It knows which files are open: a Pebble that was given up does not
// close them, and must not change any more.
type guard struct {
	vfs.FS
	s *PebbleStore

	mu   sync.Mutex
	open map[io.Closer]struct{} // guarded by mu
}

// guarded is a file, or a lock, that Pebble has open.
type guarded struct {
	vfs.File
	g *guard
	// directory says that Pebble panics when syncing it fails.
	directory bool
}

func (f *guarded) Close() error {
	if !f.g.forget(f.File) {
		return nil // it was closed for Pebble
	}
	return f.File.Close()
}

func (f *guarded) Sync() error {
	err := f.File.Sync()
	if err != nil && f.directory {
		f.g.s.giveUp(fmt.Errorf("sync a directory: %w", err))
		select {} // were the goroutine ended, Pebble would clean up behind it what its others still use
	}
	return err
}

// ReadAt takes its time to say that the file was closed for Pebble: who reads then is a compaction of a Pebble that was
// given up, which tries again at once, for as long as the process lives.
func (f *guarded) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	if err != nil && !f.g.has(f.File) {
		timer := f.g.s.clock.NewTimer(longAfter)
		defer timer.Stop()
		<-timer.C()
	}
	return n, err
}

// longAfter is how long a Pebble that was given up waits between two attempts.
const longAfter = time.Minute

type guardedLock struct {
	io.Closer
	g *guard
}

func (l *guardedLock) Close() error {
	if !l.g.forget(l.Closer) {
		return nil
	}
	return l.Closer.Close()
}

// forget reports whether c was open, which it is not any more.
func (g *guard) forget(c io.Closer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, was := g.open[c]
	delete(g.open, c)
	return was
}

// has reports whether c is open.
func (g *guard) has(c io.Closer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, is := g.open[c]
	return is
}

func (g *guard) note(c io.Closer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = map[io.Closer]struct{}{}
	}
	g.open[c] = struct{}{}
}

// closeAll closes what Pebble has left open.
func (g *guard) closeAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.open {
		_ = c.Close() // Pebble has told of what went wrong
	}
	clear(g.open)
}

func (g *guard) file(f vfs.File, err error, directory bool) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	g.note(f)
	return &guarded{f, g, directory}, nil
}

// alive returns why nothing may be changed.
func (g *guard) alive() error {
	if dead := g.s.dead.Load(); dead != nil {
		return *dead
	}
	return nil
}

func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.alive(); err != nil {
		return nil, err
	}
	if strings.HasSuffix(name, ".sst") && g.s.restless.Swap(false) {
		timer := g.s.clock.NewTimer(retryAfter)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-g.s.ending:
		case <-g.s.deadC:
		}
	}
	f, err := g.FS.Create(name, category)
	return g.file(f, err, false)
}

func (g *guard) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := g.FS.Open(name, o...)
	return g.file(f, err, false)
}

func (g *guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := g.alive(); err != nil {
		return nil, err
	}
	f, err := g.FS.OpenReadWrite(name, category, o...)
	return g.file(f, err, false)
}

func (g *guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	return g.file(f, err, true)
}

func (g *guard) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.alive(); err != nil {
		return nil, err
	}
	f, err := g.FS.ReuseForWrite(oldname, newname, category)
	return g.file(f, err, false)
}

func (g *guard) Lock(name string) (io.Closer, error) {
	c, err := g.FS.Lock(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLocked, err)
	}
	g.note(c)
	return &guardedLock{c, g}, nil
}

func (g *guard) Remove(name string) error {
	if err := g.alive(); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

func (g *guard) RemoveAll(name string) error {
	if err := g.alive(); err != nil {
		return err
	}
	return g.FS.RemoveAll(name)
}

func (g *guard) Rename(oldname, newname string) error {
	if err := g.alive(); err != nil {
		return err
	}
	return g.FS.Rename(oldname, newname)
}

func (g *guard) Link(oldname, newname string) error {
	if err := g.alive(); err != nil {
		return err
	}
	return g.FS.Link(oldname, newname)
}

// Unwrap returns the file system below.
func (g *guard) Unwrap() vfs.FS { return g.FS }
