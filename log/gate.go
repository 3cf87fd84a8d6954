package log

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// gate is the file system under Pebble. State must never get ahead of the log on disk: before a table
// file of Pebble is synced, and Pebble syncs each before its manifest names it, the log is synced up
// to what was applied. On a failed log it holds those syncs, since Pebble would retry after an error
// without pause, until Close has told Pebble to end. When the store is dead it refuses every change, and a table not
// before a pause.
type gate struct {
	vfs.FS
	s *store
}

// pass returns when the log is synced up to what was applied.
func (g *gate) pass() error {
	l := g.s.l
	l.mu.Lock()
	failed := l.failed
	l.mu.Unlock()
	if failed == nil {
		err := l.syncWritten()
		if err == nil {
			return nil
		}
		failed = l.fail(err, nil)
	}
	<-g.s.released
	return failed
}

func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// wrap gates file.
func (g *gate) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &gatedFile{File: file, g: g, table: isTable(name), wal: strings.HasSuffix(name, ".log")}, nil
}

func (g *gate) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if isTable(name) {
		g.s.pause()
	}
	if err := g.s.usable(); err != nil {
		return nil, err
	}
	file, err := g.FS.Create(name, c)
	return g.wrap(name, file, err)
}

func (g *gate) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := g.s.usable(); err != nil {
		return nil, err
	}
	file, err := g.FS.OpenReadWrite(name, c, opts...)
	return g.wrap(name, file, err)
}

func (g *gate) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.s.usable(); err != nil {
		return nil, err
	}
	file, err := g.FS.ReuseForWrite(oldname, newname, c)
	return g.wrap(newname, file, err)
}

func (g *gate) Remove(name string) error {
	if err := g.s.usable(); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

func (g *gate) RemoveAll(name string) error {
	if err := g.s.usable(); err != nil {
		return err
	}
	return g.FS.RemoveAll(name)
}

func (g *gate) Rename(oldname, newname string) error {
	if err := g.s.usable(); err != nil {
		return err
	}
	return g.FS.Rename(oldname, newname)
}

func (g *gate) Link(oldname, newname string) error {
	if err := g.s.usable(); err != nil {
		return err
	}
	return g.FS.Link(oldname, newname)
}

// Unwrap returns the file system below.
func (g *gate) Unwrap() vfs.FS { return g.FS }

// gatedFile is a file that Pebble writes.
type gatedFile struct {
	vfs.File
	g     *gate
	table bool
	// wal says that it is a log of Pebble's own, in which nothing is ever kept. On a dead store its end is
	// not written: Pebble would otherwise not close the file.
	wal bool
}

// before is called before anything of the file is made durable.
func (f *gatedFile) before() error {
	if err := f.g.s.usable(); err != nil {
		return err
	}
	if f.table {
		return f.g.pass()
	}
	return nil
}

func (f *gatedFile) Write(b []byte) (int, error) {
	if err := f.g.s.usable(); err != nil {
		if f.wal {
			return len(b), nil
		}
		return 0, err
	}
	return f.File.Write(b)
}

func (f *gatedFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.g.s.usable(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}

func (f *gatedFile) Sync() error {
	if err := f.before(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *gatedFile) SyncData() error {
	if err := f.before(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *gatedFile) SyncTo(n int64) (bool, error) {
	if err := f.before(); err != nil {
		return false, err
	}
	return f.File.SyncTo(n)
}
