// Package crashfs is a file system in memory that can lose power, fail and fill
// up, for tests of everything that claims to be durable.
//
// An [FS] implements vfs.FS. It behaves like a disk behind a page cache: reads
// see every write at once, but only a sync promises anything. At any moment
// [FS.Snapshot] takes the whole machine, cache and disk, and from a snapshot
// [Snapshot.Image] makes the file systems that a power cut at that moment may
// leave behind, as many as wanted:
//
//	fs := crashfs.New(crashfs.Options{})
//	var snaps []*crashfs.Snapshot
//	fs.SetHook(func(op crashfs.Op) {
//		if op.After {
//			snaps = append(snaps, fs.Snapshot())
//		}
//	})
//	... run a workload on fs ...
//	for i, snap := range snaps {
//		img := snap.Image(crashfs.Cut{Policy: crashfs.Subset, Block: 512, Seed: uint64(i)})
//		... reopen on img and check ...
//	}
//
// An image is itself an *FS in which everything is synced, so that a crash
// during recovery is found in the same way.
//
// # The model
//
//	            cache                       disk
//	file        what reads see              what a power cut leaves for sure
//	            = disk + writes             <- sync of the file moves all its writes
//	directory   names that lookups find     names that a power cut leaves for sure
//	            = disk + entry operations   <- sync of the directory moves its operations
//
// A file is an inode: its bytes belong to it and not to a name. The unsynced
// writes of each inode are kept in order, and so are the unsynced operations on
// names (create, mkdir, link, unlink, rename); one sequence numbers all of
// them. A [Cut] chooses which of these had reached the disk:
//
//   - None and All: nothing, or everything, that was not synced.
//   - Prefix: the first k in the order in which they were made. Torn and Mask
//     cut the last write among those k at a byte, or choose among its blocks.
//   - Subset: each block of a file, of 512 or 4096 bytes, stands at some moment
//     of its own: it has seen the first few of the writes that touch it, and
//     never a later write without an earlier one, since it was written out of
//     a page that had both. Names likewise: each has seen a prefix of the
//     operations on it. SubsetWrites and SubsetEntries take a subset of the
//     one and all of the other.
//
// Where a write is missing, Cut.Missing says what is found in its place:
// what was there before, or, as far as the file had to grow for it, zeros,
// garbage, or bytes of an older file that had these blocks. Bytes that were
// durable are never harmed by the loss of a later write over them, unless
// Cut.Overwrites asks for a disk that destroys what it rewrites.
//
// # Invariants
//
//   - Synced bytes that were not written since, and synced names that were not
//     touched since, are in every image.
//   - A file that was synced, in a directory that was not, has its bytes and no
//     name, so it is gone. So is everything in a directory that has no name.
//   - A rename is atomic: an image has one of the two names. It needs the
//     operations before it on either name. One that leads from a directory to
//     another is durable as soon as either of them is synced.
//   - An unlink depends on nothing but earlier operations on its own name, so
//     Subset lets it overtake anything else. Cut.EarlyUnlinks adds this to the
//     other policies.
//   - The same snapshot and the same Cut give the same image. A snapshot never
//     changes, and may be used by several goroutines at once.
//   - A sync of a file says nothing of its name, and makes size and bytes durable
//     whether it is called Sync or SyncData.
//   - Create over an existing name is two operations, an unlink and a create, and
//     a power cut may fall between them. Handles on the old inode live on.
//
// [FS.Kill] ends the process and not the machine: the cache survives it with
// all that is unsynced, handles are dead and locks free.
//
// # Failures
//
// [FS.Inject] makes the n-th operation fail, before or after its effect, or
// write short, or makes a sync lie, or fail and forget what it should have
// written. The last is what common kernels do: the pages are clean after the
// failure, so that the next sync succeeds without having written them, while
// reads still see them. Here they stay visible, also through Kill, until
// [FS.Evict] or a power cut takes them away; writing the bytes again makes
// them dirty again. Budgets for bytes and descriptors, a read-only mode and a
// gate that holds syncs back do the rest.
//
// # What is not modelled
//
//   - Permissions, symbolic links, several devices, truncation (vfs has none). Lock
//     on a file that is not empty puts a new empty one in its place.
//   - Read errors and bit rot by place: use faults for the first and
//     [FS.WriteFile] on an image for the second.
//   - Pages as the unit of being dirty: bytes that were forgotten become durable
//     only by being written again themselves, while a kernel would take along
//     the rest of a 4 KiB page. This is the stricter of the two.
//   - Metadata that is durable by accident: some file systems persist a new
//     file's name along with its bytes. Here only the directory's sync does.
//   - That a lock of fcntl is lost when another descriptor of its file is closed.
//   - Space taken by names, and space reserved by Preallocate, in images: an
//     image charges a file that had unsynced writes its size.
//
// # Cost
//
// Bytes live in pages of 4 KiB that are copied when they are written after a
// snapshot or a sync. A snapshot copies one pointer for each inode, and an
// image builds anew only the files that had unsynced writes. Both leave all
// other bytes shared.
package crashfs
