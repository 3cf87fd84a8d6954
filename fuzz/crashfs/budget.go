package crashfs

import (
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// boundless is the size of a disk without a limit, for GetDiskUsage.
const boundless = 1 << 40

// SetSpace changes Options.Space. With a limit below what is taken nothing more fits;
// what there is stays.
func (fs *FS) SetSpace(bytes int64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.limits.Space = bytes
}

// SetDescriptors changes Options.Descriptors.
func (fs *FS) SetDescriptors(n int) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.limits.Descriptors = n
}

// SetReadOnly changes Options.ReadOnly. A sync still succeeds when there is nothing to
// sync.
func (fs *FS) SetReadOnly(readOnly bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.limits.ReadOnly = readOnly
}

// Used returns the bytes that files take: those written and those preallocated, of
// every file that has a name or is open.
func (fs *FS) Used() int64 {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.used
}

// GetDiskUsage answers from the space limit, or from a disk of 1 TiB without one.
func (fs *FS) GetDiskUsage(p string) (vfs.DiskUsage, error) {
	op := Op{Kind: OpDiskUsage, Path: clean(p)}
	var u vfs.DiskUsage
	err := fs.inspect(op, func(*Fault) error {
		if _, err := fs.findLocked(op, op.Path); err != nil {
			return err
		}
		total := fs.limits.Space
		if total == 0 {
			total = boundless
		}
		u = vfs.DiskUsage{
			TotalBytes: uint64(total),
			UsedBytes:  uint64(fs.used),
			AvailBytes: uint64(max(total-fs.used, 0)),
		}
		return nil
	})
	if err != nil {
		return vfs.DiskUsage{}, err
	}
	return u, nil
}

func (fs *FS) freeLocked() int64 {
	if fs.limits.Space == 0 {
		return 1<<63 - 1
	}
	return max(fs.limits.Space-fs.used, 0)
}

// takeSpaceLocked takes space for a write and returns how much of it fits.
func (fs *FS) takeSpaceLocked(i ino, off, length int64) int64 {
	end := fs.inodes[i].space.fit(off, off+length, fs.freeLocked())
	fs.chargeLocked(i, off, end)
	return end - off
}

// reserveLocked takes space for all of a preallocation, or none.
func (fs *FS) reserveLocked(op Op, i ino) error {
	end := op.Offset + op.Len
	if fs.inodes[i].space.fit(op.Offset, end, fs.freeLocked()) < end {
		return pathError(op, syscall.ENOSPC)
	}
	fs.chargeLocked(i, op.Offset, end)
	return nil
}

func (fs *FS) chargeLocked(i ino, from, to int64) {
	old := fs.inodes[i].space
	if from >= to || len(old) > 0 && old.covers(from, to) {
		return
	}
	n := fs.ownLocked(i)
	n.space = old.add(from, to)
	fs.used += n.space.total() - old.total()
}

// roomForNameLocked refuses new names on a full disk, though they take no space.
func (fs *FS) roomForNameLocked(op Op) error {
	if fs.freeLocked() == 0 {
		return pathError(op, syscall.ENOSPC)
	}
	return nil
}

func (fs *FS) descriptorsLocked(op Op) error {
	if limit := fs.limits.Descriptors; limit > 0 && len(fs.handles) >= limit {
		return pathError(op, syscall.EMFILE)
	}
	return nil
}

// checkDescriptors is for operations that would change something before they open.
func (fs *FS) checkDescriptors(op Op) error {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.descriptorsLocked(op)
}
