package segment

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// zeroPiece is the size of the writes that prepare a file. The page cache keeps folios about as
// large as the write that made them, and small commits into large folios are slow.
const zeroPiece = 64 << 10

// Prepared is a file that is being filled with zeros, to become a segment later: overwriting blocks
// that were written before flushes about twice as fast as growing a file. It belongs to one
// goroutine.
type Prepared struct {
	fs      vfs.FS
	path    string
	file    vfs.File
	size    int64
	written int64
	ready   bool
}

var zeroBytes [zeroPiece]byte

// Prepare begins a file of size bytes in dir. tag makes its name unique in this process.
func Prepare(fsys vfs.FS, dir string, tag uint64, size int64) (*Prepared, error) {
	path := fsys.PathJoin(dir, fmt.Sprintf("prepared-%d%s", tag, NewExt))
	file, err := createExclusive(fsys, path)
	if err != nil {
		return nil, err
	}
	return &Prepared{fs: fsys, path: path, file: file, size: size &^ (zeroPiece - 1)}, nil
}

// Step writes up to n more bytes of zeros and syncs them, and reports whether the file is ready.
func (p *Prepared) Step(n int64) (bool, error) {
	end := min(p.size, p.written+max(n, zeroPiece))
	if p.ready || p.written >= end {
		p.ready = p.written >= p.size
		return p.ready, nil
	}
	for p.written < end {
		m, err := p.file.WriteAt(zeroBytes[:min(zeroPiece, end-p.written)], p.written)
		if err != nil {
			return false, fmt.Errorf("segment: prepare: %w", err)
		}
		p.written += int64(m)
	}
	if err := p.file.SyncData(); err != nil {
		return false, fmt.Errorf("segment: prepare: %w", err)
	}
	p.ready = p.written >= p.size
	return p.ready, nil
}

// Ready reports whether all zeros are written and synced.
func (p *Prepared) Ready() bool { return p.ready }

// Size returns how many bytes the file will have.
func (p *Prepared) Size() int64 { return p.size }

// take hands the file over.
func (p *Prepared) take() (string, vfs.File) { return p.path, p.file }

// Discard closes and removes the file.
func (p *Prepared) Discard() error {
	return errors.Join(p.file.Close(), p.fs.Remove(p.path))
}
