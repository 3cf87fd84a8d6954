// Package log is the engine of Strata: one durable, checksummed, segmented log that holds all
// partitions of all topics, and into which everything goes by atomic commits.
//
// A directory holds one log. Every record has an offset, its number in its partition, and a position,
// its number in the whole log; both are dense and begin at 0. A Commit appends records to any number
// of topics and partitions, under Conditions, and happens whole or not at all. Its Durability says what
// is true when it is acknowledged: Synced, the default, survives a power cut; Written survives the
// death of the process; Buffered is written within about two milliseconds.
//
// # Reading
//
// Loops over records are range-over-func iterators: Read ends at the end as of its beginning, Follow
// waits for more. By default they show only what is synced, so that nobody acts on what a power cut may
// take back. What a loop is given was checked just now: a frame by its xxh64, whenever it is read from the
// file. A byte that failed its check is never returned; the loop gets a *CorruptError in its place, and may
// go on behind the damage.
//
// Get reads one record. Its frame is checked when this process first gets a record of it. Of frames of 8 KiB
// and more it is then remembered, in at most 128 MiB for a log, where each record begins and 16 bits of its
// own xxh64, so that the next Get of the frame reads that record alone: it is verified by the frame's check as
// of then, and by those 16 bits now. Damage that the disk does to a frame after it was checked is therefore
// noticed by Get but for one case in 65,536, and by every loop and by Verify.
//
// Records that a loop yields lie in memory of the loop's, those of Get are the caller's. Files that Get reads
// are mapped where the operating system's file system is used, and so is, for small commits that nobody waits to see
// synced, the end of the last segment, but nobody who uses this package ever sees a mapping: bytes are copied, and
// a memory fault in that copy, which is how a mapping reports an error of the disk, is the same error as that of a
// read or write.
//
// # Failure
//
// After a failed write or sync the log refuses commits with a *FailedError until it is opened again:
// nobody can know what reached the disk, and trying again on the same file is how data was lost
// elsewhere. Reads go on. A full disk is not a failure: room for a commit is claimed before the commit
// gets its offsets, so it is refused with ErrNoSpace, and taken when there is room again.
//
// # After a crash
//
// Open finds the end of the log by the frames of the last segment. What nobody was promised is cut
// off, by sealing the segment there; nothing is ever deleted. When bytes are damaged that were once
// synced, Open refuses with a *CorruptError that names file and byte: the log can be read with
// Options.ReadOnly, and Repair decides. One window remains: damage in the very last commit group before
// an unclean end looks like a torn write, because nothing behind it testifies. A clean Close leaves no
// such window.
//
// Behind a clean Close, Open reads the end of the last segment and no more, whatever its size: what is damaged
// further ahead is met, as in all other segments, by who reads it, and by Verify. Close keeps the index of the
// segment for that (nothing when less than 1 MiB was added to it); behind a kill, all of the last segment is read
// that came since. A backup that copies the files of a log while it is appended to and closed copies the .idx files
// before the .seg files, or leaves them out, since they are made again: a segment that ends before its index does is refused,
// until Repair has been asked or, where the earlier end is wanted, the .idx file was removed.
//
// # Concurrency
//
// All methods of Log, Topic and Partition may be called concurrently. A Commit belongs to one
// goroutine. Close may be called at any time and waits for everything that the log has started; it may
// be called inside a loop over records.
package log
