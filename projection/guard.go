package projection

import (
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/handles"
)

// guard is the file system under Pebble. It keeps Pebble from trying again without a pause after an error; a Pebble
// that was given up it lets change nothing any more, and its goroutines, which would try for as long as the process
// lives, stay in it for ever. What lies below knows which files are open, since such a Pebble does not close them.
type guard struct {
	*handles.FS
	s *PebbleStore
}

// alive returns why nothing may be changed.
func (g *guard) alive() error {
	if dead := g.s.dead.Load(); dead != nil {
		return *dead
	}
	return nil
}

// Create makes a file. It does not return when the store was given up: who makes one then is a flush or a compaction,
// and would try again at once.
func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") && g.s.restless.Swap(false) {
		timer := g.s.clock.NewTimer(retryAfter)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-g.s.ending:
		case <-g.s.deadC:
		}
	}
	if g.alive() != nil {
		select {}
	}
	return g.FS.Create(name, category)
}

func (g *guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := g.alive(); err != nil {
		return nil, err
	}
	return g.FS.OpenReadWrite(name, category, o...)
}

func (g *guard) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.alive(); err != nil {
		return nil, err
	}
	return g.FS.ReuseForWrite(oldname, newname, category)
}

func (g *guard) Lock(name string) (io.Closer, error) {
	c, err := g.FS.Lock(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLocked, err)
	}
	return c, nil
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
