package segment

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Birth is what a segment is born with.
type Birth struct {
	Head   Head
	Time   int64 // of the catalog frame, microseconds since 1970
	Epoch  int32
	Tables []byte // of the catalog frame
}

// Newborn is a segment that is whole and synced but does not have its name yet.
type Newborn struct {
	fs   vfs.FS
	dir  string
	temp string
	seg  *Segment
}

// Make writes head and catalog frame of a new segment to a file ending in ".new", over the zeros of
// prepared where that is given, and syncs it. As long as Publish was not called it can be discarded,
// and a crash leaves nothing that counts.
func Make(fsys vfs.FS, dir string, b Birth, prepared *Prepared) (*Newborn, error) {
	name := b.Head.Name
	n := &Newborn{fs: fsys, dir: dir}
	var file vfs.File
	var err error
	if prepared != nil {
		n.temp, file = prepared.take()
	} else {
		n.temp = fsys.PathJoin(dir, name.String()+NewExt)
		if file, err = createExclusive(fsys, n.temp); err != nil {
			return nil, err
		}
	}
	salt := Salt(b.Head.LogID, name)
	n.seg = &Segment{name: name, path: fsys.PathJoin(dir, name.String()), salt: salt, file: file, head: b.Head}
	first := append(b.Head.encode(), encodeCatalog(salt, name.Position, b.Time, b.Epoch, b.Tables)...)
	if err = n.seg.Write(first, 0); err == nil {
		if err = file.Sync(); err != nil {
			err = n.seg.ioError("sync", 0, err)
		}
	}
	n.seg.data = int64(len(first))
	if err != nil {
		return nil, errors.Join(err, n.Discard())
	}
	return n, nil
}

// Segment returns the segment, which can be read, and preallocated.
func (n *Newborn) Segment() *Segment { return n.seg }

// Discard closes and removes the file.
func (n *Newborn) Discard() error {
	return errors.Join(n.seg.file.Close(), n.fs.Remove(n.temp))
}

// Publish gives the segment its name and makes that durable. After an error it is not known whether
// the name will be there.
func (n *Newborn) Publish() (*Segment, error) {
	// vfs would replace an existing file silently, and a name is never used twice.
	if _, err := n.fs.Stat(n.seg.path); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("segment: publish %s: %w", n.seg.name, fs.ErrExist), err, n.seg.file.Close())
	}
	if err := n.fs.Rename(n.temp, n.seg.path); err != nil {
		return nil, errors.Join(fmt.Errorf("segment: publish: %w", err), n.seg.file.Close())
	}
	if err := SyncDir(n.fs, n.dir); err != nil {
		return nil, errors.Join(err, n.seg.file.Close())
	}
	return n.seg, nil
}

// SyncDir makes the names in dir durable.
func SyncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("segment: sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("segment: sync directory %s: %w", fsys.PathBase(dir), err)
	}
	return nil
}

// createExclusive makes a file that can be written at any place, in place of a leftover of that name.
func createExclusive(fsys vfs.FS, path string) (vfs.File, error) {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("segment: %w", err)
	}
	file, err := fsys.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	return file, nil
}
