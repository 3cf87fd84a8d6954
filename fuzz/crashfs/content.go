package crashfs

import (
	"bytes"
	"slices"
	"sync/atomic"
)

const pageBytes = 4096

// epochs gives out epochs that no two file systems share.
var epochs atomic.Uint64

// nextEpoch returns an epoch that nothing belongs to yet. Whatever carries the
// current epoch of its file system is referred to from one place only and may be
// changed there; all else is shared and must be copied first. Taking a new
// epoch is therefore what makes a snapshot.
func nextEpoch() uint64 { return epochs.Add(1) }

// page holds some bytes of a file. Bytes beyond the file's size are zero.
type page struct {
	epoch uint64
	b     [pageBytes]byte
}

// content is the bytes of a file, copied on write. Copies of the struct share
// their bytes as long as no epoch owns them.
type content struct {
	epoch uint64  // owner of the slice pages; pages have their own
	pages []*page // nil pages, and pages beyond the slice, are zeros
	size  int64
}

var zeroPage [pageBytes]byte

// readAt copies bytes from off on, and returns how many there were.
func (c *content) readAt(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	for rest := p; len(rest) > 0; {
		from := &zeroPage
		if i := off / pageBytes; i < int64(len(c.pages)) && c.pages[i] != nil {
			from = &c.pages[i].b
		}
		n := copy(rest, from[off%pageBytes:])
		rest, off = rest[n:], off+int64(n)
	}
	return len(p)
}

// writeAt puts p at off, and grows the file when p ends behind its end.
func (c *content) writeAt(p []byte, off int64, epoch uint64) {
	if len(p) == 0 {
		return
	}
	c.grow(off + int64(len(p)))
	if c.epoch != epoch {
		c.pages, c.epoch = slices.Clone(c.pages), epoch
	}
	for len(p) > 0 {
		i, at := off/pageBytes, off%pageBytes
		n := min(int64(len(p)), pageBytes-at)
		// Zeros over a hole leave the hole: prepared segments cost no memory.
		if c.hole(i) && bytes.Equal(p[:n], zeroPage[:n]) {
			p, off = p[n:], off+n
			continue
		}
		copy(c.page(i, epoch).b[at:], p[:n])
		p, off = p[n:], off+n
	}
}

// grow makes the file at least size bytes long, without giving it any.
func (c *content) grow(size int64) { c.size = max(c.size, size) }

func (c *content) hole(i int64) bool { return i >= int64(len(c.pages)) || c.pages[i] == nil }

// page returns page i to be changed. The caller has made the slice its own.
func (c *content) page(i int64, epoch uint64) *page {
	if grow := int(i) + 1 - len(c.pages); grow > 0 {
		c.pages = append(c.pages, make([]*page, grow)...)
	}
	switch p := c.pages[i]; {
	case p == nil:
		c.pages[i] = &page{epoch: epoch}
	case p.epoch != epoch:
		c.pages[i] = &page{epoch: epoch, b: p.b}
	}
	return c.pages[i]
}

// bytes returns a copy of all of it.
func (c *content) bytes() []byte {
	p := make([]byte, c.size)
	c.readAt(p, 0)
	return p
}
